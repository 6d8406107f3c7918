"""Carries out a print job as `printing.py` decides it, and sends the evidence."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, assert_never

import msgspec

from contract.documents import Evidence, PrintJob, PrintOutcome
from contract.jobs import Execution, Status
from contract.messages import Lane
from edge_agent.documents import printing
from edge_agent.documents.ledger import Ledger
from edge_agent.documents.printer import Printer
from edge_agent.documents.printing import UNSETTLED, Effect, Event, Finish, Printing, Record
from edge_agent.documents.requests import Paper, ProblemError, Requests
from edge_agent.errors import AgentError, MalformedError, RefusedError, UnavailableError
from edge_agent.ports import Link, Outcome

log = logging.getLogger(__name__)

DETAIL_LENGTH_MAX = 1024

Progress = Callable[[str, PrintOutcome], None]
"""Told of each step of a paper: the document and how far it is."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What printing needs of the world.

    `requests` brings the sealed PDF and `printer` takes it; `ledger` knows what was sent already; `link`
    takes the evidence, and `progress` is told of it; `timeout_s` is how long one paper may take; `clock`
    gives seconds that never go back, and `pause` waits for some.
    """

    requests: Requests
    printer: Printer
    ledger: Ledger
    link: Link
    timeout_s: float
    clock: Callable[[], float]
    pause: Callable[[float], Awaitable[None]]
    progress: Progress


class PrintOperation:
    """The operation `print-document`. One paper at a time."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._one_at_a_time = asyncio.Lock()
        self._hopeless: set[str] = set()
        self.document: str | None = None
        """The document that is being printed now."""

    async def perform(self, job: Execution) -> Outcome:
        """Print the document of `job`, or answer from the ledger if it was sent before."""
        try:
            order = msgspec.convert(job.job_document, PrintJob)
        except msgspec.ValidationError as error:
            return Outcome(Status.REJECTED, {"reason": f"no print job: {error}"[:DETAIL_LENGTH_MAX]})
        async with self._one_at_a_time:
            try:
                known = self._tools.ledger.read(order.document)
            except UnavailableError as error:
                return Outcome(Status.FAILED, {"reason": str(error)[:DETAIL_LENGTH_MAX]})
            finish = await self._carry_out(job.job_id, order, known, printing.Began())
        details = {"outcome": finish.outcome.value, "reason": finish.reason[:DETAIL_LENGTH_MAX]}
        if finish.outcome == PrintOutcome.PRINTED:
            return Outcome(Status.SUCCEEDED, details)
        return Outcome(Status.FAILED, details)

    async def resume(self, job: Execution) -> Outcome:
        """The same as `perform`: what was done before the restart stands in the ledger."""
        return await self.perform(job)

    async def reconsider(self) -> None:
        """Ask the printer for each paper whose end is not known; for when the agent or the printer is back.

        Raises:
            UnavailableError: the ledger cannot be read.
        """
        for listed in self._tools.ledger.unsettled():
            if listed.document in self._hopeless:
                continue
            async with self._one_at_a_time:
                known = self._tools.ledger.read(listed.document)
                if known is None or known.state not in UNSETTLED:
                    continue  # its job has settled it in the meantime
                order = PrintJob(document=known.document, sha256="", size=0)
                finish = await self._carry_out(known.job, order, known, printing.Reconsidered())
                if finish.outcome == PrintOutcome.IN_DOUBT and not finish.again:
                    self._hopeless.add(known.document)

    async def _carry_out(self, job: str, order: PrintJob, known: Record | None, first: Event) -> Finish:
        core = Printing(
            job=job,
            document=order.document,
            sha256=order.sha256,
            size=order.size,
            known=known,
            timeout_s=self._tools.timeout_s,
        )
        self.document = order.document
        try:
            return await _Run(self._tools, core, job).carry_out(first)
        finally:
            self.document = None


