"""The core of a visit: its table, the calm story, every way out, money, time, and any order of events."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.documents import Identification, PreviewRow, PrintOutcome, Problem, Subject, View
from contract.errors import IllegalTransitionError
from edge_agent.documents import visit as v
from edge_agent.documents import visit_messages as m
from edge_agent.documents.screen import VISIT, Notice, Reason, ReceiptState, Step, Whom
from edge_agent.documents.terminal import CardState
from edge_agent.documents.visit import Visit

DOC, DOC2, AUTH, KIND = "0190a0a0-0000-7000-8000-00000abc1234", "doc-2", "auth-1", "possession-sheet"
WHO = Identification(personal_number="1001234567", document_number="K1234567", date_of_birth="1990-03-14")
TWO = [Subject(subject="s1", label="00123"), Subject(subject="s2", label="00987")]
ROWS = [PreviewRow(label="Pronari", value="Arta Krasniqi")]
IDLE_S = 90.0
READY = m.Readiness(printer=None, connected=True)


def view(state: str, **more: Any) -> m.Viewed:
    return m.Viewed(DOC, View(document=DOC, kind=KIND, state=state, **more))


IDENTIFIED = view("identified", subjects=TWO)
PRICED = view("priced", subjects=TWO, preview=ROWS, price_cents=400)
APPROVED = m.CardAnswered(DOC, CardState.AUTHORISED, AUTH)
STORY: list[tuple[m.Event, Step]] = [
    (m.LanguagePressed("sr-Cyrl", "visit-1"), Step.KINDS),
    (m.KindPressed(KIND), Step.WHOM),
    (m.WhomPressed(Whom.MYSELF), Step.IDENTIFY),
    (m.DocumentRead(WHO, DOC), Step.CHECKING),
    (IDENTIFIED, Step.SUBJECTS),
    (m.SubjectPressed("s1"), Step.PRICING),
    (PRICED, Step.PREVIEW),
    (m.PayPressed(), Step.PAYING),
    (APPROVED, Step.CONFIRMING),
    (view("authorised"), Step.PRINTING),
    (m.PaperMoved(DOC, PrintOutcome.PRINTING), Step.PRINTING),
    (m.PaperMoved(DOC, PrintOutcome.PRINTED), Step.DONE),
    (view("captured", serial="PR-1"), Step.DONE),
    (m.ReceiptEnded("visit-1", True), Step.DONE),
]
EFFECTS = [
    [],
    [],
    [m.Listen()],
    [m.Deafen(), m.Create(DOC, "visit-1", KIND, "sr-Cyrl", WHO, Whom.MYSELF)],
    [],
    [m.Choose(DOC, "s1")],
    [],
    [m.Claim(DOC), m.Authorise(DOC, 400)],
    [m.Claim(DOC, AUTH), m.Confirm(DOC, AUTH)],
    [m.Settled(DOC)],
    [],
    [],
    [m.PrintReceipt("visit-1", KIND, "sr-Cyrl", "PR-1", 400)],
    [],
]


def fresh(ready: m.Readiness = READY) -> Visit:
    visit = Visit(kinds=(KIND,), language="sq", idle_s=IDLE_S, print_s=120.0)
    visit.handle(ready, 0.0)
    return visit


def at(step: Step, now: float = 0.0) -> Visit:
    """A visit that has just come to `step` of the calm story."""
    visit = fresh()
    for event, after in STORY:
        visit.handle(event, now)
        if after == step:
            return visit
    raise AssertionError(step)


def show(visit: Visit) -> tuple[Step, Reason | None]:
    return visit.screen.step, visit.screen.reason


# The table and the calm story.


def test_every_pair_that_is_not_in_the_table_is_refused() -> None:
    for state in VISIT.states:
        for event in VISIT.events:
            if not VISIT.allows(state, event):
                with pytest.raises(IllegalTransitionError):
                    VISIT.apply(state, event)
    assert {step.value for step in Step} == set(VISIT.states)
    assert not VISIT.ends, "every screen is left"


def test_the_calm_story() -> None:
    visit = fresh()
    for (event, step), effects in zip(STORY, EFFECTS, strict=True):
        assert visit.handle(event, 1.0) == effects, event
        assert visit.screen.step == step
    assert visit.screen.receipt == ReceiptState.PRINTED
    assert visit.screen.serial == "PR-1"
    assert visit.handle(m.FinishPressed(), 2.0) == [m.Forget()]
    assert visit.screen == fresh().screen, "nothing of the visit is left"
    assert visit.visit == visit.document == ""


def test_the_payment_is_written_down_before_the_terminal_and_before_the_cloud() -> None:
    claimed, told = EFFECTS[7], EFFECTS[8]
    assert [type(effect) for effect in (*claimed, *told)] == [m.Claim, m.Authorise, m.Claim, m.Confirm]


def test_one_subject_needs_no_choice_and_a_free_paper_no_card() -> None:
    visit = at(Step.CHECKING)
    assert visit.handle(view("identified", subjects=TWO[:1]), 0.0) == [m.Choose(DOC, "s1")]
    visit.handle(view("priced", preview=ROWS, price_cents=0), 0.0)
    assert not visit.screen.choice
    assert visit.handle(m.PayPressed(), 0.0) == [m.Confirm(DOC, "")]
    visit.handle(view("authorised"), 0.0)
    visit.handle(view("closed"), 0.0)
    assert (visit.screen.step, visit.screen.receipt) == (Step.DONE, ReceiptState.NONE)


# For whom.


def test_with_a_power_of_attorney_there_is_a_slip_for_the_counter() -> None:
    visit = at(Step.WHOM)
    assert visit.handle(m.WhomPressed(Whom.PROXY), 0.0) == []
    assert visit.screen.step == Step.COUNTER
    assert visit.handle(m.SlipPressed(), 0.0) == [m.PrintSlip("visit-1", KIND, "sr-Cyrl", Whom.PROXY)]
    visit.handle(m.ReceiptEnded("visit-1", False), 0.0)
    assert visit.screen.slip_printed is False


@pytest.mark.parametrize("whom", [Whom.CHILD, Whom.SPOUSE])
def test_for_the_family_the_registry_is_asked(whom: Whom) -> None:
    visit = at(Step.WHOM)
    assert visit.handle(m.WhomPressed(whom), 0.0) == [m.Listen()]
    created = m.Create(DOC, "visit-1", KIND, "sr-Cyrl", WHO, whom)
    assert visit.handle(m.DocumentRead(WHO, DOC), 0.0) == [m.Deafen(), created]
    visit.handle(m.Refused(DOC, Problem.NOTHING_TO_ISSUE), 0.0)
    assert show(visit) == (Step.FAILED, Reason.NOTHING_TO_ISSUE)
    assert visit.screen.whom == whom, "the screen says what to bring to the counter"


# Back, and another language.


def test_back_goes_one_step_back() -> None:
    visit = at(Step.IDENTIFY)
    assert visit.handle(m.BackPressed(DOC2), 0.0) == [m.Deafen()]
    assert visit.handle(m.BackPressed(DOC2), 0.0) == []
    assert visit.screen.step == Step.KINDS


def test_back_from_the_price_is_another_request() -> None:
    visit = at(Step.PREVIEW)
    assert visit.handle(m.BackPressed(DOC2), 0.0) == [
        m.Release(DOC),
        m.Create(DOC2, "visit-1", KIND, "sr-Cyrl", WHO, Whom.MYSELF),
    ]
    visit.handle(PRICED, 0.0)
    assert (visit.screen.step, visit.document) == (Step.CHECKING, DOC2), "the old answer means nothing"
    assert visit.screen.preview == ()


@pytest.mark.parametrize("step", [step for _, step in STORY])
def test_the_language_can_be_changed_everywhere_and_changes_nothing_else(step: Step) -> None:
    visit = at(step)
    assert visit.handle(m.LanguagePressed("en", "another"), 0.0) == []
    assert (visit.screen.language, visit.screen.step, visit.visit) == ("en", step, "visit-1")


# Identification.


def test_five_failures_lock_the_visit() -> None:
    visit = at(Step.IDENTIFY)
    for left in (4, 3, 2, 1):
        visit.handle(m.DocumentRead(WHO, DOC), 0.0)
        assert visit.handle(m.Refused(DOC, Problem.NOT_IDENTIFIED), 0.0) == [m.Listen()]
        assert (visit.screen.step, visit.screen.tries_left) == (Step.IDENTIFY, left)
        assert visit.screen.notice == Notice.UNKNOWN
    visit.handle(m.DocumentRead(WHO, DOC), 0.0)
    assert visit.handle(m.Refused(DOC, Problem.NOT_IDENTIFIED), 0.0) == []
    assert visit.screen.step == Step.LOCKED
    assert visit.handle(m.FinishPressed(), 0.0) == [m.Forget()]
    assert visit.screen.tries_left == 5, "the visit was locked, not the person"


def test_the_cloud_may_lock_the_visit_too() -> None:
    visit = at(Step.CHECKING)
    assert visit.handle(m.Refused(DOC, Problem.VISIT_LOCKED), 0.0) == []
    assert visit.screen.step == Step.LOCKED


@pytest.mark.parametrize("notice", [Notice.MISREAD, Notice.EXPIRED])
def test_a_misread_is_no_failed_identification(notice: Notice) -> None:
    visit = at(Step.IDENTIFY)
    assert visit.handle(m.DocumentMisread(notice), 0.0) == []
    assert (visit.screen.notice, visit.screen.tries_left) == (notice, 5)


@pytest.mark.parametrize(
    ("step", "event", "reason"),
    [
        (Step.IDENTIFY, m.ReaderLost(), Reason.READER),
        (Step.CHECKING, m.Refused(DOC, Problem.NOTHING_TO_ISSUE), Reason.NOTHING_TO_ISSUE),
        (Step.CHECKING, view("identified"), Reason.NOTHING_TO_ISSUE),
        (Step.CHECKING, m.Refused(DOC, Problem.NOT_ALLOWED), Reason.NOT_ALLOWED),
        (Step.CHECKING, m.Refused(DOC, Problem.UNKNOWN_KIND), Reason.INTERNAL),
        (Step.PRICING, m.Refused(DOC, Problem.NOT_ALLOWED), Reason.NOT_ALLOWED),
        (Step.PRICING, m.Refused(DOC, "http-418"), Reason.INTERNAL),
        (Step.PRICING, view("priced"), Reason.INTERNAL),
        (Step.PAYING, m.TerminalLost(DOC), Reason.TERMINAL),
        (Step.PAYING, m.NotKept(DOC), Reason.INTERNAL),
        (Step.PAYING, m.CardAnswered(DOC, CardState.VOIDED, AUTH), Reason.TERMINAL),
        (Step.CONFIRMING, m.Refused(DOC, Problem.PAYMENT_NOT_CONFIRMED), Reason.NOT_PAID),
        (Step.CONFIRMING, m.Refused(DOC, Problem.WRONG_STATE), Reason.INTERNAL),
        (Step.CONFIRMING, view("expired"), Reason.NOT_PAID),
    ],
)
def test_failures_say_why_and_let_go(step: Step, event: m.Event, reason: Reason) -> None:
    visit = at(step)
    effects = visit.handle(event, 0.0)
    assert show(visit) == (Step.FAILED, reason)
    assert effects == ([m.Deafen()] if step == Step.IDENTIFY else [m.Release(DOC)])


@pytest.mark.parametrize(("step", "again"), [(Step.CHECKING, m.Create), (Step.PRICING, m.Choose)])
def test_a_silent_cloud_can_be_asked_again_with_the_same_id(step: Step, again: type[m.Effect]) -> None:
    for ask in (lambda visit: visit.handle(m.Unanswered(DOC), 0.0), lambda visit: None):
        visit = at(step)
        ask(visit)
        visit.handle(m.TimePassed(), v.WORK_S)
        assert visit.screen.step == Step.TROUBLE
        (effect,) = visit.handle(m.AgainPressed(), v.WORK_S)
        assert isinstance(effect, again)
        assert effect.document == DOC  # type: ignore[union-attr] # both have it
        assert visit.screen.step == step


# Money.


@pytest.mark.parametrize(
    ("state", "notice"),
    [
        (CardState.DECLINED, Notice.DECLINED),
        (CardState.TIMEOUT, Notice.CARD_TIMEOUT),
        (CardState.CANCELLED, Notice.DECLINED),
    ],
)
def test_another_card_may_be_tried(state: CardState, notice: Notice) -> None:
    visit = at(Step.PAYING)
    assert visit.handle(m.CardAnswered(DOC, state, AUTH), 0.0) == [m.Settled(DOC)]
    assert (visit.screen.step, visit.screen.notice) == (Step.PREVIEW, notice)
    assert visit.handle(m.PayPressed(), 0.0) == [m.Claim(DOC), m.Authorise(DOC, 400)]


@pytest.mark.parametrize(
    ("ready", "reason"),
    [
        (m.Readiness(Reason.PAPER, connected=True), Reason.PAPER),
        (m.Readiness(None, connected=False), Reason.LINK),
    ],
)
def test_no_money_is_taken_by_a_kiosk_that_could_not_deliver(ready: m.Readiness, reason: Reason) -> None:
    visit = at(Step.PREVIEW)
    effects = visit.handle(ready, 0.0) + visit.handle(m.PayPressed(), 0.0)
    assert effects == [m.Release(DOC)]
    assert show(visit) == (Step.FAILED, reason)


@pytest.mark.parametrize("step", [Step.KINDS, Step.IDENTIFY, Step.SUBJECTS, Step.PREVIEW, Step.PAYING])
def test_a_printer_that_fails_before_payment_ends_the_visit_and_a_link_does_not(step: Step) -> None:
    visit = at(step)
    visit.handle(m.Readiness(None, connected=False), 0.0)
    assert visit.screen.step == step
    visit.handle(m.Readiness(Reason.PRINTER, connected=True), 0.0)
    assert show(visit) == (Step.FAILED, Reason.PRINTER)


@pytest.mark.parametrize("step", [Step.CONFIRMING, Step.PRINTING, Step.DONE])
def test_after_payment_the_printers_state_is_no_longer_asked(step: Step) -> None:
    visit = at(step)
    assert visit.handle(m.Readiness(Reason.PRINTER, connected=False), 0.0) == []
    assert visit.screen.step == step


@pytest.mark.parametrize(
    "step",
    [
        Step.KINDS,
        Step.WHOM,
        Step.IDENTIFY,
        Step.CHECKING,
        Step.SUBJECTS,
        Step.PRICING,
        Step.PREVIEW,
        Step.PAYING,
    ],
)
def test_cancel_is_possible_until_the_payment_and_lets_go(step: Step) -> None:
    visit = at(step)
    effects = visit.handle(m.CancelPressed(), 0.0)
    assert visit.screen.step == Step.CANCELLED
    has_document = step not in (Step.KINDS, Step.WHOM, Step.IDENTIFY)
    assert (m.Release(DOC) in effects) == has_document
    assert (m.Deafen() in effects) == (step == Step.IDENTIFY)
    assert visit.handle(APPROVED, 1.0) == [], "the card was too late; releasing it finds it"


@pytest.mark.parametrize("step", [Step.CONFIRMING, Step.PRINTING, Step.DONE])
def test_nothing_is_cancelled_once_the_card_has_paid(step: Step) -> None:
    visit = at(step)
    assert visit.handle(m.CancelPressed(), 0.0) == []
    assert visit.screen.step == step


def test_an_unanswered_payment_is_said_again_until_it_is_in_doubt() -> None:
    visit, now, asked = at(Step.CONFIRMING), 0.0, 0
    while visit.screen.step == Step.CONFIRMING:
        assert not visit.handle(m.Unanswered(DOC), now)
        assert visit.screen.cut_off
        deadline = visit.deadline()
        assert deadline is not None
        now = deadline
        effects = visit.handle(m.TimePassed(), now)
        asked += m.Confirm(DOC, AUTH) in effects
    assert visit.screen.step == Step.DOUBT
    assert effects == [m.Release(DOC)], "what the cloud does not have is let go"
    assert asked >= v.CONFIRM_S / v.CONFIRM_AGAIN_S - 2
    assert visit.screen.code == "0ABC-1234"


def test_a_ledger_that_fails_after_the_card_does_not_stop_the_document() -> None:
    visit = at(Step.CONFIRMING)
    assert visit.handle(m.NotKept(DOC), 0.0) == [m.Confirm(DOC, AUTH)]


def test_a_print_job_is_an_answer_to_the_payment() -> None:
    visit = at(Step.CONFIRMING)
    visit.handle(m.Unanswered(DOC), 0.0)
    assert visit.handle(m.PaperMoved(DOC, PrintOutcome.PRINTING), 0.0) == [m.Settled(DOC)]
    assert (visit.screen.step, visit.screen.at_printer) == (Step.PRINTING, True)


# Printing.


@pytest.mark.parametrize(
    ("event", "step", "reason"),
    [
        (m.PaperMoved(DOC, PrintOutcome.PRINTED), Step.DONE, None),
        (m.PaperMoved(DOC, PrintOutcome.NOT_PRINTED), Step.FAILED, Reason.NOT_PRINTED),
        (m.PaperMoved(DOC, PrintOutcome.IN_DOUBT), Step.DOUBT, None),
        (view("delivered"), Step.DONE, None),
        (view("closed"), Step.DONE, None),
        (view("failed"), Step.FAILED, Reason.NOT_PRINTED),
        (view("voided"), Step.FAILED, Reason.NOT_PRINTED),
        (view("in_doubt"), Step.DOUBT, None),
        (view("sealed"), Step.PRINTING, None),
        (m.PaperMoved("another", PrintOutcome.PRINTED), Step.PRINTING, None),
    ],
)
def test_the_paper_and_the_cloud_both_tell(event: m.Event, step: Step, reason: Reason | None) -> None:
    visit = at(Step.PRINTING)
    assert m.Release(DOC) not in visit.handle(event, 0.0), "the cloud releases what it has"
    assert show(visit) == (step, reason)


def test_a_cloud_that_dies_while_printing_is_told_and_asked_until_it_is_back() -> None:
    visit = at(Step.PRINTING)
    assert visit.deadline() == v.LOOK_S
    for now in (1.0, 2.0, 3.0):
        assert visit.handle(m.TimePassed(), now) == [m.Look(DOC)]
        visit.handle(m.Unanswered(DOC), now)
        assert (visit.screen.step, visit.screen.cut_off) == (Step.PRINTING, True)
    assert visit.handle(m.TimePassed(), 4.0) == [m.Look(DOC)]
    visit.handle(view("printing", serial="PR-1"), 4.0)
    assert not visit.screen.cut_off
    assert visit.screen.at_printer


def test_no_word_of_the_paper_is_doubt_and_a_late_word_ends_it() -> None:
    visit = at(Step.PRINTING)
    visit.handle(m.TimePassed(), 120.0 + v.PRINT_MARGIN_S)
    assert visit.screen.step == Step.DOUBT
    visit.handle(m.PaperMoved(DOC, PrintOutcome.PRINTED), 151.0)
    assert visit.screen.step == Step.DONE


def test_the_receipt_waits_for_the_capture_and_not_for_ever() -> None:
    visit = at(Step.DONE)
    assert visit.screen.receipt == ReceiptState.WAITING
    assert visit.screen.ends_at is None, "the last screen stays while something is coming"
    visit.handle(view("delivered"), 1.0)
    assert visit.screen.receipt == ReceiptState.WAITING
    visit.handle(m.TimePassed(), v.RECEIPT_S)
    assert visit.screen.receipt == ReceiptState.MISSING
    assert visit.screen.ends_at == v.RECEIPT_S + v.END_S
    assert visit.handle(m.Unanswered(DOC), 21.0) == []
    assert visit.handle(view("captured"), 22.0) == [], "the citizen was told that there is none"


@pytest.mark.parametrize(
    ("event", "receipt"),
    [
        (view("uncollected"), ReceiptState.MISSING),
        (m.ReceiptEnded("visit-1", False), ReceiptState.MISSING),
        (m.ReceiptEnded("another", True), ReceiptState.WAITING),
    ],
)
def test_what_becomes_of_the_receipt(event: m.Event, receipt: ReceiptState) -> None:
    visit = at(Step.DONE)
    visit.handle(event, 0.0)
    assert visit.screen.receipt == receipt


# Time.


@pytest.mark.parametrize("step", [Step.KINDS, Step.WHOM, Step.IDENTIFY, Step.SUBJECTS, Step.PREVIEW])
def test_an_untouched_visit_warns_then_ends_and_leaves_nothing(step: Step) -> None:
    visit = at(step)
    assert visit.deadline() == IDLE_S - v.WARN_S
    visit.handle(m.TimePassed(), IDLE_S - v.WARN_S)
    assert visit.screen.warning
    assert visit.screen.ends_at == IDLE_S
    visit.handle(m.MoreTimePressed(), 80.0)
    assert not visit.screen.warning
    assert visit.screen.ends_at == 80.0 + IDLE_S
    visit.handle(m.TimePassed(), 80.0 + IDLE_S - v.WARN_S)
    effects = visit.handle(m.TimePassed(), 80.0 + IDLE_S)
    assert effects[-1] == m.Forget()
    assert (m.Release(DOC) in effects) == (step in (Step.SUBJECTS, Step.PREVIEW))
    assert visit.screen == fresh().screen


@pytest.mark.parametrize("step", [Step.PAYING, Step.CONFIRMING, Step.PRINTING])
def test_a_visit_does_not_end_while_money_or_paper_is_on_its_way(step: Step) -> None:
    visit = at(step)
    assert visit.screen.ends_at is None
    visit.handle(m.TimePassed(), IDLE_S - 40)
    assert visit.screen.step == step


def test_a_terminal_that_hangs_ends_the_visit() -> None:
    visit = at(Step.PAYING)
    assert visit.handle(m.TimePassed(), v.PAY_S) == [m.Release(DOC)]
    assert show(visit) == (Step.FAILED, Reason.TERMINAL)


def test_the_last_screen_goes_away_by_itself() -> None:
    visit = at(Step.CHECKING)
    visit.handle(m.Refused(DOC, Problem.NOTHING_TO_ISSUE), 0.0)
    assert visit.handle(m.TimePassed(), v.END_S) == [m.Forget()]
    assert visit.screen.step == Step.WELCOME


# Out of service.


@pytest.mark.parametrize(
    ("ready", "reason"),
    [
        (m.Readiness(Reason.PAPER, connected=False), Reason.PAPER),
        (m.Readiness(None, connected=False), Reason.LINK),
        (m.Readiness(None, connected=True, busy=True), Reason.BUSY),
    ],
)
def test_a_kiosk_out_of_service_begins_no_visit(ready: m.Readiness, reason: Reason) -> None:
    visit = fresh(ready)
    visit.handle(m.LanguagePressed("en", "visit-1"), 0.0)
    assert (visit.screen.step, visit.screen.blocked, visit.screen.language) == (Step.WELCOME, reason, "en")
    visit.handle(READY, 1.0)
    assert visit.screen.blocked is None


def test_before_the_printer_was_asked_the_kiosk_is_out_of_service() -> None:
    visit = Visit(kinds=(KIND,), language="sq", idle_s=IDLE_S, print_s=120.0)
    assert visit.screen.blocked == Reason.PRINTER


# Any order.

EVENTS: list[Callable[[], m.Event]] = [
    *(lambda event=event: event for event, _ in STORY),
    lambda: m.WhomPressed(Whom.CHILD),
    lambda: m.SubjectPressed("forged"),
    lambda: m.KindPressed("forged"),
    lambda: m.BackPressed(DOC),
    m.AgainPressed,
    m.CancelPressed,
    m.MoreTimePressed,
    m.FinishPressed,
    m.SlipPressed,
    lambda: m.DocumentMisread(Notice.MISREAD),
    m.ReaderLost,
    lambda: m.Refused(DOC, Problem.NOT_IDENTIFIED),
    lambda: m.Refused(DOC, Problem.WRONG_STATE),
    lambda: m.Unanswered(DOC),
    lambda: m.CardAnswered(DOC, CardState.DECLINED, AUTH),
    lambda: m.TerminalLost(DOC),
    lambda: m.NotKept(DOC),
    lambda: m.PaperMoved(DOC, PrintOutcome.NOT_PRINTED),
    lambda: m.PaperMoved(DOC, PrintOutcome.IN_DOUBT),
    lambda: view("closed"),
    lambda: view("failed"),
    lambda: m.Readiness(Reason.PAPER, connected=True),
    lambda: m.Readiness(None, connected=False),
    m.TimePassed,
]


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, len(STORY)),
    st.lists(st.tuples(st.sampled_from(range(len(EVENTS))), st.floats(0, 40)), max_size=40),
)
def test_any_order_of_events_keeps_the_promises(begin: int, play: list[tuple[int, float]]) -> None:
    """A piece of the calm story, then anything."""
    visit, now = fresh(), 0.0
    claimed: set[str] = set()
    listening = False
    for which, pause in [*((i, 0.0) for i in range(begin)), *play]:
        now += pause
        deadline = visit.deadline()
        events: list[m.Event] = [m.TimePassed()] if deadline is not None and deadline <= now else []
        for event in [*events, EVENTS[which]()]:
            for effect in visit.handle(event, now):
                match effect:
                    case m.Claim(document):
                        claimed.add(document)
                    case m.Authorise(document, cents):
                        assert document in claimed, "written down before the terminal is asked"
                        assert cents > 0
                    case m.Settled(document) | m.Release(document):
                        claimed.discard(document)
                    case m.Listen():
                        listening = True
                    case m.Deafen():
                        listening = False
                    case m.PrintReceipt():
                        assert visit.screen.step == Step.DONE
                    case m.Forget():
                        assert visit.screen.step == Step.WELCOME
            screen = visit.screen
            assert listening == (screen.step == Step.IDENTIFY), (
                "the reader is open exactly while it is asked for"
            )
            if screen.step in (Step.WELCOME, Step.CANCELLED, Step.FAILED, Step.DONE):
                assert not claimed, "no payment is left to nobody"
            if screen.step == Step.WELCOME:
                assert (screen.preview, screen.subjects, visit.document, visit.visit) == ((), (), "", "")
            else:
                assert visit.visit
            assert screen.step == Step.WELCOME or visit.deadline() is not None, "no screen stands for ever"
