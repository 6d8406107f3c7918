"""What was counted and what was declared are put together without counting anything twice."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.link.core import Counted, Declared, Drop, Mark, Numbers, gaps, place, reconcile
from cloud.watermark import Tally, Watermark, missing, note, tally


def put_together(
    counted: Counted, declared: Declared, mark: Mark | None = None, drops: list[Drop] | None = None
) -> Numbers:
    return reconcile(counted, place(declared, counted, mark, drops or []))


def test_a_drop_that_was_passed_over_and_declared_is_one_drop() -> None:
    told = put_together(Counted(stored=5, dropped=3), Declared(numbered=3), (8, []), [Drop(6, 8, 3)])
    assert told == Numbers(stored=5, dropped=3)


def test_what_the_device_never_gave_a_reason_for_is_not_declared() -> None:
    told = put_together(Counted(dropped=7), Declared(numbered=3), (9, []), [Drop(1, 3, 3)])
    assert (told.dropped, told.undeclared) == (7, 4)


def test_what_was_declared_is_no_longer_missing_although_the_mark_still_stands_before_it() -> None:
    told = put_together(Counted(missing=5, dropped=1), Declared(numbered=4), (3, [9]), [Drop(3, 6, 4)])
    assert (told.missing, told.dropped, told.undeclared) == (2, 4, 0)


def test_what_came_although_the_device_dropped_it_is_stored_and_not_dropped() -> None:
    """No acknowledgement had told the device, so it dropped what the cloud has."""
    told = put_together(Counted(stored=5), Declared(numbered=2), (5, []), [Drop(4, 5, 2)])
    assert told == Numbers(stored=5)
    told = put_together(Counted(stored=6, missing=1), Declared(numbered=3), (5, [7]), [Drop(5, 7, 3)])
    assert told == Numbers(stored=6, dropped=1)


def test_what_lies_behind_everything_that_came_is_dropped() -> None:
    told = put_together(Counted(stored=5), Declared(numbered=10), (5, []), [Drop(6, 15, 10)])
    assert told == Numbers(stored=5, dropped=10)
    assert put_together(Counted(), Declared(numbered=10)).dropped == 10, "a boot of which nothing came"


def test_messages_without_a_number_are_dropped_as_well() -> None:
    assert put_together(Counted(), Declared(unnumbered=9)) == Numbers(dropped=9)


@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["comes", "drops", "both"]))), st.booleans())
def test_every_number_is_told_once_whatever_came_and_whatever_was_dropped(
    story: list[tuple[int, str]], passes: bool
) -> None:
    """A device drops and declares, sends, or both, in any order; at last it may say what it still keeps."""
    mark, tallied, came, gone = Watermark(), Tally(), set(), set()
    for seq, what in story:
        if what != "drops":
            after, verdict = note(mark, seq)
            tallied, mark = tallied.plus(tally(mark, after, verdict, seq)), after
            came.add(seq)
        if what != "comes":
            gone.add(seq)
    if passes:
        after, verdict = note(mark, 40, kept_from=40)
        tallied, mark = tallied.plus(tally(mark, after, verdict, 40, kept_from=40)), after
        came.add(40)
    counted = Counted(tallied.stored, 0, missing(mark), tallied.dropped, tallied.given_up, tallied.repeated)
    drops = [Drop(seq, seq, 1) for seq in gone]
    told = put_together(counted, Declared(numbered=len(gone)), (mark.seq, list(mark.above)), drops)
    everything = set(range(1, max(came | {0}) + 1)) | gone
    assert told.stored == len(came)
    assert told.stored + told.dropped + told.missing == len(everything)
    if not passes:
        assert told.dropped == len(gone - came)
        assert told.undeclared == 0


@given(st.lists(st.integers(1, 60)))
def test_gaps_are_exactly_what_is_missing(arrivals: list[int]) -> None:
    mark = Watermark()
    for seq in arrivals:
        mark, _ = note(mark, seq)
    found = gaps(mark.seq, list(mark.above), [], 1000)
    lacking = [seq for first, last in found for seq in range(first, last + 1)]
    assert lacking == [seq for seq in range(1, max(arrivals, default=0)) if seq not in arrivals]
    assert len(lacking) == missing(mark)
    assert gaps(mark.seq, list(mark.above), [], 1) == found[:1]


@given(st.sets(st.integers(1, 60)), st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9))))
def test_what_was_declared_is_no_gap(arrivals: set[int], declared: list[tuple[int, int]]) -> None:
    mark = Watermark()
    for seq in sorted(arrivals):
        mark, _ = note(mark, seq)
    stretches = [(first, first + more) for first, more in declared]
    found = gaps(mark.seq, list(mark.above), stretches, 1000)
    lacking = [seq for first, last in found for seq in range(first, last + 1)]
    dropped = {seq for first, last in stretches for seq in range(first, last + 1)}
    there = arrivals | dropped
    assert lacking == [seq for seq in range(1, max(arrivals, default=0)) if seq not in there]
