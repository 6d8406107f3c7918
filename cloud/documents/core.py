"""What becomes of one document request: every decision, no I/O.

The runner keeps `Facts`, gives each event to `Request.handle` and carries out the effects in their order.
`Persist` always comes first, so whatever is done has been written down; after a crash `Request.pending`
says again what the present state asks for. All effects but `Persist` can therefore happen twice, and are
idempotent by the document's id.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from contract.documents import DOCUMENT, PrintOutcome, Problem

ENDED = DOCUMENT.ends
IN_DOUBT = "in_doubt"
AT_PRINTER = ("offered", "printing")
DELIVERED = ("delivered", "uncollected", "captured", "closed")
PAPERLESS = ("refused", "failed", "expired", "voided")
"""Ends without a paper: whatever was held of the citizen's money is released."""
OPEN = ("requested", "identified", "priced")
"""Before the payment; these can be cancelled."""


class Hold(StrEnum):
    """What we know of the citizen's money at the payment service."""

    NONE = "none"
    UNKNOWN = "unknown"
    """The request ended while the citizen could pay; the service must be asked."""
    HELD = "held"
    CAPTURED = "captured"
    RELEASED = "released"
    REFUSED = "refused"
    """The service neither captures nor releases; a person must look."""


class PrintEnd(StrEnum):
    """How a print job ended, as far as the jobs know."""

    NEVER_STARTED = "never-started"
    STARTED = "started"


class Reason(StrEnum):
    """Why a request ended badly, beside the problems of the contract."""

    CANCELLED = "cancelled"
    NOT_RENDERED = "not-rendered"
    NOT_SEALED = "not-sealed"
    NOT_OFFERED = "not-offered"
    NOT_STARTED = "not-started"
    NOT_PRINTED = "not-printed"
    DECIDED = "decided"


class Attention(StrEnum):
    """What a person has to look at although nothing leads out of the state by itself."""

    PAPER_AFTER_END = "paper-after-end"
    NO_PAPER_AFTER_DELIVERY = "no-paper-after-delivery"
    PAYMENT_NOT_CAPTURED = "payment-not-captured"
    PAYMENT_NOT_RELEASED = "payment-not-released"


@dataclass(frozen=True)
class Limits:
    """For how long each state may last, in seconds."""

    identifying_s: float = 60
    choosing_s: float = 300
    paying_s: float = 600
    making_s: float = 120
    printing_s: float = 180
    evidence_grace_s: float = 60
    again_s: float = 60
    """Until a payment that could not be captured or released is tried again; doubles with each try."""
    again_max_s: float = 3600


@dataclass(frozen=True)
class Facts:
    """All that the decisions stand on."""

    state: str = DOCUMENT.initial
    price_cents: int | None = None
    payment: Hold = Hold.NONE
    authorisation: str | None = None
    offered: bool = False
    """Whether there was ever a print job for it."""
    print_ended: PrintEnd | None = None
    deadline: datetime | None = None
    tries: int = 0
    reason: str | None = None
    attention: Attention | None = None


# --- events ---


@dataclass(frozen=True)
class Created:
    """The kiosk has asked; the registry has not been asked yet."""


@dataclass(frozen=True)
class Identified:
    """The registry knows the person, and has something to issue."""


@dataclass(frozen=True)
class Declined:
    """The rules or the registry say no."""

    problem: Problem


@dataclass(frozen=True)
class Priced:
    """The citizen has chosen; this is what it costs."""

    price_cents: int


@dataclass(frozen=True)
class Cancelled:
    """The citizen has gone back or away."""


@dataclass(frozen=True)
class Paid:
    """The payment service holds this much for this request; no authorisation where it costs nothing."""

    authorisation: str | None
    amount_cents: int


@dataclass(frozen=True)
class Rendered:
    """The paper is rendered and stored."""


@dataclass(frozen=True)
class Sealed:
    """The sealed PDF is stored."""


@dataclass(frozen=True)
class MakingFailed:
    """The paper could not be rendered, sealed or offered, and never will be."""

    reason: Reason


@dataclass(frozen=True)
class EvidenceCame:
    """The kiosk says what it knows of the paper."""

    outcome: PrintOutcome


@dataclass(frozen=True)
class JobEnded:
    """The print job has ended, by whatever; evidence may have come before, may follow, or never come."""

    how: PrintEnd


