"""The outbox: written before sent, forgotten only when stored, bounded always."""

import dataclasses

import pytest
from msgspec.structs import replace

from contract.link import RANGES_MAX, Dropped, DroppedRange, Why
from contract.messages import Lane, read
from edge_agent.link.outbox import (
    DECLARE_EVERY_S,
    HISTORICAL_AFTER_S,
    RESEND_WAIT_MAX_S,
    RESERVE_EVERY_S,
    ROW_OVERHEAD_BYTES,
    SILENT_TIMEOUTS,
    UNHEARD_WAIT_MAX_S,
    UNHEARD_WAIT_MIN_S,
    Acked,
    Append,
    Bounds,
    ClockTrusted,
    Connected,
    Declare,
    Disconnected,
    DiskFull,
    Drop,
    Effect,
    Forget,
    HangUp,
    LeftOut,
    MakeReserve,
    Outbox,
    Publish,
    Recorded,
    Refuse,
    ReserveMade,
    Skip,
    Stored,
    TimePassed,
    Undatable,
    Undeclared,
    Unheard,
    Unwritten,
)

BOUNDS = Bounds(rows_max=10, bytes_max=100_000, window=3, ack_timeout_s=20.0)
SAMPLE = Recorded(Lane.TELEMETRY, False, 100)
EVENT = Recorded(Lane.EVENTS, True, 100)


def dropped(
    first: int, last: int, why: Why = Why.ROWS, *, boot: str = "b2", lane: Lane = Lane.TELEMETRY
) -> DroppedRange:
    return DroppedRange(boot=boot, lane=lane, from_seq=first, to_seq=last, count=last - first + 1, why=why)


def unnumbered(count: int, why: Why, lane: Lane = Lane.TELEMETRY) -> DroppedRange:
    return DroppedRange(boot="b2", lane=lane, from_seq=0, to_seq=0, count=count, why=why)


def publishes(effects: list[Effect]) -> list[tuple[str, str, int]]:
    return [(e.boot, str(e.lane), e.seq) for e in effects if isinstance(e, Publish)]


def outbox(*stored: Stored, bounds: Bounds = BOUNDS) -> Outbox:
    return Outbox("b2", stored, bounds)


def connected(*stored: Stored, bounds: Bounds = BOUNDS) -> Outbox:
    box = outbox(*stored, bounds=bounds)
    box.handle(Connected(), 0.0)
    return box


def test_a_message_is_appended_before_it_is_published() -> None:
    assert connected().handle(EVENT, 1.0) == [
        Append(Lane.EVENTS, 1, True),
        Publish("b2", Lane.EVENTS, 1, False, 1),
    ]


def test_while_the_link_is_down_messages_are_only_kept() -> None:
    box = outbox()
    assert box.handle(SAMPLE, 1.0) == [Append(Lane.TELEMETRY, 1, False)]
    assert box.handle(SAMPLE, 2.0) == [Append(Lane.TELEMETRY, 2, False)]
    assert box.deadline() is None
    assert publishes(box.handle(Connected(), 3.0)) == [("b2", "telemetry", 1), ("b2", "telemetry", 2)]


def test_each_lane_counts_for_itself() -> None:
    box = outbox()
    assert box.handle(SAMPLE, 1.0) == [Append(Lane.TELEMETRY, 1, False)]
    assert box.handle(EVENT, 1.0) == [Append(Lane.EVENTS, 1, True)]


def test_events_go_first() -> None:
    box = outbox()
    box.handle(SAMPLE, 1.0)
    box.handle(EVENT, 2.0)
    assert publishes(box.handle(Connected(), 3.0)) == [("b2", "events", 1), ("b2", "telemetry", 1)]


def test_a_silent_lane_does_not_hold_the_other_up() -> None:
    box = connected()
    for _ in range(5):
        box.handle(SAMPLE, 1.0)
    assert publishes(box.handle(EVENT, 2.0)) == [("b2", "events", 1)]


def test_an_acknowledgement_forgets_and_opens_the_window() -> None:
    box = connected()
    for _ in range(5):
        box.handle(EVENT, 1.0)
    effects = box.handle(Acked("b2", Lane.EVENTS, 2), 2.0)
    assert effects[0] == Forget("b2", Lane.EVENTS, 2)
    assert publishes(effects) == [("b2", "events", 4), ("b2", "events", 5)]
    assert box.rows == 3


