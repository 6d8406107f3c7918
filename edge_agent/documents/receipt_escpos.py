"""A receipt printer that speaks ESC/POS on a serial line.

`python-escpos` is imported at the first receipt: with Pillow it weighs 14 MB. Text is sent in code page 852
(Albanian and Serbian Latin); it has no euro sign, which alone is sent in 858.
"""

import asyncio
from pathlib import Path
from typing import Any

from edge_agent.documents.receipt import Line
from edge_agent.errors import UnavailableError

BAUD = 19200
PROFILE = "TM-T88V"
"""42 columns, and both code pages; other profiles of the library number 852 otherwise or lack it."""
ANSWER_S = 2.0
CODE_PAGE, EURO_PAGE = "CP852", "CP858"
WRITE_S = 5.0
_PAPER = b"\x10\x04\x04"
"""DLE EOT 4: the state of the paper roll."""
_PAPER_END = 0x60
"""Bits 5 and 6 of the answer."""


class EscposReceiptPrinter:
    """The printer at `port`, such as `/dev/ttyS1`."""

    def __init__(self, port: Path) -> None:
        self._port = port
        self._one_at_a_time = asyncio.Lock()

    async def print_lines(self, lines: list[Line]) -> None:
        """Ask for paper, print, cut; in a thread, because a serial line is slow."""
        async with self._one_at_a_time:
            await asyncio.to_thread(self._print, lines)

    def _print(self, lines: list[Line]) -> None:
        import serial
        from escpos.exceptions import Error
        from escpos.printer import Serial

        printer = Serial(str(self._port), BAUD, timeout=ANSWER_S, dsrdtr=False, profile=PROFILE)
        try:
            printer.open()
            printer.device.write_timeout = WRITE_S
            self._ask_for_paper(printer.device)
            for line in lines:
                _send(printer, line)
            printer.cut()
            printer.close()
        except (OSError, serial.SerialException, Error) as error:
            raise UnavailableError(f"receipt printer {self._port}: {error}") from error
        finally:
            if printer._device:
                printer._device.close()

    def _ask_for_paper(self, line: Any) -> None:
        """The library's own question waits its whole time and takes silence for paper."""
        line.reset_input_buffer()
        line.write(_PAPER)
        answer = line.read(1)
        if not answer:
            raise UnavailableError(f"receipt printer {self._port} does not answer; see whether it is on")
        if answer[0] & _PAPER_END == _PAPER_END:
            raise UnavailableError(f"receipt printer {self._port} has no paper; put in a new roll")


def _send(printer: Any, line: Line) -> None:
    size = 2 if line.large else 1
    printer.set(
        align="center" if line.centred else "left",
        bold=line.bold,
        custom_size=True,
        width=size,
        height=size,
    )
    for i, part in enumerate(line.text.split("€")):
        if i:
            printer.charcode(EURO_PAGE)
            printer._raw("€".encode("cp858"))
        printer.charcode(CODE_PAGE)
        printer._raw(part.encode("cp852", "replace"))
    printer._raw(b"\n")
