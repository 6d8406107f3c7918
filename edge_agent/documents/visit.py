"""Decides what a kiosk shows and does while a citizen stands before it.

One visit at a time. What the citizen said and what the registry answered live in `Facts` and are dropped when
the visit ends. Money: a payment is claimed in the ledger before the terminal is asked; from the moment the
cloud has its authorisation the cloud alone captures or releases it, and until then every end of the visit
releases it (`Release`).
"""

from dataclasses import dataclass
from typing import assert_never

from contract.documents import (
    IDENTIFICATIONS_FAILED_MAX,
    Identification,
    PreviewRow,
    PrintOutcome,
    Problem,
    Subject,
    View,
)
from edge_agent.documents import visit_messages as m
from edge_agent.documents.screen import (
    VISIT,
    Instant,
    Notice,
    Reason,
    ReceiptState,
    Screen,
    Step,
    Whom,
)
from edge_agent.documents.terminal import CardState
from edge_agent.documents.visit_messages import Effect, Event

WARN_S = 20.0
"""How long the countdown is shown before an idle visit ends (WCAG 2.2, 2.2.1, asks for at least 20 s)."""
END_S = 30.0
END_CANCELLED_S = 10.0
END_DOUBT_S = 60.0
WORK_S = 60.0
"""No single question to the cloud lasts longer; then it counts as unanswered."""
PAY_S = 90.0
"""The terminal's own limit is shorter."""
CONFIRM_AGAIN_S = 2.0
CONFIRM_S = 60.0
LOOK_S = 1.0
RECEIPT_S = 20.0
"""How long the receipt waits for the payment to be captured."""
PRINT_MARGIN_S = 30.0
"""How much longer than the printing the visit waits for word of it."""

_PAST_MONEY = frozenset({Step.CONFIRMING, Step.PRINTING, Step.DONE, Step.DOUBT})
_WORKING = frozenset({Step.CHECKING, Step.PRICING, *_PAST_MONEY - {Step.DONE, Step.DOUBT}, Step.PAYING})
_ENDS = frozenset({Step.COUNTER, Step.CANCELLED, Step.LOCKED, Step.FAILED, Step.DONE, Step.DOUBT})
_MADE = frozenset({"delivered", "uncollected", "captured", "closed"})
_PAID = frozenset({"captured", "closed"})
_UNMADE = frozenset({"failed", "voided", "expired", "refused"})
_REASONS: dict[str, Reason] = {
    Problem.NOTHING_TO_ISSUE: Reason.NOTHING_TO_ISSUE,
    Problem.NOT_ALLOWED: Reason.NOT_ALLOWED,
    Problem.PAYMENT_NOT_CONFIRMED: Reason.NOT_PAID,
}


@dataclass
class Facts:
    """Everything of one visit that is personal or belongs to it alone; dropped at its end."""

    visit: str = ""
    kind: str = ""
    whom: Whom | None = None
    document: str = ""
    language: str = ""
    identification: Identification | None = None
    subjects: tuple[Subject, ...] = ()
    subject: str = ""
    preview: tuple[PreviewRow, ...] = ()
    price_cents: int | None = None
    serial: str | None = None
    authorisation: str = ""
    failures: int = 0
    notice: Notice | None = None
    reason: Reason | None = None
    at_printer: bool = False
    cut_off: bool = False
    confirmed: bool = False
    receipt: ReceiptState = ReceiptState.NONE
    slip_printed: bool | None = None


@dataclass
class _Timers:
    """When something is due; None when it is not."""

    ends: Instant | None = None
    work: Instant | None = None
    look: Instant | None = None
    again: Instant | None = None
    receipt: Instant | None = None
    warned: bool = False

    def next(self) -> Instant | None:
        warns = None if self.ends is None or self.warned else self.ends - WARN_S
        due = [
            at for at in (self.ends, warns, self.work, self.look, self.again, self.receipt) if at is not None
        ]
        return min(due) if due else None


