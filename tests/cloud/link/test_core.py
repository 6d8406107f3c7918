"""What was counted and what was declared are put together without counting anything twice."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.link.core import Counted, Declared, Numbers, gaps, reconcile
from cloud.watermark import Watermark, missing, note

counts = st.integers(0, 10**6)


def test_a_drop_that_was_passed_over_and_declared_is_one_drop() -> None:
    assert reconcile(Counted(stored=5, dropped=3), Declared(numbered=3)) == Numbers(stored=5, dropped=3)


def test_what_the_device_never_gave_a_reason_for_is_not_declared() -> None:
    told = reconcile(Counted(dropped=7), Declared(numbered=3))
    assert (told.dropped, told.undeclared) == (7, 4)


def test_what_was_declared_is_no_longer_missing_although_the_mark_still_stands_before_it() -> None:
    told = reconcile(Counted(missing=5, dropped=1), Declared(numbered=4))
    assert (told.missing, told.dropped, told.undeclared) == (2, 4, 0)


def test_messages_without_a_number_are_dropped_as_well() -> None:
    assert reconcile(Counted(), Declared(unnumbered=9)) == Numbers(dropped=9)


@given(st.builds(Counted, *[counts] * 6), st.builds(Declared, counts, counts))
def test_no_number_is_negative_and_none_exceeds_what_was_told(counted: Counted, declared: Declared) -> None:
    told = reconcile(counted, declared)
    assert all(number >= 0 for number in told)
    assert told.missing <= counted.missing
    assert told.undeclared <= told.dropped
    assert told.dropped >= max(counted.dropped, declared.numbered)


@given(st.lists(st.integers(1, 60)))
def test_gaps_are_exactly_what_is_missing(arrivals: list[int]) -> None:
    mark = Watermark()
    for seq in arrivals:
        mark, _ = note(mark, seq)
    found = gaps(mark.seq, list(mark.above), 1000)
    lacking = [seq for first, last in found for seq in range(first, last + 1)]
    assert lacking == [seq for seq in range(1, max(arrivals, default=0)) if seq not in arrivals]
    assert len(lacking) == missing(mark)
    assert gaps(mark.seq, list(mark.above), 1) == found[:1]