def test_an_old_acknowledgement_changes_nothing() -> None:
    box = connected()
    box.handle(EVENT, 1.0)
    box.handle(Acked("b2", Lane.EVENTS, 1), 2.0)
    assert box.handle(Acked("b2", Lane.EVENTS, 1), 3.0) == []


@pytest.mark.parametrize(
    "ack",
    [
        Acked("b2", Lane.EVENTS, 7),
        Acked("b1", Lane.EVENTS, 1),
        Acked("b2", Lane.TELEMETRY, 1),
        Acked("b2", Lane.LIVE, 1),
    ],
)
def test_an_acknowledgement_of_what_was_never_sent_is_ignored(ack: Acked) -> None:
    box = connected()
    box.handle(EVENT, 1.0)
    assert box.handle(ack, 2.0) == []
    assert box.rows == 1


def test_an_acknowledgement_cannot_run_ahead_of_the_window() -> None:
    box = connected()
    for _ in range(5):
        box.handle(EVENT, 1.0)
    assert box.handle(Acked("b2", Lane.EVENTS, 4), 2.0) == []
    assert box.rows == 5


def test_what_is_not_acknowledged_is_sent_again_with_growing_patience() -> None:
    box = connected()
    box.handle(EVENT, 0.0)
    moments = []
    for _ in range(6):
        box.handle(Acked("b0", Lane.TELEMETRY, 1), moments[-1] if moments else 0.0)  # the link is well
        deadline = box.deadline()
        assert deadline is not None
        assert box.handle(TimePassed(), deadline - 0.001) == []
        assert publishes(box.handle(TimePassed(), deadline)) == [("b2", "events", 1)]
        moments.append(deadline)
    waits = [b - a for a, b in zip([0.0, *moments], moments, strict=False)]
    assert waits == [20.0, 40.0, RESEND_WAIT_MAX_S, RESEND_WAIT_MAX_S, RESEND_WAIT_MAX_S, RESEND_WAIT_MAX_S]


def test_progress_makes_impatient_again() -> None:
    box = connected()
    box.handle(EVENT, 0.0)
    box.handle(TimePassed(), 20.0)
    box.handle(Acked("b2", Lane.EVENTS, 1), 21.0)
    box.handle(EVENT, 22.0)
    assert box.deadline() == 42.0


def test_after_a_new_connection_everything_unacknowledged_goes_again() -> None:
    box = connected()
    box.handle(EVENT, 0.0)
    box.handle(Disconnected(), 1.0)
    assert box.deadline() is None
    assert publishes(box.handle(Connected(), 2.0)) == [("b2", "events", 1)]


def test_messages_of_earlier_boots_keep_their_boot_and_go_first() -> None:
    box = outbox(
        Stored("b0", Lane.EVENTS, 7, 10, True, -50.0),
        Stored("b1", Lane.EVENTS, 1, 10, True, -40.0),
    )
    box.handle(EVENT, 0.0)
    effects = box.handle(Connected(), 1.0)
    assert publishes(effects) == [("b0", "events", 7), ("b1", "events", 1), ("b2", "events", 1)]
    assert box.handle(Acked("b0", Lane.EVENTS, 9), 2.0) == [Forget("b0", Lane.EVENTS, 9)]
    assert box.rows == 2


def test_telemetry_that_is_old_at_its_first_sending_is_historical_for_good() -> None:
    box = outbox()
    box.handle(SAMPLE, 0.0)
    box.handle(SAMPLE, HISTORICAL_AFTER_S)
    first = box.handle(Connected(), HISTORICAL_AFTER_S + 1)
    assert [e.historical for e in first if isinstance(e, Publish)] == [True, False]
    box.handle(Disconnected(), HISTORICAL_AFTER_S + 2)
    again = box.handle(Connected(), 3 * HISTORICAL_AFTER_S)
    assert [e.historical for e in again if isinstance(e, Publish)] == [True, False]