class Visit:
    """The kiosk before a citizen.

    Args:
        kinds: the types of document that are offered.
        language: of the first screen, one of `contract.languages.LANGUAGES`.
        idle_s: how long nobody may touch the screen before a visit ends.
        print_s: how long a print may take.
    """

    def __init__(self, *, kinds: tuple[str, ...], language: str, idle_s: float, print_s: float) -> None:
        assert idle_s > WARN_S, "the countdown must fit into the idle time"
        self._kinds = kinds
        self._home_language = language
        self._idle_s = idle_s
        self._print_s = print_s
        self._language = language
        self._step = Step.WELCOME
        self._facts = Facts()
        self._timers = _Timers()
        self._ready = m.Readiness(printer=Reason.PRINTER, connected=False)

    @property
    def screen(self) -> Screen:
        """What the page shows now."""
        facts = self._facts
        return Screen(
            step=self._step,
            language=self._language,
            blocked=self._blocked if self._step == Step.WELCOME else None,
            kind=facts.kind,
            whom=facts.whom,
            spoken=facts.language or self._language,
            subjects=facts.subjects,
            preview=facts.preview,
            price_cents=facts.price_cents,
            serial=facts.serial,
            code=code(facts.document),
            tries_left=IDENTIFICATIONS_FAILED_MAX - facts.failures,
            notice=facts.notice,
            reason=facts.reason,
            at_printer=facts.at_printer,
            cut_off=facts.cut_off,
            confirmed=facts.confirmed,
            receipt=facts.receipt,
            slip_printed=facts.slip_printed,
            choice=len(facts.subjects) > 1,
            ends_at=self._timers.ends,
            warning=self._timers.warned,
        )

    @property
    def visit(self) -> str:
        """The id of the visit; empty between visits."""
        return self._facts.visit

    @property
    def document(self) -> str:
        """The document of the visit; empty before there is one."""
        return self._facts.document

    def deadline(self) -> Instant | None:
        """When `TimePassed` is due."""
        return self._timers.next()

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What to do about `event`, in order; what does not fit the step changes nothing."""
        if isinstance(event, m.PRESSES):
            self._touch(now)
            return self._press(event, now)
        match event:
            case m.Readiness():
                return self._prepare(event, now)
            case m.DocumentRead(identification, document):
                return self._read(identification, document, now)
            case m.DocumentMisread(notice):
                return self._misread(notice, now)
            case m.ReaderLost():
                return self._fail(Reason.READER, now) if self._step == Step.IDENTIFY else []
            case m.ReceiptEnded(visit, printed):
                return self._receipt_ended(visit, printed, now)
            case m.TimePassed():
                return self._tick(now)
        if event.document != self._facts.document or not event.document:
            return []  # the answer to a question of a visit that is over
        match event:
            case m.Viewed(_, view):
                return self._viewed(view, now)
            case m.Refused(_, problem):
                return self._refused(problem, now)
            case m.Unanswered():
                return self._unanswered(now)
            case m.CardAnswered(_, state, authorisation):
                return self._card(state, authorisation, now)
            case m.TerminalLost():
                return self._fail(Reason.TERMINAL, now) if self._step == Step.PAYING else []
            case m.NotKept():
                return self._not_kept(now)
            case m.PaperMoved(_, outcome):
                return self._paper(outcome, now)
        assert_never(event)

    # What the citizen presses.

    def _press(self, event: Event, now: Instant) -> list[Effect]:
        step = self._step
        match event:
            case m.LanguagePressed(language, visit):
                self._language = language
                if step == Step.WELCOME and self._blocked is None:
                    self._facts = Facts(visit=visit)
                    self._go("begin", now)
            case m.KindPressed(kind) if step == Step.KINDS and kind in self._kinds:
                self._facts.kind = kind
                self._go("choose", now)
            case m.WhomPressed(whom) if step == Step.WHOM:
                self._facts.whom = whom
                self._go("myself" if whom == Whom.MYSELF else "other", now)
                return [m.Listen()] if whom == Whom.MYSELF else []
            case m.SubjectPressed(subject) if step == Step.SUBJECTS:
                if subject in {offered.subject for offered in self._facts.subjects}:
                    self._facts.subject = subject
                    self._go("choose", now)
                    return [m.Choose(self._facts.document, subject)]
            case m.PayPressed() if step == Step.PREVIEW:
                return self._pay(now)
            case m.BackPressed(document):
                return self._back(document, now)
            case m.AgainPressed() if step == Step.TROUBLE:
                self._go("again-choose" if self._facts.subject else "again-identify", now)
                return [self._choose() if self._facts.subject else self._create()]
            case m.CancelPressed() if VISIT.allows(step, "cancel"):
                effects = self._let_go()
                self._go("cancel", now)
                return effects
            case m.FinishPressed() if step in _ENDS:
                return self._over("finish", now)
            case m.SlipPressed() if step == Step.COUNTER and self._facts.slip_printed is None:
                assert self._facts.whom is not None
                return [m.PrintSlip(self._facts.visit, self._facts.kind, self._language, self._facts.whom)]
        return []

    def _back(self, document: str, now: Instant) -> list[Effect]:
        match self._step:
            case Step.WHOM:
                self._go("back", now)
            case Step.IDENTIFY:
                self._go("back", now)
                return [m.Deafen()]
            case Step.PREVIEW if len(self._facts.subjects) > 1:
                # A request that has its price keeps its subject; another subject is another request.
                old = self._facts.document
                self._facts.document = document
                self._facts.subject, self._facts.preview = "", ()
                self._go("back", now)
                return [m.Release(old), self._create()]
        return []

    def _pay(self, now: Instant) -> list[Effect]:
        if self._blocked is not None:
            return self._fail(self._blocked, now)
        facts = self._facts
        assert facts.price_cents is not None
        if facts.price_cents == 0:
            self._go("free", now)
            return [m.Confirm(facts.document, "")]
        self._go("pay", now)
        return [m.Claim(facts.document), m.Authorise(facts.document, facts.price_cents)]

    # What the devices and the cloud answer.

    def _read(self, identification: Identification, document: str, now: Instant) -> list[Effect]:
        if self._step != Step.IDENTIFY:
            return []
        self._facts.identification = identification
        self._facts.document = document
        self._go("read", now)
        return [m.Deafen(), self._create()]

    def _misread(self, notice: Notice, now: Instant) -> list[Effect]:
        if self._step == Step.IDENTIFY:
            self._touch(now)
            self._facts.notice = notice
        return []

    def _viewed(self, view: View, now: Instant) -> list[Effect]:
        facts = self._facts
        facts.cut_off = False
        match self._step:
            case Step.CHECKING:
                facts.subjects = tuple(view.subjects)
                if not facts.subjects:
                    return self._fail(Reason.NOTHING_TO_ISSUE, now)
                if len(facts.subjects) > 1:
                    self._go("identified", now)
                    return []
                facts.subject = facts.subjects[0].subject
                self._go("single", now)
                return [self._choose()]
            case Step.PRICING:
                if view.price_cents is None:
                    return self._fail(Reason.INTERNAL, now)
                facts.price_cents, facts.preview = view.price_cents, tuple(view.preview)
                self._go("priced", now)
            case Step.CONFIRMING:
                if view.state in _UNMADE:
                    return self._fail(Reason.NOT_PAID, now)
                return [*self._confirm(now), *self._progress(view, now)]
            case Step.PRINTING | Step.DONE | Step.DOUBT:
                return self._progress(view, now)
        return []

    def _progress(self, view: View, now: Instant) -> list[Effect]:
        """The cloud tells how far the document is."""
        facts = self._facts
        facts.serial = view.serial or facts.serial
        if self._step == Step.DONE and facts.receipt != ReceiptState.WAITING:
            return []
        self._timers.look = now + LOOK_S
        if view.state in _MADE and self._step in (Step.PRINTING, Step.DOUBT):
            self._deliver(now)
        if self._step == Step.PRINTING:
            facts.at_printer = facts.at_printer or view.state == "printing"
            if view.state in _UNMADE:
                return self._fail(Reason.NOT_PRINTED, now)
            if view.state == "in_doubt":
                self._go("doubt", now)
                self._timers.look = now + LOOK_S
        if self._step == Step.DONE and facts.receipt == ReceiptState.WAITING:
            if view.state in _PAID:
                facts.receipt = ReceiptState.PRINTING
                self._timers.look = None
                assert facts.price_cents is not None
                return [
                    m.PrintReceipt(
                        facts.visit,
                        facts.kind,
                        self._language,
                        facts.serial or self.screen.code,
                        facts.price_cents,
                    )
                ]
            if view.state == "uncollected":
                self._rest(ReceiptState.MISSING, now)
        return []

    def _refused(self, problem: str, now: Instant) -> list[Effect]:
        match self._step:
            case Step.CHECKING if problem == Problem.NOT_IDENTIFIED:
                self._facts.failures += 1
                self._facts.document, self._facts.identification = "", None
                if self._facts.failures >= IDENTIFICATIONS_FAILED_MAX:
                    self._go("lock", now)
                    return []
                self._go("unknown", now)
                self._facts.notice = Notice.UNKNOWN
                return [m.Listen()]
            case Step.CHECKING if problem == Problem.VISIT_LOCKED:
                self._facts.document, self._facts.identification = "", None
                self._go("lock", now)
            case Step.CHECKING | Step.PRICING | Step.CONFIRMING:
                return self._fail(_REASONS.get(problem, Reason.INTERNAL), now)
            case Step.PRINTING | Step.DONE | Step.DOUBT:
                return self._unanswered(now)
        return []

    def _unanswered(self, now: Instant) -> list[Effect]:
        match self._step:
            case Step.CHECKING | Step.PRICING:
                self._go("hang", now)
            case Step.CONFIRMING:
                self._facts.cut_off = True
                self._timers.again = now + CONFIRM_AGAIN_S
            case Step.DONE if self._facts.receipt != ReceiptState.WAITING:
                pass
            case Step.PRINTING | Step.DONE | Step.DOUBT:
                self._facts.cut_off = True
                self._timers.look = now + LOOK_S
        return []

    def _card(self, state: CardState, authorisation: str, now: Instant) -> list[Effect]:
        if self._step != Step.PAYING:
            return []
        document = self._facts.document
        if state == CardState.AUTHORISED:
            self._facts.authorisation = authorisation
            self._go("authorised", now)
            return [m.Claim(document, authorisation), m.Confirm(document, authorisation)]
        if state in (CardState.DECLINED, CardState.TIMEOUT, CardState.CANCELLED):
            self._go("declined", now)
            timed_out = state == CardState.TIMEOUT
            self._facts.notice = Notice.CARD_TIMEOUT if timed_out else Notice.DECLINED
            return [m.Settled(document)]
        return self._fail(Reason.TERMINAL, now)

    def _not_kept(self, now: Instant) -> list[Effect]:
        if self._step == Step.PAYING:
            return self._fail(Reason.INTERNAL, now)  # nothing was asked of the terminal yet
        if self._step == Step.CONFIRMING:
            return [m.Confirm(self._facts.document, self._facts.authorisation)]
        return []

    def _paper(self, outcome: PrintOutcome, now: Instant) -> list[Effect]:
        """The paper itself tells sooner than the cloud, and when the cloud is gone."""
        effects: list[Effect] = []
        if self._step == Step.CONFIRMING:
            effects = self._confirm(now)  # a print job is an answer too
        if self._step == Step.PRINTING:
            self._facts.at_printer = True
        if outcome == PrintOutcome.PRINTED and self._step in (Step.PRINTING, Step.DOUBT):
            self._deliver(now)
        elif outcome == PrintOutcome.NOT_PRINTED and self._step == Step.PRINTING:
            return [*effects, *self._fail(Reason.NOT_PRINTED, now)]
        elif outcome == PrintOutcome.IN_DOUBT and self._step == Step.PRINTING:
            self._go("doubt", now)
            self._timers.look = now + LOOK_S
        return effects

    def _receipt_ended(self, visit: str, printed: bool, now: Instant) -> list[Effect]:
        if visit != self._facts.visit:
            return []
        if self._step == Step.COUNTER:
            self._facts.slip_printed = printed
            self._touch(now)
        elif self._step == Step.DONE:
            self._rest(ReceiptState.PRINTED if printed else ReceiptState.MISSING, now)
        return []

    def _prepare(self, ready: m.Readiness, now: Instant) -> list[Effect]:
        """Before money is taken, a printer that cannot print ends the visit."""
        self._ready = ready
        if self._step == Step.WELCOME or self._step in _PAST_MONEY | _ENDS or ready.printer is None:
            return []
        return self._fail(ready.printer, now)

    # Time.

    def _tick(self, now: Instant) -> list[Effect]:
        timers = self._timers
        if timers.ends is not None and now >= timers.ends:
            return self._over("leave", now)
        if timers.ends is not None and now >= timers.ends - WARN_S:
            timers.warned = True
        if timers.work is not None and now >= timers.work:
            timers.work = None
            return self._overdue(now)
        effects: list[Effect] = []
        if timers.look is not None and now >= timers.look:
            timers.look = None
            effects.append(m.Look(self._facts.document))
        if timers.again is not None and now >= timers.again:
            timers.again = None
            effects.append(m.Confirm(self._facts.document, self._facts.authorisation))
        if timers.receipt is not None and now >= timers.receipt:
            self._rest(ReceiptState.MISSING, now)
        return effects

    def _overdue(self, now: Instant) -> list[Effect]:
        match self._step:
            case Step.CHECKING | Step.PRICING:
                self._go("hang", now)
            case Step.PAYING:
                return self._fail(Reason.TERMINAL, now)
            case Step.CONFIRMING:
                self._go("doubt", now)
                self._timers.look = now + LOOK_S
                return [m.Release(self._facts.document)]
            case Step.PRINTING:
                self._go("doubt", now)
                self._timers.look = now + LOOK_S
        return []

    # Moves.

    @property
    def _blocked(self) -> Reason | None:
        if self._ready.updating:
            return Reason.UPDATE
        if self._ready.printer is not None:
            return self._ready.printer
        if not self._ready.connected:
            return Reason.LINK
        return Reason.BUSY if self._ready.busy else None

    def _go(self, event: str, now: Instant) -> None:
        self._step = Step(VISIT.apply(self._step, event))
        self._facts.notice = None
        self._timers = _Timers()
        match self._step:
            case Step.CHECKING | Step.PRICING:
                self._timers.work = now + WORK_S
            case Step.PAYING:
                self._timers.work = now + PAY_S
            case Step.CONFIRMING:
                self._timers.work = now + CONFIRM_S
            case Step.PRINTING:
                self._timers.work = now + self._print_s + PRINT_MARGIN_S
        self._touch(now)

    def _touch(self, now: Instant) -> None:
        """Somebody is there: the countdown begins anew, where there is one."""
        self._timers.warned = False
        match self._step:
            case Step.WELCOME | Step.CHECKING | Step.PRICING | Step.PAYING | Step.CONFIRMING | Step.PRINTING:
                self._timers.ends = None
            case Step.DONE if self._facts.receipt in (ReceiptState.WAITING, ReceiptState.PRINTING):
                self._timers.ends = None
            case Step.CANCELLED:
                self._timers.ends = now + END_CANCELLED_S
            case Step.DOUBT:
                self._timers.ends = now + END_DOUBT_S
            case step:
                self._timers.ends = now + (END_S if step in _ENDS else self._idle_s)

    def _confirm(self, now: Instant) -> list[Effect]:
        self._facts.confirmed = True
        self._go("confirmed", now)
        self._timers.look = now + LOOK_S
        return [m.Settled(self._facts.document)]

    def _deliver(self, now: Instant) -> None:
        self._facts.receipt = ReceiptState.WAITING if self._facts.price_cents else ReceiptState.NONE
        self._go("deliver", now)
        if self._facts.receipt == ReceiptState.WAITING:
            self._timers.look = now + LOOK_S
            self._timers.receipt = now + RECEIPT_S

    def _rest(self, receipt: ReceiptState, now: Instant) -> None:
        """Nothing more will happen: the last screen stays for a while."""
        self._facts.receipt = receipt
        self._timers = _Timers()
        self._touch(now)

    def _fail(self, reason: Reason, now: Instant) -> list[Effect]:
        effects = self._let_go()
        self._go("fail", now)
        self._facts.reason = reason
        return effects

    def _let_go(self) -> list[Effect]:
        """What must be undone when the visit ends here."""
        effects: list[Effect] = [m.Deafen()] if self._step == Step.IDENTIFY else []
        if self._facts.document and not self._facts.confirmed:
            effects.append(m.Release(self._facts.document))
        return effects

    def _over(self, event: str, now: Instant) -> list[Effect]:
        effects = [] if self._step in _ENDS else self._let_go()
        self._go(event, now)
        self._facts = Facts()
        self._language = self._home_language
        return [*effects, m.Forget()]

    def _create(self) -> Effect:
        facts = self._facts
        assert facts.identification is not None
        facts.language = facts.language or self._language
        return m.Create(facts.document, facts.visit, facts.kind, facts.language, facts.identification)

    def _choose(self) -> Effect:
        return m.Choose(self._facts.document, self._facts.subject)


def code(document: str) -> str:
    """What a citizen can say at the counter: the end of the document's id, which is chance (RFC 9562)."""
    tail = document.replace("-", "")[-8:].upper()
    return f"{tail[:4]}-{tail[4:]}" if tail else ""