@dataclass(frozen=True)
class PaymentCaptured:
    """The payment service has captured."""


@dataclass(frozen=True)
class PaymentReleased:
    """The payment service has released."""


@dataclass(frozen=True)
class PaymentFound:
    """The payment service holds money for a request that has ended without one."""

    authorisation: str


@dataclass(frozen=True)
class NoPayment:
    """The payment service holds nothing for a request that has ended."""


@dataclass(frozen=True)
class PaymentMissed:
    """The payment service did not do it, or does not know yet; `final` when it never will."""

    final: bool


@dataclass(frozen=True)
class Closed:
    """Nothing is left to do."""


@dataclass(frozen=True)
class Decided:
    """A person has looked at the evidence: there is a paper, or there is none."""

    delivered: bool


@dataclass(frozen=True)
class Waived:
    """A person gives up a payment that cannot be captured."""


@dataclass(frozen=True)
class Noted:
    """A person has looked at what called for attention."""


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


Event = (
    Created
    | Identified
    | Declined
    | Priced
    | Cancelled
    | Paid
    | Rendered
    | Sealed
    | MakingFailed
    | EvidenceCame
    | JobEnded
    | PaymentCaptured
    | PaymentReleased
    | PaymentFound
    | NoPayment
    | PaymentMissed
    | Closed
    | Decided
    | Waived
    | Noted
    | Tick
)


Settlement = PaymentCaptured | PaymentReleased | PaymentFound | NoPayment | PaymentMissed

# --- effects ---


@dataclass(frozen=True)
class Persist:
    """Write down the facts and each transition that led to them, before anything else."""

    facts: Facts
    transitions: tuple[tuple[str, str], ...]
    """Event and the state after it."""


@dataclass(frozen=True)
class Render:
    """Make the paper from what is stored; the same bytes each time."""


@dataclass(frozen=True)
class Seal:
    """Seal the paper and store it once."""


@dataclass(frozen=True)
class Offer:
    """Let there be a print job at the kiosk; one, however often this is done."""

    timeout_s: float


@dataclass(frozen=True)
class AwaitEvidence:
    """Wait for evidence, for the end of the job, or until then."""

    until: datetime


@dataclass(frozen=True)
class Capture:
    """Capture the held payment."""

    authorisation: str


@dataclass(frozen=True)
class ReleasePayment:
    """Release the held payment."""

    authorisation: str


@dataclass(frozen=True)
class LookForPayment:
    """Ask the payment service whether it holds money under this request's id."""


@dataclass(frozen=True)
class ReleaseSurplus:
    """Release an authorisation that was given for this request and is not the one that pays for it."""

    authorisation: str


@dataclass(frozen=True)
class Close:
    """Forget what only the printing needed."""


@dataclass(frozen=True)
class Refuse:
    """The event is not possible in this state; nothing was changed."""

    state: str
    problem: Problem = Problem.WRONG_STATE


@dataclass(frozen=True)
class Ignored:
    """The event says nothing that matters here; it is worth counting."""

    state: str


Work = Render | Seal | Offer | AwaitEvidence | Capture | ReleasePayment | LookForPayment | Close
Effect = Persist | Work | ReleaseSurplus | Refuse | Ignored

_EVIDENCE: dict[tuple[str, PrintOutcome], tuple[str, ...]] = {
    ("offered", PrintOutcome.PRINTING): ("print",),
    ("offered", PrintOutcome.PRINTED): ("deliver",),
    ("offered", PrintOutcome.NOT_PRINTED): ("fail",),
    ("offered", PrintOutcome.IN_DOUBT): ("doubt",),
    ("printing", PrintOutcome.PRINTING): (),
    ("printing", PrintOutcome.PRINTED): ("deliver",),
    ("printing", PrintOutcome.NOT_PRINTED): ("fail",),
    ("printing", PrintOutcome.IN_DOUBT): ("doubt",),
    (IN_DOUBT, PrintOutcome.PRINTING): (),
    (IN_DOUBT, PrintOutcome.PRINTED): ("deliver",),
    (IN_DOUBT, PrintOutcome.NOT_PRINTED): ("void",),
    (IN_DOUBT, PrintOutcome.IN_DOUBT): (),
}
"""What each word of the kiosk does in each state in which a paper may be on its way."""