def test_events_are_never_historical() -> None:
    box = outbox()
    box.handle(EVENT, 0.0)
    effects = box.handle(Connected(), 10 * HISTORICAL_AFTER_S)
    assert [e.historical for e in effects if isinstance(e, Publish)] == [False]


def test_a_full_outbox_drops_its_oldest_sample_and_counts_it() -> None:
    box = outbox()
    for _ in range(10):
        box.handle(SAMPLE, 0.0)
    assert box.handle(SAMPLE, 1.0) == [
        Drop("b2", Lane.TELEMETRY, 1, (dropped(1, 1),)),
        Append(Lane.TELEMETRY, 11, False),
    ]
    assert (box.rows, box.dropped) == (10, 1)


def test_what_must_be_kept_takes_the_place_of_a_sample() -> None:
    box = outbox()
    for _ in range(10):
        box.handle(SAMPLE, 0.0)
    assert box.handle(EVENT, 1.0) == [
        Drop("b2", Lane.TELEMETRY, 1, (dropped(1, 1),)),
        Append(Lane.EVENTS, 1, True),
    ]


def test_a_full_budget_refuses_what_must_be_kept_and_skips_a_sample() -> None:
    box = outbox()
    for _ in range(10):
        box.handle(EVENT, 0.0)
    assert box.handle(EVENT, 1.0) == [Refuse()]
    assert box.handle(SAMPLE, 1.0) == [Skip((unnumbered(1, Why.ROWS),))]
    assert (box.rows, box.refused, box.dropped) == (10, 1, 1)


def test_what_was_not_even_made_is_declared_with_its_reason_and_has_no_number() -> None:
    box = outbox()
    told = box.handle(LeftOut(Lane.LIVE, Why.CLOCK), 0.0)
    range_ = DroppedRange(boot="b2", lane=Lane.LIVE, from_seq=0, to_seq=0, count=1, why=Why.CLOCK)
    assert told == [Skip((range_,))]
    assert (box.rows, box.dropped) == (0, 1)
    declared = next(each for each in box.handle(Connected(), 1.0) if isinstance(each, Declare))
    assert (declared.ranges, declared.pending) == ((range_,), ())


def test_bytes_are_bounded_too() -> None:
    bounds = Bounds(rows_max=1000, bytes_max=2 * (500 + ROW_OVERHEAD_BYTES), window=3, ack_timeout_s=20.0)
    box = outbox(bounds=bounds)
    big = Recorded(Lane.TELEMETRY, False, 500)
    box.handle(big, 0.0)
    box.handle(big, 0.0)
    assert box.handle(big, 0.0) == [
        Drop("b2", Lane.TELEMETRY, 1, (dropped(1, 1, Why.BYTES),)),
        Append(Lane.TELEMETRY, 3, False),
    ]
    assert box.bytes <= bounds.bytes_max


def test_the_sender_says_from_where_it_still_keeps() -> None:
    box = outbox()
    for _ in range(11):
        box.handle(SAMPLE, 0.0)
    effects = box.handle(Connected(), 1.0)
    told = [(e.seq, e.kept_from) for e in effects if isinstance(e, Publish) and e.lane is Lane.TELEMETRY]
    assert told == [(3, 3), (4, 3), (5, 3)]


def test_a_message_that_the_disk_did_not_take_never_existed() -> None:
    box = outbox()
    box.handle(EVENT, 0.0)
    box.handle(Unwritten(Lane.EVENTS, 1), 0.0)
    box.handle(EVENT, 1.0)
    assert box.handle(Connected(), 2.0) == [Publish("b2", Lane.EVENTS, 1, False, 1)]
    assert (box.rows, box.refused) == (1, 1)


def test_a_number_below_one_that_was_written_stays_a_gap() -> None:
    box = outbox()
    box.handle(SAMPLE, 0.0)
    box.handle(SAMPLE, 0.0)
    box.handle(Unwritten(Lane.TELEMETRY, 1), 0.0)
    assert list(box.pending) == [
        dropped(1, 1, Why.DISK),
    ]
    box.handle(Unwritten(Lane.TELEMETRY, 2), 0.0)
    assert list(box.pending) == [dropped(1, 1, Why.DISK), unnumbered(1, Why.DISK)]
    assert box.handle(SAMPLE, 0.0) == [Append(Lane.TELEMETRY, 2, False)]


