"""The receipt printer port: one suite on the fake and on python-escpos before a simulated printer."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from edge_agent.documents.receipt import Receipt, receipt
from edge_agent.documents.receipt_escpos import EscposReceiptPrinter
from edge_agent.documents.receipt_printer import MemoryReceiptPrinter, ReceiptPrinter
from edge_agent.errors import UnavailableError
from simulators.devices.receipt_printer import SimulatedReceiptPrinter

WAIT_S = 10.0
LETTERS = "ëçËÇ šđžćč ŠĐŽĆČ"
SAID = Receipt(
    municipality="Komuna e Prishtinës",
    kind=f"Certifikatë e pronësisë {LETTERS}",
    serial="PR-2026-000123",
    amount_cents=400,
    at=datetime(2026, 11, 23, 9, 5),  # noqa: DTZ001 local time, as printed
    verify_url="https://dokumente.prishtina.example/sq/verify",
)
LINES = receipt(SAID, lambda text: text)


class Fake:
    def __init__(self) -> None:
        self.printer = MemoryReceiptPrinter()

    def connect(self) -> ReceiptPrinter:
        return self.printer

    def set_paper(self, paper: bool) -> None:
        self.printer.empty = not paper

    def texts(self, count: int) -> list[str]:
        assert len(self.printer.receipts) == count
        return ["\n".join(line.text for line in lines) for lines in self.printer.receipts]


class Simulated:
    def __init__(self, printer: SimulatedReceiptPrinter) -> None:
        self.printer = printer

    def connect(self) -> ReceiptPrinter:
        return EscposReceiptPrinter(self.printer.port)

    def set_paper(self, paper: bool) -> None:
        self.printer.paper = paper

    def texts(self, count: int) -> list[str]:
        return self.printer.wait_for(count, WAIT_S) if count else self.printer.receipts()


Rig = Fake | Simulated


@pytest.fixture(params=["memory", "escpos"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    if request.param == "memory":
        yield Fake()
        return
    printer = SimulatedReceiptPrinter()
    yield Simulated(printer)
    printer.close()


def test_a_receipt_comes_out_with_every_letter_and_the_euro_sign(rig: Rig) -> None:
    asyncio.run(rig.connect().print_lines(LINES))
    (text,) = rig.texts(1)
    for wanted in (LETTERS, "4,00 €", "23.11.2026 09:05", "PR-2026-000123", "Komuna e Prishtinës"):
        assert wanted in text
    assert "?" not in text


def test_receipts_are_cut_apart(rig: Rig) -> None:
    async def story() -> None:
        printer = rig.connect()
        await asyncio.gather(printer.print_lines(LINES), printer.print_lines(LINES))

    asyncio.run(story())
    first, second = rig.texts(2)
    assert first.split() == second.split()


def test_no_paper_is_said_and_nothing_comes_out(rig: Rig) -> None:
    rig.set_paper(False)
    with pytest.raises(UnavailableError, match="paper"):
        asyncio.run(rig.connect().print_lines(LINES))
    assert rig.texts(0) == []
    rig.set_paper(True)
    asyncio.run(rig.connect().print_lines(LINES))
    assert len(rig.texts(1)) == 1


def test_a_printer_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="ttyS9"):
        asyncio.run(EscposReceiptPrinter(tmp_path / "ttyS9").print_lines(LINES))