_MAKING = {"authorised": Reason.NOT_RENDERED, "rendered": Reason.NOT_SEALED, "sealed": Reason.NOT_OFFERED}


class Request:
    """The decisions about one document request."""

    def __init__(self, facts: Facts, limits: Limits) -> None:
        self.facts = facts
        self._limits = limits

    def deadline(self) -> datetime | None:
        """When `handle(Tick())` has something to do; None where nothing happens by itself."""
        return self.facts.deadline

    def handle(self, event: Event, now: datetime) -> list[Effect]:
        """What follows from `event`: `Persist` if anything has changed, then what there is to do."""
        before = self.facts
        path: list[tuple[str, str]] = []
        match event:
            case Created():
                self.facts = self._entered(before, now)
            case EvidenceCame(outcome):
                path = self._evidence(outcome, now)
            case JobEnded(how):
                self._job_ended(how, now)
            case Paid():
                path = self._paid(event, now)
            case PaymentCaptured() | PaymentReleased() | PaymentFound() | NoPayment() | PaymentMissed():
                path = self._settled(event, now)
            case Noted():
                self._noted()
            case Tick():
                path = self._tick(now)
            case _:
                path = self._ordinary(event, now)
        return self._effects(before, event, path)

    def pending(self) -> list[Work]:
        """What the present state asks for, said again after a restart."""
        facts = self.facts
        if facts.state in PAPERLESS:
            if facts.payment is Hold.UNKNOWN:
                return [LookForPayment()]
            return [ReleasePayment(facts.authorisation)] if _is_owed(facts) and facts.authorisation else []
        if facts.state in AT_PRINTER:
            assert facts.deadline is not None, f"{facts.state} has a deadline"
            wait = AwaitEvidence(facts.deadline)
            return [Offer(self._limits.printing_s), wait] if facts.state == "offered" else [wait]
        if facts.state in ("delivered", "uncollected") and facts.authorisation and _is_owed(facts):
            return [Capture(facts.authorisation)]
        simple: dict[str, Work] = {
            "authorised": Render(),
            "rendered": Seal(),
            "sealed": Offer(self._limits.printing_s),
            "captured": Close(),
        }
        return [simple[facts.state]] if facts.state in simple else []

    # --- events ---

    def _ordinary(self, event: Event, now: datetime) -> list[tuple[str, str]]:
        match event:
            case Identified():
                return self._apply(("identify",), now)
            case Declined(problem):
                return self._apply(("refuse",), now, reason=problem.value)
            case Priced(price_cents):
                return self._apply(("price",), now, price_cents=price_cents)
            case Cancelled():
                word = "refuse" if self.facts.state == DOCUMENT.initial else "void"
                return self._apply((word,), now, reason=Reason.CANCELLED) if self.facts.state in OPEN else []
            case Rendered():
                return self._apply(("render",), now)
            case Sealed():
                return self._apply(("seal", "offer"), now, offered=True)
            case MakingFailed(reason):
                possible = self.facts.state in (*_MAKING, "offered")
                return self._apply(("fail",), now, reason=reason) if possible else []
            case Closed():
                return self._apply(("close",), now) if self.facts.state == "captured" else []
            case Decided(delivered):
                word = "deliver" if delivered else "void"
                why = None if delivered else Reason.DECIDED
                return self._apply((word,), now, reason=why) if self.facts.state == IN_DOUBT else []
            case Waived():
                final = self.facts.payment is Hold.REFUSED
                return self._apply(("waive",), now, attention=None) if final else []
            case _:
                raise AssertionError(f"{event} is handled elsewhere")

    def _evidence(self, outcome: PrintOutcome, now: datetime) -> list[tuple[str, str]]:
        state = self.facts.state
        words = _EVIDENCE.get((state, outcome))
        if words is not None:
            reason = Reason.NOT_PRINTED if outcome is PrintOutcome.NOT_PRINTED else self.facts.reason
            return self._apply(words, now, reason=reason) if words else []
        if not self.facts.offered:
            return []
        if state in PAPERLESS and outcome is not PrintOutcome.NOT_PRINTED:
            self.facts = replace(self.facts, attention=Attention.PAPER_AFTER_END)
        elif state in DELIVERED and outcome is PrintOutcome.NOT_PRINTED:
            self.facts = replace(self.facts, attention=Attention.NO_PAPER_AFTER_DELIVERY)
        return []

    def _job_ended(self, how: PrintEnd, now: datetime) -> None:
        """From now on only evidence can say what became of the paper; it gets a last time to come."""
        if self.facts.state in AT_PRINTER and self.facts.print_ended is None:
            last = now + timedelta(seconds=self._limits.evidence_grace_s)
            self.facts = replace(self.facts, print_ended=how, deadline=last)

    def _noted(self) -> None:
        """A payment that could not be captured is waived instead."""
        if self.facts.attention is not Attention.PAYMENT_NOT_CAPTURED:
            self.facts = replace(self.facts, attention=None)

    def _paid(self, paid: Paid, now: datetime) -> list[tuple[str, str]]:
        facts = self.facts
        held = Hold.HELD if paid.authorisation else Hold.NONE
        if DOCUMENT.allows(facts.state, "authorise") and paid.amount_cents == facts.price_cents:
            return self._apply(("authorise",), now, payment=held, authorisation=paid.authorisation)
        if facts.state in PAPERLESS and paid.authorisation and facts.payment in (Hold.NONE, Hold.UNKNOWN):
            # The money came too late: it is taken note of in order to be given back.
            taken = replace(facts, payment=held, authorisation=paid.authorisation, tries=0)
            self.facts = replace(taken, deadline=self._again(taken, now))
        return []

    def _settled(self, event: Settlement, now: datetime) -> list[tuple[str, str]]:
        facts = self.facts
        if facts.state in PAPERLESS and facts.payment in (Hold.HELD, Hold.UNKNOWN):
            self.facts = self._given_back(event, now)
            return []
        if facts.state not in ("delivered", "uncollected") or not _is_owed(facts):
            return []
        if isinstance(event, PaymentCaptured):
            return self._apply(("capture",), now, payment=Hold.CAPTURED)
        if not isinstance(event, PaymentMissed):
            return []
        path = self._apply(("miss-capture",) if facts.state == "delivered" else (), now)
        if event.final:
            called = Attention.PAYMENT_NOT_CAPTURED
            self.facts = replace(self.facts, payment=Hold.REFUSED, deadline=None, attention=called)
        elif not path:
            missed = replace(facts, tries=facts.tries + 1)
            self.facts = replace(missed, deadline=self._again(missed, now))
        return path

    def _given_back(self, event: Settlement, now: datetime) -> Facts:
        facts = self.facts
        match event:
            case PaymentReleased() if _is_owed(facts):
                return replace(facts, payment=Hold.RELEASED, deadline=None)
            case NoPayment() if not _is_owed(facts):
                return replace(facts, payment=Hold.NONE, deadline=None)
            case PaymentFound(authorisation) if not _is_owed(facts):
                found = replace(facts, payment=Hold.HELD, authorisation=authorisation, tries=0)
                return replace(found, deadline=self._again(found, now))
            case PaymentMissed(final) if not final:
                missed = replace(facts, tries=facts.tries + 1)
                return replace(missed, deadline=self._again(missed, now))
            case PaymentMissed() | PaymentCaptured() if _is_owed(facts):
                called = Attention.PAYMENT_NOT_RELEASED
                return replace(facts, payment=Hold.REFUSED, deadline=None, attention=called)
            case _:
                return facts

    def _tick(self, now: datetime) -> list[tuple[str, str]]:
        facts = self.facts
        if facts.deadline is None or now < facts.deadline:
            return []
        if facts.state in OPEN:
            return self._apply(("expire",), now)
        if facts.state in _MAKING:
            return self._apply(("fail",), now, reason=_MAKING[facts.state])
        if facts.state == "offered" and facts.print_ended is PrintEnd.NEVER_STARTED:
            return self._apply(("fail",), now, reason=Reason.NOT_STARTED)
        if facts.state in AT_PRINTER:
            return self._apply(("doubt",), now)
        # What was to be done is done again: whoever was doing it is gone, or the payment service was.
        self.facts = replace(facts, deadline=self._again(facts, now))
        return []

    # --- facts ---

    def _apply(self, words: Sequence[str], now: datetime, **changes: object) -> list[tuple[str, str]]:
        """Walk along `words`, or stay where the first of them is not in the table."""
        if not words or not DOCUMENT.allows(self.facts.state, words[0]):
            return []
        path = []
        facts = replace(self.facts, **changes)  # type: ignore[arg-type] # the callers name fields of Facts
        for word in words:
            facts = replace(facts, state=DOCUMENT.apply(facts.state, word))
            path.append((word, facts.state))
        if self.facts.state == "priced" and facts.state in PAPERLESS and facts.price_cents:
            # The card may have been read already; the kiosk that would tell may be dead.
            facts = replace(facts, payment=Hold.UNKNOWN)
        if facts.state == "delivered" and not _is_owed(facts):
            # A free document is captured at zero: nobody has to be asked.
            facts = replace(facts, state=DOCUMENT.apply(facts.state, "capture"))
            path.append(("capture", facts.state))
        self.facts = self._entered(replace(facts, tries=0), now)
        return path

    def _entered(self, facts: Facts, now: datetime) -> Facts:
        limits = self._limits
        seconds = {
            "requested": limits.identifying_s,
            "identified": limits.choosing_s,
            "priced": limits.paying_s,
            "authorised": limits.making_s,
            "rendered": limits.making_s,
            "sealed": limits.making_s,
            "offered": limits.printing_s + limits.evidence_grace_s,
            "printing": limits.printing_s + limits.evidence_grace_s,
        }.get(facts.state)
        if facts.state in AT_PRINTER and facts.print_ended is not None:
            seconds = limits.evidence_grace_s
        if seconds is not None:
            return replace(facts, deadline=now + timedelta(seconds=seconds))
        unsettled = facts.payment in (Hold.HELD, Hold.UNKNOWN) and facts.state != IN_DOUBT
        if facts.state == "captured" or unsettled:
            return replace(facts, deadline=self._again(facts, now))
        return replace(facts, deadline=None)

    def _again(self, facts: Facts, now: datetime) -> datetime:
        wait_s = min(self._limits.again_s * 2.0 ** min(facts.tries, 16), self._limits.again_max_s)
        return now + timedelta(seconds=wait_s)

    def _effects(self, before: Facts, event: Event, path: list[tuple[str, str]]) -> list[Effect]:
        if isinstance(event, Paid) and self.facts.authorisation != event.authorisation:
            return _not_taken(event, before)
        if isinstance(event, Paid) and before.state in PAPERLESS:
            taken = [Persist(self.facts, tuple(path))] if self.facts != before else []
            return [*taken, *self.pending(), Refuse(before.state)]
        if self.facts == before:
            if _is_out_of_place(event, before):
                return _not_taken(event, before) if isinstance(event, Paid) else [Refuse(before.state)]
            if isinstance(event, EvidenceCame) and not before.offered:
                return [Ignored(before.state)]
            return [*self.pending()]
        persist = Persist(self.facts, tuple(path))
        if isinstance(event, PaymentMissed):
            return [persist]  # it is tried again at the deadline
        return [persist, *self.pending()]


def has_work(effects: Sequence[Effect]) -> bool:
    """Whether something is to be done now; waiting is nothing to do."""
    idle = (Persist, AwaitEvidence, ReleaseSurplus, Refuse, Ignored)
    return any(not isinstance(effect, idle) for effect in effects)


def _is_owed(facts: Facts) -> bool:
    """Whether money is held that must be captured or released."""
    return facts.payment is Hold.HELD


def _not_taken(paid: Paid, facts: Facts) -> list[Effect]:
    """Money that pays for nothing goes back at once."""
    problem = Problem.PAYMENT_NOT_CONFIRMED if facts.state == "priced" else Problem.WRONG_STATE
    if paid.authorisation is None or paid.authorisation == facts.authorisation:
        return [Refuse(facts.state, problem)]
    return [ReleaseSurplus(paid.authorisation), Refuse(facts.state, problem)]


def _is_out_of_place(event: Event, facts: Facts) -> bool:
    """Whether somebody asked for what the state does not allow; repeating what is so already is no fault."""
    match event:
        case Identified() | Declined() | Priced() | Decided() | Waived() | Noted():
            return True
        case Cancelled():
            return facts.state not in PAPERLESS
        case Paid():
            return facts.state in OPEN
        case _:
            return False
