"""A simulated document reader: it sends the lines of the zone that is laid on it, each ended by CR."""

import os
from collections.abc import Sequence
from pathlib import Path

from simulators.devices.pseudo_terminal import Line


class SimulatedDocumentReader:
    """A reader on a pseudo-terminal; `port` is what the kiosk's settings name."""

    def __init__(self) -> None:
        self._line = Line()

    @property
    def port(self) -> Path:
        """Path of the serial device."""
        return self._line.port

    def present(self, lines: Sequence[str]) -> None:
        """Lay a document on the reader; a reader sends it whether somebody listens or not."""
        os.write(self._line.device, "".join(f"{line}\r" for line in lines).encode("ascii"))

    def close(self) -> None:
        """Unplug the reader."""
        self._line.close()
