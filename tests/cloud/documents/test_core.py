"""Every decision about a document request, as tables, and what no order of events may ever bring about."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.documents import core
from cloud.documents.core import (
    Attention,
    AwaitEvidence,
    Cancelled,
    Capture,
    Close,
    Closed,
    Created,
    Decided,
    Declined,
    Event,
    EvidenceCame,
    Facts,
    Hold,
    Identified,
    Ignored,
    JobEnded,
    Limits,
    LookForPayment,
    MakingFailed,
    NoPayment,
    Noted,
    Offer,
    Paid,
    PaymentCaptured,
    PaymentFound,
    PaymentMissed,
    PaymentReleased,
    Persist,
    Priced,
    PrintEnd,
    Reason,
    Refuse,
    ReleasePayment,
    ReleaseSurplus,
    Render,
    Rendered,
    Request,
    Seal,
    Sealed,
    Tick,
    Waived,
)
from contract.documents import DOCUMENT, PrintOutcome, Problem

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PRICE = 400
LIMITS = Limits()
PAID = Paid("auth-1", PRICE)
PRINTING, PRINTED = EvidenceCame(PrintOutcome.PRINTING), EvidenceCame(PrintOutcome.PRINTED)
NOT_PRINTED, DOUBT = EvidenceCame(PrintOutcome.NOT_PRINTED), EvidenceCame(PrintOutcome.IN_DOUBT)
TO_PRICED: tuple[Event, ...] = (Created(), Identified(), Priced(PRICE))
TO_OFFERED: tuple[Event, ...] = (*TO_PRICED, PAID, Rendered(), Sealed())
LATER = timedelta(days=1)


def after(*events: Event, price: int = PRICE) -> Request:
    request = Request(Facts(), LIMITS)
    for event in events:
        request.handle(event, NOW)
    return request


def test_the_whole_way_of_a_paid_paper() -> None:
    request = Request(Facts(), LIMITS)
    seen = []
    for event in (*TO_OFFERED, PRINTING, PRINTED, PaymentCaptured(), Closed()):
        first, *rest = request.handle(event, NOW)
        assert isinstance(first, Persist)
        seen.append((request.facts.state, rest))
    wait = NOW + timedelta(seconds=240)
    assert seen == [
        ("requested", []),
        ("identified", []),
        ("priced", []),
        ("authorised", [Render()]),
        ("rendered", [Seal()]),
        ("offered", [Offer(180), AwaitEvidence(wait)]),
        ("printing", [AwaitEvidence(wait)]),
        ("delivered", [Capture("auth-1")]),
        ("captured", [Close()]),
        ("closed", []),
    ]
    assert request.facts.payment is Hold.CAPTURED
    assert request.deadline() is None


def test_a_free_paper_is_captured_at_zero_without_asking_anybody() -> None:
    request = after(Created(), Identified(), Priced(0), Paid(None, 0), Rendered(), Sealed())
    persist, *rest = request.handle(PRINTED, NOW)
    assert isinstance(persist, Persist)
    assert persist.transitions == (("deliver", "delivered"), ("capture", "captured"))
    assert rest == [Close()]


@pytest.mark.parametrize(
    ("so_far", "evidence", "state", "then"),
    [
        ((), PRINTING, "printing", AwaitEvidence),
        ((), PRINTED, "delivered", Capture),
        ((), NOT_PRINTED, "failed", ReleasePayment),
        ((), DOUBT, "in_doubt", None),
        ((PRINTING,), PRINTING, "printing", AwaitEvidence),
        ((PRINTING,), PRINTED, "delivered", Capture),
        ((PRINTING,), NOT_PRINTED, "failed", ReleasePayment),
        ((PRINTING,), DOUBT, "in_doubt", None),
        ((PRINTING, DOUBT), PRINTING, "in_doubt", None),
        ((PRINTING, DOUBT), DOUBT, "in_doubt", None),
        ((PRINTING, DOUBT), PRINTED, "delivered", Capture),
        ((PRINTING, DOUBT), NOT_PRINTED, "voided", ReleasePayment),
        ((PRINTED,), PRINTED, "delivered", Capture),
        ((PRINTED,), PRINTING, "delivered", Capture),
        ((JobEnded(PrintEnd.STARTED),), PRINTED, "delivered", Capture),
        ((JobEnded(PrintEnd.NEVER_STARTED),), PRINTED, "delivered", Capture),
        ((JobEnded(PrintEnd.NEVER_STARTED),), NOT_PRINTED, "failed", ReleasePayment),
    ],
)
def test_evidence_decides_whenever_it_comes(
    so_far: tuple[Event, ...], evidence: EvidenceCame, state: str, then: type | None
) -> None:
    request = after(*TO_OFFERED, *so_far)
    effects = request.handle(evidence, NOW)
    assert request.facts.state == state
    assert [type(effect) for effect in effects if not isinstance(effect, Persist)] == ([then] if then else [])


@pytest.mark.parametrize("events", [(), TO_PRICED, (*TO_PRICED, PAID), (*TO_PRICED, PAID, Rendered())])
def test_evidence_of_a_paper_that_was_never_offered_is_ignored(events: tuple[Event, ...]) -> None:
    request = after(*events)
    before = request.facts
    assert request.handle(PRINTED, NOW) == [Ignored(before.state)]
    assert request.facts == before


def test_paper_after_the_end_and_no_paper_after_delivery_call_a_person() -> None:
    failed = after(*TO_OFFERED, JobEnded(PrintEnd.NEVER_STARTED))
    failed.handle(Tick(), NOW + LATER)
    failed.handle(PaymentReleased(), NOW + LATER)
    failed.handle(PRINTED, NOW + LATER)
    assert (failed.facts.state, failed.facts.attention) == ("failed", Attention.PAPER_AFTER_END)
    delivered = after(*TO_OFFERED, DOUBT, Decided(True), NOT_PRINTED)
    assert (delivered.facts.state, delivered.facts.attention) == (
        "delivered",
        Attention.NO_PAPER_AFTER_DELIVERY,
    )


@pytest.mark.parametrize(
    ("events", "state", "reason", "then"),
    [
        ((Created(),), "expired", None, []),
        ((Created(), Identified()), "expired", None, []),
        (TO_PRICED, "expired", None, [LookForPayment()]),
        ((*TO_PRICED, PAID), "failed", Reason.NOT_RENDERED, [ReleasePayment("auth-1")]),
        ((*TO_PRICED, PAID, Rendered()), "failed", Reason.NOT_SEALED, [ReleasePayment("auth-1")]),
        (TO_OFFERED, "in_doubt", None, []),
        ((*TO_OFFERED, JobEnded(PrintEnd.STARTED)), "in_doubt", None, []),
        (
            (*TO_OFFERED, JobEnded(PrintEnd.NEVER_STARTED)),
            "failed",
            Reason.NOT_STARTED,
            [ReleasePayment("auth-1")],
        ),
        ((*TO_OFFERED, PRINTING), "in_doubt", None, []),
        ((*TO_OFFERED, PRINTING, JobEnded(PrintEnd.STARTED)), "in_doubt", None, []),
        ((*TO_OFFERED, PRINTING, JobEnded(PrintEnd.NEVER_STARTED)), "in_doubt", None, []),
        ((*TO_OFFERED, PRINTED), "delivered", None, [Capture("auth-1")]),
        ((*TO_OFFERED, PRINTED, PaymentMissed(False)), "uncollected", None, [Capture("auth-1")]),
        ((*TO_OFFERED, PRINTED, PaymentCaptured()), "captured", None, [Close()]),
        ((*TO_OFFERED, NOT_PRINTED), "failed", Reason.NOT_PRINTED, [ReleasePayment("auth-1")]),
    ],
)
def test_what_time_does(
    events: tuple[Event, ...], state: str, reason: Reason | None, then: list[object]
) -> None:
    request = after(*events)
    deadline = request.deadline()
    assert deadline is not None
    early = request.facts
    request.handle(Tick(), deadline - timedelta(seconds=1))
    assert request.facts == early
    effects = request.handle(Tick(), deadline)
    assert [effect for effect in effects if not isinstance(effect, Persist)] == then
    assert (request.facts.state, request.facts.reason) == (state, reason)


def test_the_end_of_the_job_gives_evidence_a_last_time_to_come() -> None:
    request = after(*TO_OFFERED)
    request.handle(JobEnded(PrintEnd.STARTED), NOW)
    assert request.deadline() == NOW + timedelta(seconds=LIMITS.evidence_grace_s)
    request.handle(JobEnded(PrintEnd.NEVER_STARTED), NOW + timedelta(seconds=5))
    assert request.facts.print_ended is PrintEnd.STARTED, "what the jobs said first stays"


def test_only_a_person_or_evidence_leaves_doubt() -> None:
    request = after(*TO_OFFERED, DOUBT)
    assert request.deadline() is None
    for event in (
        Tick(),
        JobEnded(PrintEnd.STARTED),
        Cancelled(),
        MakingFailed(Reason.NOT_OFFERED),
        Closed(),
    ):
        request.handle(event, NOW + LATER)
        assert request.facts.state == "in_doubt"
    assert after(*TO_OFFERED, DOUBT, Decided(False)).pending() == [ReleasePayment("auth-1")]
    assert after(*TO_OFFERED, DOUBT, Decided(True)).pending() == [Capture("auth-1")]


@pytest.mark.parametrize("events", [(), TO_PRICED, TO_OFFERED, (*TO_OFFERED, PRINTED)])
def test_a_decision_is_refused_where_there_is_no_doubt(events: tuple[Event, ...]) -> None:
    request = after(*events)
    state = request.facts.state
    assert request.handle(Decided(True), NOW) == [Refuse(state)]


def test_a_missed_capture_is_tried_again_ever_later_and_never_at_once() -> None:
    request = after(*TO_OFFERED, PRINTED)
    waits = []
    now = NOW
    for _ in range(9):
        effects = request.handle(PaymentMissed(False), now)
        assert [type(effect) for effect in effects] == [Persist]
        deadline = request.deadline()
        assert deadline is not None
        waits.append((deadline - now).total_seconds())
        now = deadline
        assert request.handle(Tick(), now)[-1] == Capture("auth-1")
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert request.handle(PaymentCaptured(), now)[-1] == Close()


def test_a_capture_that_is_refused_for_good_waits_for_a_person_who_may_waive_it() -> None:
    request = after(*TO_OFFERED, PRINTED, PaymentMissed(True))
    assert request.facts.state == "uncollected"
    assert request.facts.attention is Attention.PAYMENT_NOT_CAPTURED
    assert request.deadline() is None
    assert request.pending() == []
    request.handle(Waived(), NOW)
    assert (request.facts.state, request.facts.attention) == ("closed", None)


def test_waiving_is_refused_while_capturing_may_still_succeed() -> None:
    request = after(*TO_OFFERED, PRINTED, PaymentMissed(False))
    assert request.handle(Waived(), NOW) == [Refuse("uncollected")]


def test_what_a_person_has_looked_at_calls_no_more() -> None:
    request = after(*TO_OFFERED, PRINTED, NOT_PRINTED)
    assert request.facts.attention is Attention.NO_PAPER_AFTER_DELIVERY
    request.handle(Noted(), NOW)
    assert request.facts.attention is None
    assert request.handle(Noted(), NOW) == [Refuse("delivered")]
    uncollected = after(*TO_OFFERED, PRINTED, PaymentMissed(True))
    assert uncollected.handle(Noted(), NOW) == [Refuse("uncollected")], "that is waived instead"


def test_a_release_that_is_refused_for_good_calls_a_person() -> None:
    request = after(*TO_OFFERED, NOT_PRINTED, PaymentMissed(True))
    assert request.facts.attention is Attention.PAYMENT_NOT_RELEASED
    assert request.deadline() is None


@pytest.mark.parametrize(
    ("events", "paid", "effects"),
    [
        (TO_PRICED, Paid(None, 0), [Refuse("priced", Problem.PAYMENT_NOT_CONFIRMED)]),
        (
            TO_PRICED,
            Paid("auth-1", 300),
            [ReleaseSurplus("auth-1"), Refuse("priced", Problem.PAYMENT_NOT_CONFIRMED)],
        ),
        ((Created(),), PAID, [ReleaseSurplus("auth-1"), Refuse("requested")]),
        ((*TO_PRICED, PAID), PAID, [Render()]),
        ((*TO_PRICED, PAID), Paid("auth-2", PRICE), [ReleaseSurplus("auth-2"), Refuse("authorised")]),
        ((*TO_OFFERED, PRINTED), Paid("auth-2", PRICE), [ReleaseSurplus("auth-2"), Refuse("delivered")]),
    ],
)
def test_money_that_pays_for_nothing_goes_back(
    events: tuple[Event, ...], paid: Paid, effects: list[object]
) -> None:
    request = after(*events)
    before = request.facts
    assert request.handle(paid, NOW) == effects
    assert request.facts == before


def test_money_that_comes_after_the_end_is_given_back_once() -> None:
    request = after(*TO_PRICED, Cancelled())
    effects = request.handle(PAID, NOW)
    assert isinstance(effects[0], Persist)
    assert effects[1:] == [ReleasePayment("auth-1"), Refuse("voided")]
    request.handle(PaymentReleased(), NOW)
    assert request.deadline() is None
    assert request.handle(PAID, NOW) == [Refuse("voided")]
    assert request.handle(Paid("auth-2", PRICE), NOW) == [ReleaseSurplus("auth-2"), Refuse("voided")]


@pytest.mark.parametrize("events", [(*TO_PRICED, PAID), TO_OFFERED, (*TO_OFFERED, PRINTED)])
def test_nobody_cancels_once_it_is_paid(events: tuple[Event, ...]) -> None:
    request = after(*events)
    assert request.handle(Cancelled(), NOW) == [Refuse(request.facts.state)]


def test_cancelling_twice_is_the_same_as_once() -> None:
    request = after(*TO_PRICED)
    request.handle(Cancelled(), NOW)
    before = request.facts
    assert request.handle(Cancelled(), NOW) == [LookForPayment()]
    assert request.facts == before


def test_who_ends_before_paying_is_asked_about_at_the_payment_service() -> None:
    request = after(*TO_PRICED, Cancelled())
    assert request.pending() == [LookForPayment()]
    deadline = request.deadline()
    assert deadline is not None
    assert [type(effect) for effect in request.handle(PaymentMissed(False), NOW)] == [Persist]
    assert request.handle(Tick(), deadline + LATER)[-1] == LookForPayment()
    assert request.handle(PaymentFound("auth-9"), NOW)[-1] == ReleasePayment("auth-9")
    request.handle(PaymentReleased(), NOW)
    assert (request.facts.payment, request.deadline()) == (Hold.RELEASED, None)
    nothing = after(*TO_PRICED, Cancelled(), NoPayment())
    assert (nothing.facts.payment, nothing.deadline()) == (Hold.NONE, None)
    free = after(Created(), Identified(), Priced(0), Cancelled())
    assert free.pending() == []


def test_what_is_declined_is_refused_with_its_problem() -> None:
    request = after(Created(), Declined(Problem.NOT_IDENTIFIED))
    assert (request.facts.state, request.facts.reason) == ("refused", "not-identified")


EVENTS = st.one_of(
    st.sampled_from(
        [
            Created(),
            Identified(),
            Declined(Problem.NOT_ALLOWED),
            Priced(PRICE),
            Priced(0),
            Cancelled(),
            PAID,
            Paid("auth-2", PRICE),
            Paid("auth-3", 1),
            Paid(None, 0),
            Rendered(),
            Sealed(),
            MakingFailed(Reason.NOT_RENDERED),
            PRINTING,
            PRINTED,
            NOT_PRINTED,
            DOUBT,
            JobEnded(PrintEnd.STARTED),
            JobEnded(PrintEnd.NEVER_STARTED),
            PaymentCaptured(),
            PaymentReleased(),
            PaymentFound("auth-1"),
            NoPayment(),
            PaymentMissed(False),
            PaymentMissed(True),
            Closed(),
            Decided(True),
            Decided(False),
            Waived(),
            Noted(),
            Tick(),
        ]
    ),
)


@dataclass
class World:
    """What the effects have done, as the payment service, the printer and the database see it."""

    money: dict[str, str] = field(default_factory=dict)
    offers: int = 0
    stored: Facts = field(default_factory=Facts)
    path: list[str] = field(default_factory=lambda: [DOCUMENT.initial])

    def carry_out(self, effect: core.Effect) -> None:
        match effect:
            case Persist(facts, transitions):
                for _event, state in transitions:
                    self.path.append(state)
                self.stored = facts
            case Capture(authorisation):
                assert self.stored.state in ("delivered", "uncollected"), "captured without paper"
                self._settle(authorisation, "captured")
            case ReleasePayment(authorisation) | ReleaseSurplus(authorisation):
                self._settle(authorisation, "released")
            case Offer():
                assert self.stored.state == "offered"
                self.offers += 1

    def _settle(self, authorisation: str, how: str) -> None:
        assert self.money.setdefault(authorisation, how) == how, "one payment is settled in two ways"


@settings(max_examples=400, deadline=None)
@given(
    events=st.lists(st.tuples(EVENTS, st.sampled_from([0, 1, 70, 300, 4000])), max_size=40),
    start=st.sampled_from([(), TO_PRICED, (*TO_PRICED, PAID), TO_OFFERED, (*TO_OFFERED, PRINTED)]),
)
def test_no_order_of_events_breaks_a_promise(
    events: list[tuple[Event, int]], start: tuple[Event, ...]
) -> None:
    world, now = World(), NOW
    facts = Facts()
    for event, seconds in [*((event, 0) for event in start), *events]:
        now += timedelta(seconds=seconds)
        request = Request(facts, LIMITS)
        before = facts
        effects = request.handle(event, now)
        facts = request.facts
        if facts != before:
            assert isinstance(effects[0], Persist), "something was done before it was written down"
            assert effects[0].facts == facts
        for effect in effects:
            world.carry_out(effect)
        assert world.stored == facts
        _holds(facts, request, world)
    pairs = list(zip(world.path, world.path[1:], strict=False))
    for earlier, later in pairs:
        assert later in DOCUMENT.edges[earlier].values()
    assert world.path.count("offered") <= 1


def _holds(facts: Facts, request: Request, world: World) -> None:
    if facts.state in core.PAPERLESS and facts.payment is Hold.HELD:
        assert request.pending() == [ReleasePayment(str(facts.authorisation))]
        assert facts.deadline is not None
    if facts.payment is Hold.CAPTURED:
        assert facts.state in ("captured", "closed")
    if facts.state in core.DELIVERED:
        assert facts.payment is not Hold.RELEASED
    waits_for_a_person = facts.state == "in_doubt" or facts.payment is Hold.REFUSED
    over = facts.state in DOCUMENT.ends and facts.payment not in (Hold.HELD, Hold.UNKNOWN)
    never_begun = replace(facts, state="requested") == Facts()
    assert waits_for_a_person or over or never_begun or facts.deadline is not None, "stuck for ever"