# --- what was dropped is declared ---


def test_what_was_dropped_is_declared_once_the_link_is_up() -> None:
    box = outbox()
    for _ in range(13):
        box.handle(SAMPLE, 0.0)
    assert list(box.pending) == [
        dropped(1, 3),
    ]
    effects = box.handle(Connected(), 1.0)
    assert effects[0] == Drop("b2", Lane.TELEMETRY, 4, (dropped(1, 4),)), "it needs room itself"
    declare = effects[1]
    assert isinstance(declare, Declare)
    assert (declare.seq, declare.ranges, declare.pending) == (1, (dropped(1, 4),), ())
    assert read(declare.body, Dropped).ranges == [dropped(1, 4)]
    assert publishes(effects)[0] == ("b2", "events", 1)
    assert not box.pending


def test_declarations_cannot_flood() -> None:
    box = connected()
    declared = 0
    for second in range(600):
        declared += sum(isinstance(e, Declare) for e in box.handle(SAMPLE, float(second)))
        box.handle(Acked("b2", Lane.EVENTS, declared), float(second))
    assert 600 / DECLARE_EVERY_S - 1 <= declared <= 600 / DECLARE_EVERY_S


def test_a_declaration_that_is_full_does_not_wait_for_the_link() -> None:
    box = outbox(bounds=Bounds(rows_max=200, bytes_max=10**6, window=3, ack_timeout_s=20.0))
    for _ in range(RANGES_MAX + 1):  # every other one must be kept, so that no range grows
        box.handle(Recorded(Lane.EVENTS, False, 10), 0.0)
        box.handle(EVENT, 0.0)
    effects: list[Effect] = []
    while not any(isinstance(effect, Declare) for effect in effects):
        effects += box.handle(EVENT, 1.0)
    declares = [effect for effect in effects if isinstance(effect, Declare)]
    assert [len(declare.ranges) for declare in declares] == [RANGES_MAX]


def test_where_everything_must_be_kept_a_declaration_waits_for_room() -> None:
    box = connected()
    for _ in range(10):
        box.handle(EVENT, 0.0)
    assert box.handle(SAMPLE, 1.0) == [Skip((unnumbered(1, Why.ROWS),))]
    effects = box.handle(Acked("b2", Lane.EVENTS, 3), 2.0)
    assert not any(isinstance(effect, Declare) for effect in effects)
    effects = box.handle(TimePassed(), 1.0 + DECLARE_EVERY_S)
    assert [e.ranges for e in effects if isinstance(e, Declare)] == [(unnumbered(1, Why.ROWS),)]


def test_a_declaration_that_the_disk_did_not_take_is_made_again() -> None:
    box = outbox()
    for _ in range(11):
        box.handle(SAMPLE, 0.0)
    declare = next(e for e in box.handle(Connected(), 0.0) if isinstance(e, Declare))
    box.handle(Undeclared(declare.seq, declare.ranges), 0.0)
    assert box.pending == declare.ranges
    again = [e for e in box.handle(TimePassed(), DECLARE_EVERY_S) if isinstance(e, Declare)]
    assert [(e.seq, e.ranges) for e in again] == [(1, declare.ranges)]


def test_what_an_earlier_boot_dropped_is_declared_by_the_next() -> None:
    left = (dropped(4, 9, boot="b1"), replace(unnumbered(2, Why.DISK), boot="b1"))
    box = Outbox("b2", (), BOUNDS, left)
    declare = next(e for e in box.handle(Connected(), 0.0) if isinstance(e, Declare))
    assert declare.ranges == (dropped(4, 9, boot="b1"), unnumbered(2, Why.DISK))


def test_old_telemetry_is_dropped_and_events_never() -> None:
    box = outbox(bounds=Bounds(10, 100_000, 3, 20.0, age_max_s=100.0))
    box.handle(EVENT, 0.0)
    box.handle(SAMPLE, 0.0)
    assert box.handle(SAMPLE, 100.0) == [Append(Lane.TELEMETRY, 2, False)]
    assert box.handle(SAMPLE, 101.0) == [
        Drop("b2", Lane.TELEMETRY, 1, (dropped(1, 1, Why.AGE),)),
        Append(Lane.TELEMETRY, 3, False),
    ]


