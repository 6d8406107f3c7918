"""Decides what a kiosk does with one print job, so that no paper comes out twice and none is forgotten.

The bytes that go to the printer cannot be called back. So the ledger says `spooling` before they go, and a
document that stands there already is never sent again: a duplicate of the job is answered from the ledger,
and after a restart the printer is asked by job name. If it cannot say, the document is in doubt and a person
decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from contract.documents import PrintOutcome
from contract.lifecycle import Machine
from edge_agent.documents.printer import ENDED, JobState, PrinterJob

Instant = float
"""Seconds of a clock that never goes back."""

PAPER = Machine(
    "paper on the kiosk",
    "wanted",
    {
        "wanted": {"fetch": "fetched", "refuse": "not-printed"},
        "fetched": {"spool": "spooling", "refuse": "not-printed"},
        "spooling": {"accept": "printing", "refuse": "not-printed", "lose": "in-doubt"},
        "printing": {"complete": "printed", "abort": "not-printed", "lose": "in-doubt"},
        "in-doubt": {"complete": "printed", "abort": "not-printed"},
        "printed": {},
        "not-printed": {},
    },
)
"""`in-doubt` is left when the printer, back again, tells how its job ended."""

FETCH_AGAIN_S = 2.0
REFUSALS_S = 6.0
"""A refusal of the bytes is believed when it stands this long: a job can overtake its document's news."""
POLL_FAST_S = 0.25
POLL_SLOW_S = 1.0
POLL_FAST_FOR_S = 10.0
SPOOL_SETTLES_S = 10.0
"""How long a job whose sending broke off is looked for under its name before it is in doubt."""
CANCEL_SETTLES_S = 10.0
"""How long a printer has to say what became of a job that it was asked to give up."""


class State(StrEnum):
    """States of `PAPER`."""

    WANTED = "wanted"
    FETCHED = "fetched"
    SPOOLING = "spooling"
    PRINTING = "printing"
    PRINTED = "printed"
    NOT_PRINTED = "not-printed"
    IN_DOUBT = "in-doubt"


UNSETTLED = (State.SPOOLING, State.PRINTING, State.IN_DOUBT)
"""The paper was sent to the printer, and its end is not known."""
OUTCOMES = {
    State.PRINTED: PrintOutcome.PRINTED,
    State.NOT_PRINTED: PrintOutcome.NOT_PRINTED,
    State.IN_DOUBT: PrintOutcome.IN_DOUBT,
}


@dataclass(frozen=True)
class Record:
    """A row of the ledger: ids and a state, nothing of what the paper says."""

    document: str
    job: str
    state: State
    ipp_job_id: int | None = None


# Events: what has happened.


@dataclass(frozen=True)
class Began:
    """The job has arrived, or the agent has started again and finds the job begun."""


@dataclass(frozen=True)
class Reconsidered:
    """The printer is back: what it remembers may settle a document that is in doubt."""


@dataclass(frozen=True)
class Fetched:
    """The bytes are in memory; what was measured of them."""

    sha256: str
    size: int


@dataclass(frozen=True)
class NotFetched:
    """The bytes did not come; `final` when they were refused, not only late."""

    reason: str
    final: bool


@dataclass(frozen=True)
class PrinterSeen:
    """The printer's answer to `Check`: what keeps it from printing, if anything."""

    ready: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accepted:
    """The printer has the paper."""

    ipp_job_id: int


@dataclass(frozen=True)
class SpoolRefused:
    """The printer certainly took nothing."""

    reason: str


@dataclass(frozen=True)
class JobSeen:
    """The printer's answer to `AskJob`; None when it does not know the job."""

    job: PrinterJob | None


@dataclass(frozen=True)
class JobsSeen:
    """The printer's answer to `AskByName`."""

    jobs: tuple[PrinterJob, ...]


@dataclass(frozen=True)
class Silent:
    """The printer did not answer the last question, or broke off while the paper was being sent."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """`Keep` or `Tell` could not be carried out; `rest` was therefore left undone."""

    reason: str
    rest: "tuple[Effect, ...]"


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come."""