class _Run:
    """One paper under way; its bytes live here and nowhere else."""

    def __init__(self, tools: Tools, core: Printing, job: str) -> None:
        self._tools = tools
        self._core = core
        self._job = job
        self._paper: Paper | None = None
        self._finish: Finish | None = None

    async def carry_out(self, event: Event) -> Finish:
        """Feed the core until it is finished."""
        while True:
            answer = await self._perform(self._core.handle(event, self._tools.clock()))
            if self._finish is not None:
                self._paper = None
                return self._finish
            if answer is None:
                deadline = self._core.deadline()
                assert deadline is not None, "a job that waits has a deadline"
                await self._tools.pause(max(0.0, deadline - self._tools.clock()))
                answer = printing.TimePassed()
            event = answer

    async def _perform(self, effects: list[Effect]) -> Event | None:
        """Do `effects` in order; the answer of the one that has an answer."""
        for i, effect in enumerate(effects):
            try:
                answer = await self._do(effect)
            except (RefusedError, UnavailableError) as error:
                return printing.Failed(str(error), tuple(effects[i + 1 :]))
            if answer is not None:
                assert i + 1 == len(effects), f"{effect} is answered and does not stand last"
                return answer
        return None

    async def _do(self, effect: Effect) -> Event | None:
        match effect:
            case printing.Keep(record):
                self._tools.ledger.write(record)
            case printing.Tell():
                await self._tell(effect)
            case printing.Wipe():
                self._paper = None
            case Finish():
                self._finish = effect
                log.info(
                    "print_finished",
                    extra={"document": self._core.record.document, "outcome": effect.outcome.value},
                )
            case printing.GiveUp(ipp_job_id):
                await _asked(self._tools.printer.cancel(ipp_job_id))
            case printing.Fetch():
                return await self._fetch()
            case printing.Spool():
                return await self._spool()
            case printing.Check() | printing.AskJob() | printing.AskByName():
                return await self._ask(effect)
            case _:
                assert_never(effect)
        return None

    async def _tell(self, effect: printing.Tell) -> None:
        document = self._core.record.document
        evidence = Evidence(
            document=document,
            job=self._job,
            outcome=effect.outcome,
            ipp_job_id=effect.ipp_job_id,
            ipp_job_state=effect.ipp_job_state,
            reasons=list(effect.reasons),
            sheets=effect.sheets,
        )
        await self._tools.link.send("evidence", {"document": document}, evidence, lane=Lane.EVENTS, must=True)
        self._tools.progress(document, effect.outcome)

    async def _fetch(self) -> Event:
        try:
            self._paper = await self._tools.requests.paper(self._core.record.document)
        except (ProblemError, MalformedError) as error:
            return printing.NotFetched(str(error), final=True)
        except AgentError as error:
            return printing.NotFetched(str(error), final=False)
        return printing.Fetched(self._paper.sha256, self._paper.size)

    async def _spool(self) -> Event:
        assert self._paper is not None
        try:
            number = await self._tools.printer.print_pdf(self._core.record.document, self._paper.pdf)
        except RefusedError as error:
            return printing.SpoolRefused(str(error))
        except UnavailableError as error:
            return printing.Silent(str(error))
        return printing.Accepted(number)

    async def _ask(self, effect: printing.Check | printing.AskJob | printing.AskByName) -> Event:
        printer = self._tools.printer
        try:
            match effect:
                case printing.Check():
                    status = await printer.status()
                    return printing.PrinterSeen(status.ready, status.blocking)
                case printing.AskJob(ipp_job_id):
                    return printing.JobSeen(await printer.job(ipp_job_id))
                case printing.AskByName():
                    named = await printer.jobs_named(self._core.record.document)
                    return printing.JobsSeen(tuple(named))
        except UnavailableError as error:
            return printing.Silent(str(error))


async def _asked(question: Coroutine[Any, Any, None]) -> None:
    """A question whose answer comes by another one."""
    try:
        await question
    except UnavailableError as error:
        log.info("printer_cancel_unanswered", extra={"reason": str(error)})