# --- no room ---


def test_new_work_is_refused_before_the_last_room_is_taken() -> None:
    box = outbox()
    for _ in range(9):
        assert not box.full
        box.handle(EVENT, 0.0)
    assert not box.full
    box.handle(EVENT, 0.0)
    assert box.full
    box.handle(Connected(), 0.0)
    box.handle(Acked("b2", Lane.EVENTS, 3), 1.0)
    assert not box.full


def test_samples_alone_refuse_no_work() -> None:
    box = outbox()
    for _ in range(20):
        box.handle(SAMPLE, 0.0)
    assert not box.full


def test_a_full_disk_takes_only_what_must_be_kept_until_the_reserve_is_back() -> None:
    box = outbox()
    assert box.handle(DiskFull(), 0.0) == []
    assert box.full
    assert box.handle(SAMPLE, 1.0) == [Skip((unnumbered(1, Why.DISK),))]
    assert box.handle(EVENT, 1.0) == [Append(Lane.EVENTS, 1, True)]
    assert box.deadline() == RESERVE_EVERY_S
    assert box.handle(TimePassed(), RESERVE_EVERY_S) == [MakeReserve()]
    assert box.deadline() == 2 * RESERVE_EVERY_S
    box.handle(ReserveMade(), RESERVE_EVERY_S + 1)
    assert not box.full
    assert box.handle(SAMPLE, 40.0) == [Append(Lane.TELEMETRY, 1, False)]
    assert box.deadline() is None


# --- a connection on which nobody answers ---


def test_a_connection_on_which_nobody_answers_is_given_up() -> None:
    box = connected()
    box.handle(EVENT, 5.0)
    patience_s = SILENT_TIMEOUTS * BOUNDS.ack_timeout_s
    assert HangUp() not in box.handle(TimePassed(), 5.0 + patience_s - 1)
    assert HangUp() in box.handle(TimePassed(), 5.0 + patience_s)
    assert not box.connected
    assert box.deadline() is None
    box.handle(Connected(), 200.0)
    assert HangUp() not in box.handle(TimePassed(), 200.0 + patience_s), "it may be the cloud that is away"
    assert HangUp() in box.handle(TimePassed(), 200.0 + 2 * patience_s)


def test_any_acknowledgement_says_that_the_connection_lives() -> None:
    box = connected()
    box.handle(EVENT, 0.0)
    patience_s = SILENT_TIMEOUTS * BOUNDS.ack_timeout_s
    box.handle(Acked("b2", Lane.TELEMETRY, 1), 100.0)
    assert HangUp() not in box.handle(TimePassed(), patience_s + 99)
    assert HangUp() in box.handle(TimePassed(), patience_s + 100)


def test_an_idle_connection_is_not_given_up() -> None:
    box = connected()
    box.handle(EVENT, 0.0)
    box.handle(Acked("b2", Lane.EVENTS, 1), 1.0)
    assert box.deadline() is None
    assert box.handle(TimePassed(), 10_000.0) == []


# --- a clock that is not trusted ---


def test_samples_wait_for_a_clock_that_is_trusted_and_events_do_not() -> None:
    box = Outbox("b2", [Stored("b1", Lane.TELEMETRY, 1, 10, False, -9.0)], BOUNDS, clock_trusted=False)
    box.handle(SAMPLE, 0.0)
    box.handle(EVENT, 0.0)
    assert publishes(box.handle(Connected(), 1.0)) == [("b2", "events", 1), ("b1", "telemetry", 1)]
    assert publishes(box.handle(ClockTrusted(), 2.0)) == [("b2", "telemetry", 1)]


def test_a_sample_that_nobody_can_date_is_dropped_and_counted() -> None:
    box = outbox(Stored("b1", Lane.TELEMETRY, 1, 10, False, -9.0))
    gone = dropped(1, 1, Why.CLOCK, boot="b1")
    assert box.handle(Undatable("b1", Lane.TELEMETRY, 1), 0.0) == [Drop("b1", Lane.TELEMETRY, 1, (gone,))]
    assert (box.rows, box.dropped) == (0, 1)
    assert box.handle(Undatable("b1", Lane.TELEMETRY, 1), 0.0) == []