Event = (
    Began
    | Reconsidered
    | Fetched
    | NotFetched
    | PrinterSeen
    | Accepted
    | SpoolRefused
    | JobSeen
    | JobsSeen
    | Silent
    | Failed
    | TimePassed
)

# Effects: what is to be done, in order; an effect that is answered stands last.


@dataclass(frozen=True)
class Fetch:
    """Get the bytes into memory; answered by `Fetched` or `NotFetched`."""


@dataclass(frozen=True)
class Check:
    """Ask whether the printer is ready; answered by `PrinterSeen` or `Silent`."""


@dataclass(frozen=True)
class Keep:
    """Write the row into the ledger; durable before the next effect."""

    record: Record


@dataclass(frozen=True)
class Tell:
    """Send the evidence; durable in the outbox before the next effect."""

    outcome: PrintOutcome
    ipp_job_id: int | None = None
    ipp_job_state: int | None = None
    reasons: tuple[str, ...] = ()
    sheets: int | None = None


@dataclass(frozen=True)
class Spool:
    """Send the bytes to the printer: the step that cannot be undone. Answered by `Accepted`, `SpoolRefused`
    or `Silent`."""


@dataclass(frozen=True)
class AskJob:
    """Answered by `JobSeen` or `Silent`."""

    ipp_job_id: int


@dataclass(frozen=True)
class AskByName:
    """Answered by `JobsSeen` or `Silent`."""


@dataclass(frozen=True)
class GiveUp:
    """Ask the printer to cancel the job; not answered, the next `AskJob` tells."""

    ipp_job_id: int


@dataclass(frozen=True)
class Wipe:
    """Forget the bytes."""


@dataclass(frozen=True)
class Finish:
    """The job is over; the last effect. `again`: the printer may yet settle what is in doubt."""

    outcome: PrintOutcome
    reason: str
    again: bool = False


Effect = Fetch | Check | Keep | Tell | Spool | AskJob | AskByName | GiveUp | Wipe | Finish


