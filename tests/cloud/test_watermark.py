"""The acknowledgement never says more than what arrived, whatever the order."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.watermark import ABOVE_MAX, Tally, Verdict, Watermark, missing, note, tally


def test_messages_in_order_move_the_mark_one_by_one() -> None:
    mark = Watermark()
    for seq in range(1, 6):
        mark, verdict = note(mark, seq)
        assert (mark, verdict) == (Watermark(seq), Verdict.NEW)


def test_a_gap_holds_the_mark_until_it_is_filled() -> None:
    mark, _ = note(Watermark(), 1)
    mark, verdict = note(mark, 4)
    assert (mark, verdict) == (Watermark(1, (4,)), Verdict.NEW)
    mark, _ = note(mark, 3)
    assert mark == Watermark(1, (3, 4))
    mark, _ = note(mark, 2)
    assert mark == Watermark(4)


def test_a_message_that_came_before_is_seen_below_and_above_the_gap() -> None:
    mark = Watermark(3, (5, 7))
    for seq in (1, 3, 5, 7):
        assert note(mark, seq) == (mark, Verdict.SEEN)


def test_what_the_device_no_longer_keeps_is_not_waited_for() -> None:
    assert note(Watermark(3, (9,)), 8, kept_from=8) == (Watermark(9), Verdict.NEW)
    assert note(Watermark(3, (9,)), 12, kept_from=9) == (Watermark(9, (12,)), Verdict.NEW)
    assert note(Watermark(3), 3, kept_from=2) == (Watermark(3), Verdict.SEEN)


def test_beyond_a_full_gap_a_message_is_left_and_the_next_in_order_is_taken() -> None:
    full = Watermark(1, tuple(range(3, 3 + ABOVE_MAX)))
    assert note(full, 3 + ABOVE_MAX + 1) == (full, Verdict.BEYOND)
    assert note(full, 2) == (Watermark(2 + ABOVE_MAX), Verdict.NEW)


def test_where_late_messages_do_no_harm_the_oldest_gap_is_given_up() -> None:
    full = Watermark(1, (3, *range(5, 5 + ABOVE_MAX - 1)))
    newest = 5 + ABOVE_MAX
    mark, verdict = note(full, newest, give_up=True)
    assert verdict is Verdict.NEW
    assert mark == Watermark(3, (*range(5, 5 + ABOVE_MAX - 1), newest))


@given(st.lists(st.integers(min_value=1, max_value=40)))
def test_the_mark_is_the_longest_run_from_one_in_any_order(arrivals: list[int]) -> None:
    mark = Watermark()
    seen: set[int] = set()
    for seq in arrivals:
        mark, verdict = note(mark, seq)
        assert verdict is (Verdict.SEEN if seq in seen else Verdict.NEW)
        seen.add(seq)
        run = next(number for number in range(1, 100) if number not in seen) - 1
        assert mark.seq == run
        assert mark.above == tuple(sorted(number for number in seen if number > run))


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40))))
def test_the_mark_never_moves_back(arrivals: list[tuple[int, int]]) -> None:
    mark = Watermark()
    for seq, kept_from in arrivals:
        after, _ = note(mark, seq, kept_from=min(kept_from, seq))
        assert after.seq >= mark.seq
        assert all(later > after.seq + 1 for later in after.above)
        mark = after


NOTHING = Watermark()


def run(
    arrivals: list[tuple[int, int]], *, give_up: bool = False, mark: Watermark = NOTHING
) -> tuple[Watermark, Tally]:
    """The mark and the tally after messages (sequence and `kept_from`)."""
    counted = Tally()
    for seq, kept_from in arrivals:
        after, verdict = note(mark, seq, kept_from=kept_from, give_up=give_up)
        counted = counted.plus(tally(mark, after, verdict, seq, kept_from=kept_from))
        mark = after
    return mark, counted


def test_each_sequence_is_counted_as_what_became_of_it() -> None:
    mark, counted = run([(1, 1), (2, 1), (2, 1), (7, 5), (9, 5)])
    assert mark == Watermark(4, (7, 9))
    assert counted == Tally(stored=4, dropped=2, repeated=1)
    assert missing(mark) == 3
    mark, counted = run([(8, 8)], mark=mark)
    assert (mark, counted) == (Watermark(9), Tally(stored=1, dropped=2))
    assert missing(mark) == 0


def test_what_is_given_up_is_lost_and_not_dropped() -> None:
    full = Watermark(1, (3, *range(5, 5 + ABOVE_MAX - 1)))
    _, counted = run([(5 + ABOVE_MAX, 0)], give_up=True, mark=full)
    assert counted == Tally(stored=1, given_up=1)


def test_a_malformed_message_is_refused_and_counts_as_received() -> None:
    after, verdict = note(Watermark(3), 4)
    assert tally(Watermark(3), after, verdict, 4, refused=True) == Tally(refused=1)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40))), st.booleans())
def test_nothing_is_counted_twice_and_nothing_is_left_out(
    arrivals: list[tuple[int, int]], give_up: bool
) -> None:
    told = [(seq, min(kept_from, seq)) for seq, kept_from in arrivals]
    mark, counted = run(told, give_up=give_up)
    assert all(count >= 0 for count in counted)
    assert counted.stored + counted.dropped + counted.given_up == mark.seq + len(mark.above)
    assert counted.given_up == 0, "no gap is full here"
    assert counted.stored + counted.repeated == len(told)
    highest = max((seq for seq, _ in told), default=0)
    assert mark.seq + len(mark.above) + missing(mark) == highest
