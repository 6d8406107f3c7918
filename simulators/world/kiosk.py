"""What a kiosk adds to a device: the real core of print jobs, between a printer and the documents API."""

from collections.abc import Callable
from typing import Protocol, assert_never

import msgspec

from contract.documents import Evidence, PrintJob, PrintOutcome
from contract.jobs import Execution, Status
from contract.messages import Lane
from edge_agent.documents import printing as p
from edge_agent.ports import Outcome
from simulators.world.device import Device
from simulators.world.disk import FullError
from simulators.world.printer import Printer, SilentError

PRINT_TIMEOUT_S = 120.0
ANSWER_S = 0.3
"""How long a printer takes to answer, and a request to come back."""
SILENCE_S = 5.0
"""How long an answer is waited for."""
RECONSIDER_S = 30.0
"""How often a kiosk with nothing to do asks what became of papers in doubt."""

Fetched = Callable[[p.Event], None]


class Papers(Protocol):
    """The control plane's documents, as a kiosk reaches them over HTTPS."""

    def fetch(self, device: str, document: str, answer: Fetched) -> None:
        """Tell `answer`, some time, what became of the request."""


class Kiosk:
    """Prints the documents that the device's jobs ask for, one at a time."""

    def __init__(self, device: Device, printer: Printer, papers: Papers) -> None:
        self.name = device.name
        self._device = device
        self._printer = printer
        self._papers = papers
        self._hopeless: set[str] = set()
        self._life = 0
        self._busy = False

    def perform(self, _device: Device, job: Execution) -> None:
        """The operation `print-document`; begun or resumed, the ledger knows how far it was."""
        order = msgspec.convert(job.job_document, PrintJob)
        self._run(order, job.job_id, p.Began(), lambda finish: self._end(job, finish))

    def reconsider(self) -> None:
        """Ask the printer for each paper whose end is not known."""
        unsettled = [
            record
            for record in self._device.disk.ledger.values()
            if record.state in p.UNSETTLED and record.document not in self._hopeless
        ]
        if not unsettled or self.busy or self._device.jobs.running is not None:
            return
        record = unsettled[0]
        order = PrintJob(document=record.document, sha256="", size=0)

        def finished(finish: p.Finish) -> None:
            if finish.outcome is PrintOutcome.IN_DOUBT and not finish.again:
                self._hopeless.add(record.document)

        self._run(order, record.job, p.Reconsidered(), finished)

    @property
    def busy(self) -> bool:
        """Whether a paper is under way in this life of the agent."""
        return self._busy and self._life == self._device.life

    def _run(self, order: PrintJob, job: str, first: p.Event, finished: Callable[[p.Finish], None]) -> None:
        if self.busy:  # a lock in the real operation: the second waits for the first
            self._device.later(1.0, lambda: self._run(order, job, first, finished))
            return
        self._busy, self._life = True, self._device.life
        core = p.Printing(
            job=job,
            document=order.document,
            sha256=order.sha256,
            size=order.size,
            known=self._device.disk.ledger.get(order.document),
            timeout_s=PRINT_TIMEOUT_S,
        )
        run = _Run(self._device, self._printer, self._papers, core, job, finished, self._free)
        self._device.later(0.0, lambda: run.tell(first))

    def _free(self) -> None:
        self._busy = False

    def _end(self, job: Execution, finish: p.Finish) -> None:
        details = {"outcome": finish.outcome.value}
        printed = finish.outcome is PrintOutcome.PRINTED
        outcome = Outcome(Status.SUCCEEDED, details) if printed else Outcome(Status.FAILED, details)
        self._device.ended(job, outcome)


class _Run:
    """One paper under way."""

    def __init__(
        self,
        device: Device,
        printer: Printer,
        papers: Papers,
        core: p.Printing,
        job: str,
        finished: Callable[[p.Finish], None],
        free: Callable[[], None],
    ) -> None:
        self._device = device
        self._printer = printer
        self._papers = papers
        self._core = core
        self._job = job
        self._finished = finished
        self._free = free

    def tell(self, event: p.Event) -> None:
        """Give the core an event and do what follows, in order."""
        effects = self._device.plant.printing(self._core.handle(event, self._device.clock.now))
        answered = False
        for i, effect in enumerate(effects):
            self._device.effect(effect)
            if not self._do(effect):
                self.tell(p.Failed("the disk or the outbox is full", tuple(effects[i + 1 :])))
                return
            answered |= isinstance(effect, p.Fetch | p.Check | p.Spool | p.AskJob | p.AskByName | p.Finish)
        deadline = self._core.deadline()
        if not answered and deadline is not None:
            wait = max(0.0, deadline - self._device.clock.now)
            self._device.later(wait, lambda: self.tell(p.TimePassed()))

    def _do(self, effect: p.Effect) -> bool:
        """Whether it could be done; those that are answered always can."""
        device, printer, document = self._device, self._printer, self._core.record.document
        match effect:
            case p.Keep(record):
                try:
                    device.disk.put(device.disk.ledger, record.document, record)
                except FullError:
                    return False
                device.sync(at_work=True)
            case p.Tell():
                return self._tell_evidence(effect)
            case p.Fetch():
                life = device.life
                self._papers.fetch(device.name, document, lambda answer: self._fetched(answer, life))
            case p.Check():
                self._ask(lambda: p.PrinterSeen(printer.ready(), ("media-empty",)))
            case p.Spool():
                self._ask(lambda: p.Accepted(printer.spool(document)))
            case p.AskJob(number):
                self._ask(lambda: p.JobSeen(printer.job(number)))
            case p.AskByName():
                self._ask(lambda: p.JobsSeen(printer.jobs_named(document)))
            case p.GiveUp(number):
                try:
                    printer.cancel(number)
                except SilentError:
                    pass  # the next question tells
            case p.Wipe():
                pass  # bytes are not modelled
            case p.Finish():
                self._free()
                self._finished(effect)
            case _:
                assert_never(effect)
        return True

    def _fetched(self, answer: p.Event, life: int) -> None:
        """An answer of the control plane; one that comes after a restart finds nobody who asked."""
        if life == self._device.life and self._device.plant.hears(answer):
            self._device.run(lambda: self.tell(answer))

    def _ask(self, question: Callable[[], p.Event]) -> None:
        """The printer acts at once; its answer comes a moment later, or never."""
        answer: p.Event
        try:
            answer, wait = question(), ANSWER_S
        except SilentError:
            answer, wait = p.Silent("no answer"), SILENCE_S
        believed = self._device.plant.printer(self._core.record, answer)
        self._device.later(wait, lambda: self.tell(believed))

    def _tell_evidence(self, effect: p.Tell) -> bool:
        document = self._core.record.document
        evidence = Evidence(
            document=document,
            job=self._job,
            outcome=effect.outcome,
            ipp_job_id=effect.ipp_job_id,
            ipp_job_state=effect.ipp_job_state,
            sheets=effect.sheets,
        )
        ids = {"document": document}
        return self._device.send("evidence", ids, evidence, lane=Lane.EVENTS, must=True) is not None
