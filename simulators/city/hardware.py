"""The hardware of one kiosk: printer, document reader, receipt printer, I/O board; used and broken here."""

import asyncio
import random
from pathlib import Path

import httpx

from simulators.city.firmware import IoBoard
from simulators.devices.document_reader import SimulatedDocumentReader
from simulators.devices.printer import Fault, Printers, SimulatedPrinter
from simulators.devices.receipt_printer import SimulatedReceiptPrinter
from simulators.mrz import td1
from simulators.people import Person


class KioskHardware:
    """What stands in one kiosk's housing."""

    def __init__(self, device: str, printers: Printers, board: IoBoard | None) -> None:
        """Switch it on, with a board that is on already; takes until the printer answers.

        Raises:
            RuntimeError: the printer did not start.
        """
        self.device = device
        self.printer: SimulatedPrinter = printers.start(device)
        self.reader = SimulatedDocumentReader()
        self.receipts = SimulatedReceiptPrinter()
        self.board = board
        self._fault: Fault | None = None

    def lay_on_reader(self, person: Person) -> None:
        """The citizen's identity card on the reader."""
        self.reader.present(td1(person))

    def set_fault(self, fault: Fault | None) -> None:
        """Break the printer, or mend it."""
        self._fault = fault
        self.printer.set_fault(fault)

    @property
    def fault(self) -> Fault | None:
        """What is wrong with the printer."""
        return self._fault

    def close(self) -> None:
        """Unplug everything but the printers, which end with their `Printers`."""
        self.reader.close()
        self.receipts.close()
        if self.board is not None:
            self.board.close()


class Thermometer:
    """The sensor of one device: a file in the format of Linux's thermal zones."""

    def __init__(self, file: Path, chance: random.Random) -> None:
        self._file = file
        self._chance = chance
        self._celsius = chance.uniform(38, 52)

    def drift(self) -> None:
        """A little warmer or colder, never far from where it began."""
        self._celsius += self._chance.gauss(0, 0.4) + (45 - self._celsius) * 0.02
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{round(self._celsius * 1000)}\n", encoding="ascii")
        beside.replace(self._file)


class CityHands:
    """A citizen's hands at a kiosk of this city; `terminal` is the address of its card terminal."""

    def __init__(self, hardware: KioskHardware, terminal: str, person: Person) -> None:
        self._hardware = hardware
        self._terminal = terminal
        self._person = person

    async def lay_card_on_reader(self) -> None:
        """The identity card."""
        await asyncio.to_thread(self._hardware.lay_on_reader, self._person)

    async def hold_card_to_terminal(self) -> bool:
        """The payment card; False while the terminal asks for none."""
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{self._terminal}/card", json={"outcome": "approve"})
        if answer.status_code == httpx.codes.CONFLICT:
            return False
        answer.raise_for_status()
        return True
