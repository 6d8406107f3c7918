"""What is desired of this device, on its disk: a small file, replaced as a whole."""

import logging
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, Protocol

import msgspec

from contract.twin import SETTINGS, Path, wrong
from edge_agent.files import write_durably

log = logging.getLogger(__name__)


class Memory(Protocol):
    """Where the desired settings survive a restart."""

    def load(self) -> dict[Path, Any]:
        """What was saved last, as far as it still makes sense."""

    def save(self, values: Mapping[Path, Any]) -> None:
        """Durable when this returns.

        Raises:
            UnavailableError: the disk does not take it; what was there is kept.
        """


class MemoryFile:
    """The file at `path`: names of settings with their values, JSON."""

    def __init__(self, path: FilePath) -> None:
        self._path = path

    def load(self) -> dict[Path, Any]:
        """A damaged file is as good as none: the twin is asked for again at the next connect."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=dict[str, Any])
        except FileNotFoundError:
            return {}
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            log.warning("desired_settings_damaged", extra={"sentence": f"{self._path}: {error}"})
            return {}
        return {
            setting.path: found[setting.name]
            for setting in SETTINGS
            if setting.name in found and not wrong(setting, found[setting.name])
        }

    def save(self, values: Mapping[Path, Any]) -> None:
        named = {".".join(path): value for path, value in values.items()}
        write_durably(self._path, msgspec.json.encode(named))
