"""The print operation on the fakes: what a job answers, what evidence is sent, what survives a restart."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from contract.documents import Identification as Who
from contract.documents import NewRequest, PrintOutcome
from contract.jobs import Execution, Status
from contract.messages import encode
from edge_agent.documents.ledger import MemoryLedger
from edge_agent.documents.print_operation import PrintOperation, Tools
from edge_agent.documents.printer_memory import MemoryPrinter
from edge_agent.documents.printing import Record, State
from edge_agent.documents.requests import Requests
from edge_agent.errors import UnavailableError
from edge_agent.ports import Outcome
from tests.edge_agent.documents.worlds import PDF, PERSON, MemoryCloud, MemoryLink, print_job

DOC = "0190a0a0-0000-7000-8000-000000000001"


@dataclass
class Kiosk:
    """A kiosk on a clock that only waiting moves; `restart` gives a new operation on the same disk."""

    cloud: MemoryCloud = field(default_factory=MemoryCloud)
    printer: MemoryPrinter = field(default_factory=MemoryPrinter)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    link: MemoryLink = field(default_factory=MemoryLink)
    now: float = 0.0
    on_pause: Callable[[], None] = lambda: None
    progress: list[tuple[str, PrintOutcome]] = field(default_factory=list)

    async def pause(self, seconds: float) -> None:
        self.now += seconds
        self.on_pause()

    def start(self) -> PrintOperation:
        return PrintOperation(
            Tools(
                requests=Requests(self.cloud),
                printer=self.printer,
                ledger=self.ledger,
                link=self.link,
                timeout_s=120.0,
                clock=lambda: self.now,
                pause=self.pause,
                progress=lambda document, outcome: self.progress.append((document, outcome)),
            )
        )

    async def paid(self) -> Execution:
        who = Who(personal_number=PERSON[0], document_number=PERSON[1], date_of_birth=PERSON[2])
        request = NewRequest(
            document=DOC, visit="v", kind="possession-sheet", language="sq", identification=who
        )
        await self.cloud.request("POST", "/api/v1/documents", encode(request))
        self.cloud.move(DOC, "price", "authorise")
        return self.cloud.offer(DOC)


def play(story: Callable[[Kiosk], Awaitable[Any]]) -> Kiosk:
    kiosk = Kiosk()
    asyncio.run(story(kiosk))  # type: ignore[arg-type] # an async function
    return kiosk


def test_a_paper_is_printed_once_and_a_duplicate_is_answered_from_the_ledger() -> None:
    async def story(kiosk: Kiosk) -> None:
        job = await kiosk.paid()
        operation = kiosk.start()
        assert (await operation.perform(job)).status == Status.SUCCEEDED
        assert kiosk.printer.papers == {DOC: PDF}
        again = await operation.perform(msgspec.structs.replace(job, job_id="print-again"))
        assert again == Outcome(
            Status.SUCCEEDED, {"outcome": "printed", "reason": "answered from the ledger: printed"}
        )
        assert (await kiosk.start().resume(job)).status == Status.SUCCEEDED
        assert operation.document is None

    kiosk = play(story)
    assert kiosk.printer.sheets == {DOC: 1}
    assert kiosk.link.outcomes(DOC) == [PrintOutcome.PRINTING, *[PrintOutcome.PRINTED] * 3]
    assert kiosk.progress[:2] == [(DOC, PrintOutcome.PRINTING), (DOC, PrintOutcome.PRINTED)]
    evidence = kiosk.link.sent[1][2]
    assert msgspec.to_builtins(evidence) == {
        "document": DOC,
        "job": f"print-{DOC}",
        "outcome": "printed",
        "ipp_job_id": 1,
        "ipp_job_state": 9,
        "reasons": ["job-completed-successfully"],
        "sheets": 1,
    }


@pytest.mark.parametrize("document", [None, {}, {"operation": "restart-agent"}, {"document": 7}])
def test_what_is_no_print_job_is_rejected(document: dict[str, Any] | None) -> None:
    async def story(kiosk: Kiosk) -> None:
        job = msgspec.structs.replace(print_job(DOC), job_document=document)
        outcome = await kiosk.start().perform(job)
        assert outcome.status == Status.REJECTED
        assert "no print job" in outcome.details["reason"]

    assert play(story).link.sent == []


def test_other_bytes_than_those_offered_are_not_printed() -> None:
    async def story(kiosk: Kiosk) -> None:
        job = await kiosk.paid()
        kiosk.cloud.pdf = b"%PDF-1.7 forged"
        assert (await kiosk.start().perform(job)).status == Status.FAILED

    kiosk = play(story)
    assert kiosk.printer.sheets == {}
    assert kiosk.link.outcomes(DOC) == [PrintOutcome.NOT_PRINTED]


def test_a_cloud_that_is_down_for_a_moment_only_delays_the_paper() -> None:
    async def story(kiosk: Kiosk) -> None:
        job = await kiosk.paid()
        kiosk.cloud.down = True

        def mend() -> None:
            kiosk.cloud.down = kiosk.now < 20.0

        kiosk.on_pause = mend
        assert (await kiosk.start().perform(job)).status == Status.SUCCEEDED

    assert play(story).printer.sheets == {DOC: 1}


def test_no_paper_in_the_printer_means_nothing_was_sent() -> None:
    async def story(kiosk: Kiosk) -> None:
        job = await kiosk.paid()
        kiosk.printer.reasons = ("media-empty",)
        outcome = await kiosk.start().perform(job)
        assert outcome.status == Status.FAILED
        assert "media-empty" in outcome.details["reason"]

    kiosk = play(story)
    assert kiosk.printer.jobs == []
    assert kiosk.link.outcomes(DOC) == [PrintOutcome.NOT_PRINTED]


def test_a_full_outbox_stops_a_paper_before_it_is_sent() -> None:
    async def story(kiosk: Kiosk) -> None:
        job = await kiosk.paid()
        kiosk.link.full = True
        outcome = await kiosk.start().perform(job)
        assert outcome.status == Status.FAILED
        assert "outbox" in outcome.details["reason"]

    kiosk = play(story)
    assert kiosk.printer.jobs == []
    assert kiosk.ledger.records[DOC].state == State.NOT_PRINTED


def test_a_paper_that_hangs_is_given_up_and_told() -> None:
    async def story(kiosk: Kiosk) -> None:
        job = await kiosk.paid()

        def run_out() -> None:
            kiosk.printer.reasons = ("media-empty",)

        kiosk.on_pause = run_out
        accept = kiosk.printer.print_pdf

        async def take_and_stop(name: str, pdf: bytes) -> int:
            run_out()
            return await accept(name, pdf)

        kiosk.printer.print_pdf = take_and_stop  # type: ignore[method-assign]
        assert (await kiosk.start().perform(job)).details["outcome"] == "not-printed"

    kiosk = play(story)
    assert kiosk.printer.sheets == {}
    assert kiosk.link.outcomes(DOC) == [PrintOutcome.PRINTING, PrintOutcome.NOT_PRINTED]
    assert kiosk.now >= 120.0


def test_a_printer_silent_with_the_paper_is_in_doubt_until_it_is_back() -> None:
    async def story(kiosk: Kiosk) -> None:
        job = await kiosk.paid()
        kiosk.printer.swallow = True
        operation = kiosk.start()
        assert (await operation.perform(job)).details["outcome"] == "in-doubt"
        await operation.reconsider()
        assert kiosk.ledger.records[DOC].state == State.IN_DOUBT
        kiosk.printer.silent = False
        await operation.reconsider()
        assert kiosk.ledger.records[DOC].state == State.PRINTED

    kiosk = play(story)
    assert kiosk.printer.sheets == {DOC: 1}
    assert kiosk.link.outcomes(DOC) == [PrintOutcome.PRINTING, PrintOutcome.IN_DOUBT, PrintOutcome.PRINTED]


def test_a_printer_that_forgot_is_asked_once_and_no_more() -> None:
    async def story(kiosk: Kiosk) -> None:
        kiosk.ledger.write(Record(DOC, "j", State.IN_DOUBT, 1))
        operation = kiosk.start()
        asked: list[str] = []
        named = kiosk.printer.jobs_named

        async def count(name: str) -> Any:
            asked.append(name)
            return await named(name)

        kiosk.printer.jobs_named = count  # type: ignore[method-assign]
        await operation.reconsider()
        await operation.reconsider()
        assert asked == [DOC]

    play(story)


def test_a_paper_that_was_being_sent_when_the_agent_stopped_is_settled_without_its_job() -> None:
    async def story(kiosk: Kiosk) -> None:
        kiosk.ledger.write(Record(DOC, "j", State.SPOOLING))
        await kiosk.printer.print_pdf(DOC, PDF)
        await kiosk.start().reconsider()
        assert kiosk.ledger.records[DOC] == Record(DOC, "j", State.PRINTED, 1)

    assert play(story).printer.sheets == {DOC: 1}


def test_a_ledger_that_cannot_be_read_prints_nothing() -> None:
    class Broken(MemoryLedger):
        def read(self, document: str) -> Record | None:
            raise UnavailableError("ledger: disk I/O error")

    async def story(kiosk: Kiosk) -> None:
        job = await kiosk.paid()
        kiosk.ledger = Broken()
        outcome = await kiosk.start().perform(job)
        assert outcome == Outcome(Status.FAILED, {"reason": "ledger: disk I/O error"})

    assert play(story).printer.jobs == []


def test_cancelling_the_operation_anywhere_is_safe_and_resumed() -> None:
    """The agent is stopped at each await of the calm story; after the restart the paper is there once."""
    for stop_at in range(1, 12):
        kiosk = Kiosk()
        awaits = 0

        async def story(kiosk: Kiosk = kiosk, stop_at: int = stop_at) -> None:
            nonlocal awaits
            job = await kiosk.paid()

            def counted(verb: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
                async def call(*args: Any, **kwargs: Any) -> Any:
                    nonlocal awaits
                    awaits += 1
                    if awaits == stop_at:
                        raise asyncio.CancelledError
                    return await verb(*args, **kwargs)

                return call

            cloud, link, printer = kiosk.cloud.request, kiosk.link.send, kiosk.printer
            verbs = (printer.status, printer.print_pdf, printer.job)
            kiosk.cloud.request = counted(cloud)  # type: ignore[method-assign]
            kiosk.link.send = counted(link)  # type: ignore[method-assign]
            for verb in verbs:
                setattr(printer, verb.__name__, counted(verb))
            with contextlib.suppress(asyncio.CancelledError):
                await kiosk.start().perform(job)
            for verb in verbs:
                setattr(printer, verb.__name__, verb)
            kiosk.cloud.request, kiosk.link.send = cloud, link  # type: ignore[method-assign]
            await kiosk.start().resume(job)

        asyncio.run(story())
        assert kiosk.printer.sheets.get(DOC, 0) <= 1
        outcome = kiosk.link.outcomes(DOC)[-1]
        assert (outcome == PrintOutcome.PRINTED) == (kiosk.printer.sheets.get(DOC) == 1)
        assert outcome in (PrintOutcome.PRINTED, PrintOutcome.IN_DOUBT)
