"""The outbox: written before sent, forgotten only when stored, bounded always."""

import pytest

from contract.messages import Lane
from edge_agent.link.outbox import (
    HISTORICAL_AFTER_S,
    RESEND_WAIT_MAX_S,
    ROW_OVERHEAD_BYTES,
    Acked,
    Append,
    Bounds,
    Connected,
    Disconnected,
    Drop,
    Effect,
    Forget,
    Outbox,
    Publish,
    Recorded,
    Refuse,
    Skip,
    Stored,
    TimePassed,
    Unwritten,
)

BOUNDS = Bounds(rows_max=10, bytes_max=100_000, window=3, ack_timeout_s=20.0)
SAMPLE = Recorded(Lane.TELEMETRY, False, 100)
EVENT = Recorded(Lane.EVENTS, True, 100)


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
    assert box.handle(SAMPLE, 1.0) == [Drop("b2", Lane.TELEMETRY, 1), Append(Lane.TELEMETRY, 11, False)]
    assert (box.rows, box.dropped) == (10, 1)


def test_what_must_be_kept_takes_the_place_of_a_sample() -> None:
    box = outbox()
    for _ in range(10):
        box.handle(SAMPLE, 0.0)
    assert box.handle(EVENT, 1.0) == [Drop("b2", Lane.TELEMETRY, 1), Append(Lane.EVENTS, 1, True)]


def test_a_full_budget_refuses_what_must_be_kept_and_skips_a_sample() -> None:
    box = outbox()
    for _ in range(10):
        box.handle(EVENT, 0.0)
    assert box.handle(EVENT, 1.0) == [Refuse()]
    assert box.handle(SAMPLE, 1.0) == [Skip()]
    assert (box.rows, box.refused, box.dropped) == (10, 1, 1)


def test_bytes_are_bounded_too() -> None:
    bounds = Bounds(rows_max=1000, bytes_max=2 * (500 + ROW_OVERHEAD_BYTES), window=3, ack_timeout_s=20.0)
    box = outbox(bounds=bounds)
    big = Recorded(Lane.TELEMETRY, False, 500)
    box.handle(big, 0.0)
    box.handle(big, 0.0)
    assert box.handle(big, 0.0) == [Drop("b2", Lane.TELEMETRY, 1), Append(Lane.TELEMETRY, 3, False)]
    assert box.bytes <= bounds.bytes_max


def test_the_sender_says_from_where_it_still_keeps() -> None:
    box = outbox()
    for _ in range(11):
        box.handle(SAMPLE, 0.0)
    effects = box.handle(Connected(), 1.0)
    assert [(e.seq, e.kept_from) for e in effects if isinstance(e, Publish)] == [(2, 2), (3, 2), (4, 2)]


def test_a_message_that_the_disk_did_not_take_never_existed() -> None:
    box = outbox()
    box.handle(EVENT, 0.0)
    box.handle(Unwritten(Lane.EVENTS, 1), 0.0)
    box.handle(EVENT, 1.0)
    assert box.handle(Connected(), 2.0) == [Publish("b2", Lane.EVENTS, 2, False, 2)]
    assert (box.rows, box.refused) == (1, 1)


def test_a_boot_is_used_once() -> None:
    with pytest.raises(AssertionError):
        outbox(Stored("b2", Lane.EVENTS, 1, 10, True, 0.0))