class Printing:
    """One print job, from its arrival to the word of the printer.

    Args:
        job: id of the job execution that asks.
        document: the id under which the ledger and the printer know the paper.
        sha256: hex digest of the PDF that was offered.
        size: its length in bytes.
        known: the ledger's row of this document, None when it has none.
        timeout_s: how long the paper may take from now.
    """

    def __init__(
        self, *, job: str, document: str, sha256: str, size: int, known: Record | None, timeout_s: float
    ) -> None:
        self.record = known or Record(document=document, job=job, state=State.WANTED)
        self.finished = False
        self._job = job
        self._sha256 = sha256
        self._size = size
        self._timeout_s = timeout_s
        self._began_at: Instant = 0.0
        self._next_at: Instant | None = None
        self._settles_at: Instant = 0.0
        self._unknown_until: Instant = 0.0
        self._asking_by_name = False
        self._given_up = False

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What to do about `event`, in order."""
        if isinstance(event, Failed):
            return self._go_on(event.reason, event.rest)
        if self.finished:
            return []
        match event:
            case Began():
                return self._begin(now)
            case Reconsidered():
                return self._reconsider(now)
            case Fetched(sha256, size):
                return self._take(sha256, size)
            case NotFetched(reason, final):
                return self._miss(reason, final, now)
            case PrinterSeen(ready, reasons):
                return self._send(ready, reasons)
            case Accepted(ipp_job_id):
                return self._accept(ipp_job_id, now)
            case SpoolRefused(reason):
                return self._end("refuse", reason)
            case JobSeen(job):
                return self._judge(job, now)
            case JobsSeen(jobs):
                return self._recognise(jobs, now)
            case Silent(reason):
                return self._wait(reason, now)
            case TimePassed():
                return self._tick(now)
        assert_never(event)

    def deadline(self) -> Instant | None:
        """When `TimePassed` is due; None while an answer is awaited or the job is over."""
        return None if self.finished else self._next_at

    def _begin(self, now: Instant) -> list[Effect]:
        self._began_at = now
        self._settles_at = now + self._timeout_s
        state = self.record.state
        if state in OUTCOMES:
            return self._repeat(OUTCOMES[state])
        if state in (State.WANTED, State.FETCHED):
            return [Fetch()]  # nothing has gone to the printer yet
        self._unknown_until = now + SPOOL_SETTLES_S
        if state == State.PRINTING and self.record.ipp_job_id is not None:
            return [AskJob(self.record.ipp_job_id)]
        return self._ask_by_name()

    def _reconsider(self, now: Instant) -> list[Effect]:
        if self.record.state != State.IN_DOUBT:
            return self._begin(now)
        return self._ask_by_name()

    def _repeat(self, outcome: PrintOutcome) -> list[Effect]:
        self.finished = True
        return [
            Tell(outcome, ipp_job_id=self.record.ipp_job_id),
            Finish(outcome, f"answered from the ledger: {outcome.value}"),
        ]

    def _take(self, sha256: str, size: int) -> list[Effect]:
        if (sha256, size) != (self._sha256, self._size):
            return self._end(
                "refuse", f"{size} bytes came that are not the {self._size} bytes that were offered"
            )
        if self.record.state == State.FETCHED:
            return [Check()]
        return [self._move("fetch"), Check()]

    def _miss(self, reason: str, final: bool, now: Instant) -> list[Effect]:
        if now + FETCH_AGAIN_S >= self._began_at + (REFUSALS_S if final else self._timeout_s / 2):
            return self._end("refuse", reason)
        self._next_at = now + FETCH_AGAIN_S
        return []

    def _send(self, ready: bool, reasons: tuple[str, ...]) -> list[Effect]:
        if not ready:
            return self._end(
                "refuse", f"the printer is not ready: {', '.join(reasons) or 'stopped'}", reasons
            )
        return [self._move("spool"), Tell(PrintOutcome.PRINTING), Spool()]

    def _accept(self, ipp_job_id: int, now: Instant) -> list[Effect]:
        self._asking_by_name = False
        kept = self._move("accept", ipp_job_id)
        self._next_at = now + POLL_FAST_S
        return [Wipe(), kept]

    def _recognise(self, jobs: Sequence[PrinterJob], now: Instant) -> list[Effect]:
        """The printer told which jobs it has under the document's id."""
        if self.record.state == State.IN_DOUBT:
            return self._settle(jobs)
        if not jobs:
            if self.record.state == State.SPOOLING and now < self._unknown_until:
                self._next_at = now + POLL_SLOW_S
                return []
            return self._end("lose", "the printer does not know the job")
        best = _best(jobs)
        effects: list[Effect] = []
        if self.record.state == State.SPOOLING:
            effects = self._accept(best.ipp_job_id, now)
        elif best.ipp_job_id != self.record.ipp_job_id:
            self.record = replace(self.record, ipp_job_id=best.ipp_job_id)
            effects = [Keep(self.record)]
        self._asking_by_name = False
        return effects + self._judge(best, now)

    def _settle(self, jobs: Sequence[PrinterJob]) -> list[Effect]:
        """A document in doubt: only the printer's clear word moves it."""
        verdict = _verdict(_best(jobs)) if jobs else "lose"
        if verdict in ("complete", "abort"):
            best = _best(jobs)
            return self._end(verdict, "the printer told it later", best.reasons, best)
        self.finished = True
        reason = (
            "the printer does not know how it ended" if verdict == "lose" else "the printer has not ended it"
        )
        return [Finish(PrintOutcome.IN_DOUBT, reason, again=verdict is None)]

    def _judge(self, job: PrinterJob | None, now: Instant) -> list[Effect]:
        """The printer told how its job is."""
        if job is None or job.name not in ("", self.record.document):
            # A printer that was switched off counts its jobs from one again.
            return self._ask_by_name()
        verdict = _verdict(job)
        if verdict is None:
            return self._poll_on(job.reasons, now)
        reason = (
            "printed" if verdict == "complete" else f"the printer ended the job: {', '.join(job.reasons)}"
        )
        return self._end(verdict, reason, job.reasons, job)

    def _poll_on(self, reasons: tuple[str, ...], now: Instant) -> list[Effect]:
        if now >= self._settles_at:
            if self._given_up or self.record.ipp_job_id is None:
                return self._end("lose", f"the printer did not end the job: {', '.join(reasons)}", reasons)
            self._given_up = True
            self._settles_at = now + CANCEL_SETTLES_S
            self._next_at = now + POLL_FAST_S
            return [GiveUp(self.record.ipp_job_id)]
        fast = now < self._began_at + POLL_FAST_FOR_S
        self._next_at = now + (POLL_FAST_S if fast else POLL_SLOW_S)
        return []

    def _wait(self, reason: str, now: Instant) -> list[Effect]:
        """No answer: before the bytes go that ends the job, afterwards the printer is asked again."""
        if self.record.state == State.IN_DOUBT:
            self.finished = True
            return [Finish(PrintOutcome.IN_DOUBT, reason, again=True)]
        if self.record.state in (State.WANTED, State.FETCHED):
            return self._end("refuse", reason)
        if self.record.state == State.SPOOLING and not self._asking_by_name:
            self._asking_by_name = True
            self._unknown_until = now + SPOOL_SETTLES_S
        if now >= self._settles_at:
            return self._end("lose", reason)
        self._next_at = now + POLL_SLOW_S
        return []

    def _tick(self, now: Instant) -> list[Effect]:
        if self._next_at is None or now < self._next_at:
            return []
        self._next_at = None
        if self.record.state in (State.WANTED, State.FETCHED):
            return [Fetch()]
        if self.record.ipp_job_id is None or self._asking_by_name:
            return self._ask_by_name()
        return [AskJob(self.record.ipp_job_id)]

    def _ask_by_name(self) -> list[Effect]:
        self._asking_by_name = True
        return [AskByName()]

    def _go_on(self, reason: str, rest: "tuple[Effect, ...]") -> list[Effect]:
        """What could not be written stops a paper that has not been sent yet, and none that has."""
        if any(isinstance(effect, Check | Spool) for effect in rest):
            return self._end("refuse", reason)
        return list(rest)

    def _move(self, event: str, ipp_job_id: int | None = None) -> Keep:
        state = State(PAPER.apply(self.record.state, event))
        self.record = Record(
            document=self.record.document,
            job=self._job,
            state=state,
            ipp_job_id=ipp_job_id if ipp_job_id is not None else self.record.ipp_job_id,
        )
        return Keep(self.record)

    def _end(
        self, event: str, reason: str, reasons: tuple[str, ...] = (), job: PrinterJob | None = None
    ) -> list[Effect]:
        kept = self._move(event)
        outcome = OUTCOMES[self.record.state]
        told = Tell(
            outcome,
            ipp_job_id=self.record.ipp_job_id,
            ipp_job_state=None if job is None else int(job.state),
            reasons=reasons,
            sheets=None if job is None else job.sheets,
        )
        self._next_at = None
        self.finished = True
        return [Wipe(), kept, told, Finish(outcome, reason)]


def _best(jobs: Sequence[PrinterJob]) -> PrinterJob:
    """Of several jobs under one name: ended well is stronger than ended badly, and that than under way."""
    return max(jobs, key=lambda job: (job.state == JobState.COMPLETED, job.state in ENDED, job.ipp_job_id))


def _verdict(job: PrinterJob) -> str | None:
    """The event of `PAPER` that the printer's word is; None while the job is under way.

    A job that was cancelled or aborted printed nothing only if the printer counted its sheets and says none:
    a printer may cancel a job whose paper is out already.
    """
    if job.state not in ENDED:
        return None
    if job.state == JobState.COMPLETED:
        return "lose" if "job-completed-with-errors" in job.reasons else "complete"
    return "abort" if job.sheets == 0 else "lose"
