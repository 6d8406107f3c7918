"""A simulated receipt printer: it reads ESC/POS from its line and keeps the text of each receipt.

It understands what text printing needs: code pages (ESC t), the other commands of fixed length that a client
sends around text, the cut (GS V), and the status question (DLE EOT). Epson's command reference, TM-T88V.
"""

import os
import select
import threading
from pathlib import Path

from simulators.devices.pseudo_terminal import Line

CODE_PAGES = {0: "cp437", 2: "cp850", 16: "cp1252", 18: "cp852", 19: "cp858"}
RECEIPTS_KEPT_MAX = 500
_LOOK_S = 0.2
_ESC, _GS, _DLE = 0x1B, 0x1D, 0x10
_ARGUMENTS = {
    (_ESC, ord("!")): 1,
    (_ESC, ord("-")): 1,
    (_ESC, ord("2")): 0,
    (_ESC, ord("3")): 1,
    (_ESC, ord("@")): 0,
    (_ESC, ord("E")): 1,
    (_ESC, ord("G")): 1,
    (_ESC, ord("J")): 1,
    (_ESC, ord("M")): 1,
    (_ESC, ord("R")): 1,
    (_ESC, ord("V")): 1,
    (_ESC, ord("a")): 1,
    (_ESC, ord("d")): 1,
    (_ESC, ord("t")): 1,
    (_ESC, ord("{")): 1,
    (_GS, ord("!")): 1,
    (_GS, ord("B")): 1,
    (_GS, ord("b")): 1,
}
"""Bytes of arguments behind each two-byte command."""
_CUTS_WITH_FEED = (65, 66, 97, 98, 103, 104)


class Interpreter:
    """Turns ESC/POS into the text of receipts; bytes may come in any pieces."""

    def __init__(self) -> None:
        self.receipts: list[str] = []
        self._text: list[str] = []
        self._page = CODE_PAGES[0]
        self._left = b""

    @property
    def unfinished(self) -> str:
        """What was printed since the last cut."""
        return "".join(self._text)

    def feed(self, data: bytes) -> int:
        """Take bytes; how many status questions were in them."""
        data, self._left = self._left + data, b""
        at, questions = 0, 0
        while at < len(data):
            step, asked = self._command(data, at)
            if step == 0:
                self._left = data[at:]
                break
            at += step
            questions += asked
        return questions

    def _command(self, data: bytes, at: int) -> tuple[int, int]:
        """Carry out what stands at `at`; its length (0: not all of it is there yet) and 1 for a question."""
        byte, rest = data[at], len(data) - at
        if byte in (_ESC, _GS, _DLE):
            if rest < 2:
                return 0, 0
            second = data[at + 1]
            if byte == _DLE:
                return (3, 1) if rest >= 3 else (0, 0)
            if byte == _GS and second == ord("V"):
                return self._cut(data, at)
            length = 2 + _ARGUMENTS.get((byte, second), 0)
            if rest < length:
                return 0, 0
            if (byte, second) == (_ESC, ord("t")):
                self._page = CODE_PAGES.get(data[at + 2], "ascii")
            return length, 0
        if byte == 0x0A:
            self._text.append("\n")
        elif byte >= 0x20:
            self._text.append(bytes([byte]).decode(self._page, "replace"))
        return 1, 0

    def _cut(self, data: bytes, at: int) -> tuple[int, int]:
        if len(data) - at < 3:
            return 0, 0
        length = 4 if data[at + 2] in _CUTS_WITH_FEED else 3
        if len(data) - at < length:
            return 0, 0
        self.receipts = [*self.receipts[-RECEIPTS_KEPT_MAX:], self.unfinished]
        self._text.clear()
        return length, 0


class SimulatedReceiptPrinter:
    """A printer on a pseudo-terminal, read by a thread; `port` is what the kiosk's settings name."""

    def __init__(self) -> None:
        self._line = Line()
        self._interpreter = Interpreter()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self.paper = True
        self._thread = threading.Thread(target=self._read, name="receipt-printer", daemon=True)
        self._thread.start()

    @property
    def port(self) -> Path:
        """Path of the serial device."""
        return self._line.port

    def receipts(self) -> list[str]:
        """The text of each receipt that was cut off, the oldest first."""
        with self._changed:
            return list(self._interpreter.receipts)

    def wait_for(self, count: int, within_s: float) -> list[str]:
        """The receipts once there are `count` of them.

        Raises:
            TimeoutError: there are fewer after `within_s`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._interpreter.receipts) >= count, within_s):
                raise TimeoutError(f"{len(self._interpreter.receipts)} of {count} receipts in {within_s} s")
            return list(self._interpreter.receipts)

    def close(self) -> None:
        """Unplug the printer."""
        self._stopped.set()
        self._thread.join()
        self._line.close()

    def _read(self) -> None:
        while not self._stopped.is_set():
            ready, _, _ = select.select([self._line.device], [], [], _LOOK_S)
            if not ready:
                continue
            data = os.read(self._line.device, 4096)
            with self._changed:
                questions = self._interpreter.feed(data)
                self._changed.notify_all()
            for _ in range(questions):
                os.write(self._line.device, b"\x12" if self.paper else b"\x7e")
