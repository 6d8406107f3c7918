"""The floor of time on the disk: one number, milliseconds since 1970 UTC."""

import logging
from pathlib import Path

from contract.messages import AT_MAX_MS, AT_MIN_MS
from edge_agent.files import write_durably

log = logging.getLogger(__name__)


class FloorFile:
    """A file in the data folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> int:
        """What was saved last; 0 where there is nothing that can be believed."""
        try:
            saved = int(self._path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except (OSError, ValueError):
            saved = 0
        if not AT_MIN_MS <= saved <= AT_MAX_MS:
            log.warning("time_floor_unreadable", extra={"path": self._path})
            return 0
        return saved

    def save(self, floor_ms: int) -> None:
        """On the disk when this returns.

        Raises:
            UnavailableError: the disk does not take it.
        """
        write_durably(self._path, str(floor_ms).encode())
