"""The printer port: one suite on the fake, on our simulated IPP printer and on CUPS's ippeveprinter."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.documents.printer import ENDED, JobState, Printer, PrinterJob, PrinterState
from edge_agent.documents.printer_ipp import IppPrinter
from edge_agent.documents.printer_memory import MemoryPrinter
from edge_agent.errors import RefusedError, UnavailableError
from simulators.devices import ipp, printer_own
from simulators.devices.printer import Fault, Printers, SimulatedPrinter, cups_installed

PDF = b"%PDF-1.7 sealed " + bytes(range(256)) * 150
DEADLINE_S = 20.0
LOOK_S = 0.05
REASONS = {Fault.PAPER_OUT: ("media-empty", "media-needed"), Fault.JAM: ("media-jam",)}


class Fake:
    """The rig around the fake."""

    def __init__(self) -> None:
        self.printer = MemoryPrinter()

    def connect(self) -> Printer:
        return self.printer

    def fault(self, fault: Fault | None) -> None:
        self.printer.reasons = REASONS.get(fault, ()) if fault else ()
        self.printer.silent = fault == Fault.SILENT

    def sheets(self, name: str) -> int:
        return self.printer.sheets.get(name, 0)

    def paper(self, name: str) -> bytes:
        return self.printer.papers[name]


class Simulated:
    """The rig around a printer that speaks IPP."""

    def __init__(self, printer: SimulatedPrinter) -> None:
        self._printer = printer
        self.fault = printer.set_fault

    def connect(self) -> Printer:
        return IppPrinter(self._printer.uri, "kiosk-01", answer_s=2.0)

    def sheets(self, name: str) -> int:
        return self._printer.tray.impressions()[name]

    def paper(self, name: str) -> bytes:
        (path,) = (path for path in self._printer.tray.papers() if path.stem.endswith(name))
        return path.read_bytes()


Rig = Fake | Simulated


@pytest.fixture(params=["memory", "own", "cups"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param == "memory":
        yield Fake()
        return
    assert request.param == "own" or cups_installed(), "install Debian's cups-ipp-utils and dbus"
    with Printers(tmp_path, request.param) as printers:
        yield Simulated(printers.start("Kiosk A4"))


def play(rig: Rig, story: Callable[[Printer], Awaitable[Any]]) -> None:
    async def run() -> None:
        printer = rig.connect()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await story(printer)
        finally:
            await printer.close()

    asyncio.run(run())


async def ended(printer: Printer, ipp_job_id: int) -> PrinterJob:
    while True:
        job = await printer.job(ipp_job_id)
        assert job is not None
        if job.state in ENDED:
            return job
        await asyncio.sleep(LOOK_S)


def test_an_idle_printer_is_ready_and_tells_its_toner(rig: Rig) -> None:
    async def story(printer: Printer) -> None:
        status = await printer.status()
        assert (status.state, status.reasons, status.ready) == (PrinterState.IDLE, (), True)
        assert status.toner_pct == 75.0

    play(rig, story)


def test_the_bytes_reach_the_printer_unchanged_and_come_out_once(rig: Rig) -> None:
    async def story(printer: Printer) -> None:
        job = await ended(printer, await printer.print_pdf("doc-1", PDF))
        assert (job.name, job.state, job.sheets) == ("doc-1", JobState.COMPLETED, 1)

    play(rig, story)
    assert rig.paper("doc-1") == PDF
    assert rig.sheets("doc-1") == 1


def test_a_job_is_found_by_its_name_while_it_waits_and_after_it_has_ended(rig: Rig) -> None:
    async def story(printer: Printer) -> None:
        assert await printer.jobs_named("doc-1") == []
        rig.fault(Fault.JAM)
        number = await printer.print_pdf("doc-1", PDF)
        (waiting,) = await printer.jobs_named("doc-1")
        assert waiting.ipp_job_id == number
        assert waiting.state not in ENDED
        rig.fault(None)
        await ended(printer, number)
        other = await ended(printer, await printer.print_pdf("doc-2", PDF))
        (found,) = await printer.jobs_named("doc-1")
        assert (found.ipp_job_id, found.state, found.sheets) == (number, JobState.COMPLETED, 1)
        assert other.ipp_job_id != number

    play(rig, story)


def test_paper_out_is_told_and_holds_the_job_until_there_is_paper(rig: Rig) -> None:
    async def story(printer: Printer) -> None:
        rig.fault(Fault.PAPER_OUT)
        status = await printer.status()
        assert "media-empty" in status.blocking
        assert not status.ready
        number = await printer.print_pdf("doc-1", PDF)
        held = await printer.job(number)
        assert held is not None
        assert held.state not in ENDED
        assert rig.sheets("doc-1") == 0
        rig.fault(None)
        assert (await ended(printer, number)).state == JobState.COMPLETED
        assert (await printer.status()).ready

    play(rig, story)
    assert rig.sheets("doc-1") == 1


def test_a_job_that_ended_cannot_be_cancelled_and_an_unknown_one_is_unknown(rig: Rig) -> None:
    async def story(printer: Printer) -> None:
        job = await ended(printer, await printer.print_pdf("doc-1", PDF))
        await printer.cancel(job.ipp_job_id)
        assert (await ended(printer, job.ipp_job_id)).state == JobState.COMPLETED
        await printer.cancel(9999)
        assert await printer.job(9999) is None

    play(rig, story)


def test_a_jammed_job_that_is_cancelled_ends_cancelled(rig: Rig) -> None:
    async def story(printer: Printer) -> None:
        rig.fault(Fault.JAM)
        number = await printer.print_pdf("doc-1", PDF)
        await printer.cancel(number)
        rig.fault(None)
        job = await ended(printer, number)
        assert job.state == JobState.CANCELED
        # Some printers finish the page all the same; what counts is that they say so.
        assert job.sheets == rig.sheets("doc-1")

    play(rig, story)


def test_a_silent_printer_is_unavailable_in_every_verb(rig: Rig) -> None:
    async def story(printer: Printer) -> None:
        rig.fault(Fault.SILENT)
        for question in (printer.status(), printer.jobs_named("doc-1")):
            with pytest.raises(UnavailableError):
                await question
        rig.fault(None)
        assert (await printer.status()).ready

    play(rig, story)


def test_a_printer_that_went_silent_with_the_paper_can_be_asked_for_it_later(rig: Rig) -> None:
    async def story(printer: Printer) -> None:
        if isinstance(rig, Fake):
            rig.printer.swallow = True
        else:
            rig.fault(Fault.SILENT)
        with pytest.raises(UnavailableError):
            await printer.print_pdf("doc-1", PDF)
        rig.fault(None)
        while not (found := await printer.jobs_named("doc-1")):
            await asyncio.sleep(LOOK_S)
        assert (await ended(printer, found[0].ipp_job_id)).state == JobState.COMPLETED

    play(rig, story)
    assert rig.sheets("doc-1") == 1


@pytest.mark.parametrize("kind", ["own", "cups"])
def test_a_broken_printer_gives_the_job_up_without_a_page(kind: str, tmp_path: Path) -> None:
    with Printers(tmp_path, kind) as printers:  # type: ignore[arg-type] # one of its literals
        simulated = Simulated(printers.start("Kiosk A4"))
        simulated.fault(Fault.BROKEN)

        async def story(printer: Printer) -> None:
            job = await ended(printer, await printer.print_pdf("doc-1", PDF))
            assert (job.state, job.sheets) == (JobState.ABORTED, 0)

        play(simulated, story)
        assert simulated.sheets("doc-1") == 0


def test_true_scale_reaches_the_printer(tmp_path: Path) -> None:
    """A client that leaves attributes out without a word would print at the printer's own scale."""
    seen: list[ipp.Request] = []
    with Printers(tmp_path, "own") as printers:
        simulated = printers.start("Kiosk A4")
        assert isinstance(simulated, printer_own.OwnPrinter)
        take = simulated._take
        simulated._take = lambda request: (seen.append(request), take(request))[1]  # type: ignore[method-assign]
        play(Simulated(simulated), lambda printer: printer.print_pdf("doc-1", PDF))
    assert seen[0].job_attributes == {
        "copies": [1],
        "media": ["iso_a4_210x297mm"],
        "print-scaling": ["none"],
        "sides": ["one-sided"],
    }
    assert seen[0].attributes["ipp-attribute-fidelity"] == [True]


def test_a_printer_that_is_off_took_nothing() -> None:
    async def story(printer: Printer) -> None:
        with pytest.raises(RefusedError, match="PRINT_JOB"):
            await printer.print_pdf("doc-1", PDF)
        with pytest.raises(UnavailableError):
            await printer.status()

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        printer = IppPrinter(f"ipp://127.0.0.1:{probe.getsockname()[1]}/ipp/print", "kiosk-01")

    async def run() -> None:
        await story(printer)
        await printer.close()

    asyncio.run(run())
