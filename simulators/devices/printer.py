"""Simulated page printers: CUPS's own `ippeveprinter` where it is installed, else a printer of ours.

Both speak IPP on loopback, keep what they printed in a folder, count what came out by job name, so that a
test can prove that nothing came out twice, and have the same faults.
"""

import shutil
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from simulators.devices.printer_cups import Bus, CupsPrinter
from simulators.devices.printer_own import OwnPrinter
from simulators.devices.tray import Fault, Tray

__all__ = ["Fault", "Printers", "SimulatedPrinter", "Tray", "cups_installed"]


class SimulatedPrinter(Protocol):
    """One running printer."""

    uri: str
    tray: Tray

    def set_fault(self, fault: Fault | None) -> None:
        """Break it, or mend it."""

    def stop(self) -> None:
        """Switch it off at once."""


class Printers:
    """All printers of a city; use it as a context manager, or call `stop`.

    Args:
        folder: each printer gets a folder of its name below it.
        kind: `cups` is ippeveprinter, `own` is ours, `auto` is the first that this machine has.
    """

    def __init__(self, folder: Path, kind: Literal["auto", "cups", "own"] = "auto") -> None:
        self.kind = ("cups" if cups_installed() else "own") if kind == "auto" else kind
        self._folder = folder
        self._running: list[SimulatedPrinter] = []
        self._bus: Bus | None = None

    def start(self, name: str) -> SimulatedPrinter:
        """Switch a printer on; it answers when this returns.

        Raises:
            RuntimeError: it did not start within its time.
        """
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        printer: SimulatedPrinter
        if self.kind == "cups":
            self._bus = self._bus or Bus()
            printer = CupsPrinter(name, folder, self._bus.address)
        else:
            printer = OwnPrinter(name, folder)
        self._running.append(printer)
        return printer

    def stop(self) -> None:
        """Switch everything off; no process is left."""
        for printer in self._running:
            printer.stop()
        self._running.clear()
        if self._bus is not None:
            self._bus.stop()
            self._bus = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def cups_installed() -> bool:
    """Whether Debian's packages cups-ipp-utils and dbus are there."""
    return shutil.which("ippeveprinter") is not None and shutil.which("dbus-daemon") is not None