def test_a_boot_is_used_once() -> None:
    with pytest.raises(AssertionError):
        outbox(Stored("b2", Lane.EVENTS, 1, 10, True, 0.0))


# --- a broker that has nobody to give a message to ---


def unheard(seq: int, share: float = 1.0, lane: Lane = Lane.EVENTS, boot: str = "b2") -> Unheard:
    return Unheard(boot, lane, seq, share)


def test_what_nobody_heard_is_sent_again_after_a_moment() -> None:
    box = connected()
    box.handle(EVENT, 5.0)
    assert publishes(box.handle(unheard(1), 5.1)) == []
    assert box.deadline() == pytest.approx(5.1 + UNHEARD_WAIT_MIN_S)
    assert publishes(box.handle(TimePassed(), 6.0)) == []
    assert publishes(box.handle(TimePassed(), 6.2)) == [("b2", "events", 1)]
    assert box.deadline() == 6.2 + BOUNDS.ack_timeout_s, "and waits for an answer as before"


@pytest.mark.parametrize(("share", "wait_s"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_half_of_that_moment_is_by_chance(share: float, wait_s: float) -> None:
    box = connected()
    box.handle(EVENT, 0.0)
    box.handle(unheard(1, share), 0.0)
    assert box.deadline() == pytest.approx(wait_s * UNHEARD_WAIT_MIN_S)


def test_each_round_without_a_listener_doubles_the_wait_and_an_answer_ends_it() -> None:
    box = connected(bounds=dataclasses.replace(BOUNDS, ack_timeout_s=600.0))
    box.handle(EVENT, 0.0)
    waits, now = [], 0.0
    for _ in range(8):
        box.handle(unheard(1), now)
        due = box.deadline()
        assert due is not None
        waits.append(due - now)
        now = due
        assert publishes(box.handle(TimePassed(), now)) == [("b2", "events", 1)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, UNHEARD_WAIT_MAX_S, UNHEARD_WAIT_MAX_S]
    box.handle(Acked("b2", Lane.EVENTS, 1), now)
    box.handle(EVENT, now)
    box.handle(unheard(2), now)
    assert box.deadline() == now + UNHEARD_WAIT_MIN_S


def test_all_of_a_round_go_together_in_their_order_and_the_other_lane_waits() -> None:
    box = connected()
    for _ in range(3):
        box.handle(EVENT, 0.0)
    box.handle(SAMPLE, 0.0)
    for seq in (3, 1, 2):
        box.handle(unheard(seq), 0.1)
    assert publishes(box.handle(TimePassed(), 1.2)) == [("b2", "events", n) for n in (1, 2, 3)]
    box.handle(unheard(1), 1.3)
    assert box.deadline() == pytest.approx(1.3 + 2 * UNHEARD_WAIT_MIN_S), "the second round, not the fourth"


def test_nobody_waits_longer_because_nobody_listened() -> None:
    box = connected(bounds=dataclasses.replace(BOUNDS, ack_timeout_s=0.7))
    box.handle(EVENT, 0.0)
    box.handle(unheard(1), 0.0)
    assert box.deadline() == 0.7


@pytest.mark.parametrize(
    "event", [unheard(2), unheard(1, lane=Lane.TELEMETRY), unheard(1, boot="b1"), unheard(1, lane=Lane.LIVE)]
)
def test_a_word_on_what_is_not_under_way_changes_nothing(event: Unheard) -> None:
    box = connected()
    box.handle(EVENT, 0.0)
    assert box.handle(event, 0.0) == []
    assert box.deadline() == BOUNDS.ack_timeout_s


def test_a_new_connection_begins_without_the_waits_of_the_old_one() -> None:
    box = connected()
    box.handle(EVENT, 0.0)
    box.handle(unheard(1), 0.0)
    box.handle(Disconnected(), 0.1)
    assert box.handle(unheard(1), 0.2) == []
    assert box.deadline() is None
    assert publishes(box.handle(Connected(), 0.3)) == [("b2", "events", 1)]
    assert box.deadline() == pytest.approx(0.3 + BOUNDS.ack_timeout_s)
