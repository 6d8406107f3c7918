"""A document reader on a serial line: it sends the lines of the machine-readable zone, each ended by CR.

That is what readers of this kind do in their keyboard-wedge and RS-232 modes; 9600 baud, 8N1.
"""

import asyncio
import logging
from pathlib import Path

import serial

from edge_agent.documents.document_reader import Heard
from edge_agent.documents.mrz import TD1_LINE, TD1_LINES, TD3_LINE, TD3_LINES, TEXT_MAX
from edge_agent.errors import UnavailableError

log = logging.getLogger(__name__)

BAUD = 9600
PAUSE_S = 1.0
"""A document that stops in the middle for so long is over; a line of 44 characters takes 50 ms."""
_WHOLE = {TD1_LINE: TD1_LINES, TD3_LINE: TD3_LINES}


class SerialDocumentReader:
    """The reader at `port`, such as `/dev/ttyUSB0`; used on the agent's event loop."""

    def __init__(self, port: Path) -> None:
        self._path = port
        self._port: serial.Serial | None = None
        self._heard: Heard | None = None
        self._got = bytearray()
        self._pause: asyncio.TimerHandle | None = None

    def listen(self, heard: Heard) -> None:
        """Open the line, throw away what waits there, and give each document to `heard`."""
        self.deafen()
        try:
            port = serial.Serial(str(self._path), BAUD, timeout=0, exclusive=True)
            port.reset_input_buffer()
        except (OSError, serial.SerialException) as error:
            raise UnavailableError(
                f"document reader {self._path}: {error}; see whether it is connected"
            ) from error
        self._port, self._heard = port, heard
        asyncio.get_running_loop().add_reader(port.fileno(), self._read)

    def deafen(self) -> None:
        """Close the line."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._port is not None:
            asyncio.get_running_loop().remove_reader(self._port.fileno())
            self._port.close()
            self._port = None
        self._heard = None
        self._got.clear()

    def _read(self) -> None:
        assert self._port is not None
        try:
            self._got += self._port.read(TEXT_MAX + 1 - len(self._got))
        except (OSError, serial.SerialException) as error:
            log.warning("document_reader_lost", extra={"port": str(self._path), "reason": str(error)})
            self._say(None)
            return
        lines = self._got.replace(b"\n", b"\r").split(b"\r")[:-1]
        lines = [line for line in lines if line]
        if len(self._got) > TEXT_MAX or (lines and len(lines) >= _WHOLE.get(len(lines[0]), 1)):
            self._finish()
            return
        if self._pause is not None:
            self._pause.cancel()
        self._pause = asyncio.get_running_loop().call_later(PAUSE_S, self._finish)

    def _finish(self) -> None:
        text = self._got.decode("ascii", "replace")
        self._got.clear()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if text.strip():
            self._say(text)

    def _say(self, text: str | None) -> None:
        heard = self._heard
        if text is None:
            self.deafen()
        if heard is not None:
            heard(text)
