"""What may be of a closed part is cut out, to the millisecond and with its doubt; all else remains."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.recordings.closed import FOR_EVER_MS, Shut, Turned, cut, floor_of_the_open, shut
from cloud.recordings.joining import FloorChange
from cloud.recordings.stretches import Segment

LIFE = [
    Turned(-3000, "planned"),
    Turned(0, "open"),
    Turned(10_000, "paused"),
    Turned(20_000, "open"),
    Turned(30_000.4, "closed_to_public"),
    Turned(40_000.6, "open"),
    Turned(50_000, "ended"),
]
TIMES = [
    Shut(10_000, 20_000, closed=False),
    Shut(30_000, 40_001, closed=True),
    Shut(50_000, FOR_EVER_MS, closed=False),
]


def segment(number: int, start_ms: int, duration_ms: int, early_ms: int | None = 0, late_ms: int | None = 0):
    return Segment(number, start_ms, duration_ms, 44, "0" * 64, "key", early_ms, late_ms)


def heard(*segments: Segment, times: list[Shut] = TIMES) -> list[tuple[int, int, int, int]]:
    """Segment, from where in it, from when in the sitting, how long."""
    parts = cut(segments, times).parts
    return [(part.segment.number, part.skip_ms, part.start_ms, part.duration_ms) for part in parts]


def test_a_sitting_is_open_between_its_changes():
    assert shut(LIFE) == TIMES


def test_what_nobody_opened_is_shut():
    assert shut([]) == [Shut(0, FOR_EVER_MS, closed=True)]
    assert shut(LIFE[:1]) == [Shut(0, FOR_EVER_MS, closed=False)]
    assert shut(LIFE[:2]) == []
    assert shut(LIFE[:5])[-1] == Shut(30_000, FOR_EVER_MS, closed=True)


def test_from_pause_to_closed_part_nothing_is_open():
    life = [LIFE[1], Turned(5000, "paused"), Turned(6000, "closed_to_public"), Turned(7000, "open")]
    assert shut(life) == [Shut(5000, 6000, closed=False), Shut(6000, 7000, closed=True)]


def test_a_recorder_that_heard_of_nothing_is_cut_at_every_change():
    assert heard(segment(1, 0, 60_000)) == [
        (1, 0, 0, 10_000),
        (1, 20_000, 20_000, 10_000),
        (1, 40_001, 40_001, 9999),
    ]


def test_what_may_be_of_a_closed_part_goes_and_a_break_is_cut_at_its_edge():
    assert heard(segment(1, 0, 60_000, early_ms=100, late_ms=1300)) == [
        (1, 0, 0, 10_000),
        (1, 20_000, 20_000, 8700),
        (1, 40_101, 40_101, 9899),
    ]


def test_sound_that_nobody_can_date_within_seconds_is_of_neither():
    """A recorder had no link and lost its power twice: all that is known is an hour."""
    assert heard(segment(1, 0, 9000, 0, 3_600_000)) == []
    assert heard(segment(1, 20_000, 5000, 0, 4000)) == [(1, 0, 20_000, 5000)]
    assert heard(segment(1, 0, 9000, 0, 3_600_000), times=[]) == [(1, 0, 0, 9000)]


def test_an_older_recorder_does_not_say_how_sure_it_is():
    assert heard(segment(1, 21_000, 8900, None, None)) == [(1, 0, 21_000, 6985)], "2 s, and 15 ms of drift"
    assert heard(segment(1, 40_001, 5000, None, None)) == [(1, 23, 40_024, 4977)]


def test_a_segment_that_was_moved_into_its_place_is_as_doubtful_as_it_was_moved():
    assert heard(segment(1, 40_001, 3000), segment(2, 41_000, 2000))[1:] == [(2, 0, 43_001, 2000)]
    assert heard(segment(1, 44_000, 500), segment(2, 39_000, 2000))[1:] == [(2, 1001, 45_501, 999)]


def test_a_segment_wholly_in_a_closed_part_is_not_even_read():
    assert heard(segment(1, 21_000, 1000), segment(2, 31_000, 5000)) == [(1, 0, 21_000, 1000)]


def test_another_cut_has_another_signature_and_none_has_none():
    sound = [segment(1, 0, 60_000)]
    found = {cut(sound, times).signature for times in (TIMES, TIMES[:2], TIMES[1:])}
    assert len(found) == 3
    assert cut(sound, []).signature == ""
    assert cut([segment(1, 0, 5000)], TIMES).signature == "", "what was not recorded is not cut out"


def test_lines_are_shown_and_parted_by_what_was_cut_out():
    sound = cut([segment(1, 0, 60_000)], TIMES)
    assert sound.shows(0, 10_000)
    assert not sound.shows(9000, 10_001)
    assert not sound.shows(9000, 21_000)
    assert sound.breaks_between(9000, 21_000)
    assert not sound.breaks_between(21_000, 29_000)


SEGMENTS = st.lists(
    st.tuples(st.integers(0, 20_000), st.integers(0, 20_000), st.integers(0, 3000), st.integers(0, 3000)),
    max_size=5,
)
TURNS = st.lists(
    st.tuples(st.integers(1, 30_000), st.sampled_from(["open", "paused", "closed_to_public"])), max_size=6
)


@settings(deadline=None)
@given(SEGMENTS, TURNS)
def test_nothing_of_a_closed_part_remains_and_nothing_else_goes(gaps, turns):
    at, life = 0.0, [Turned(0, "open")]
    for after, state in turns:
        at += after
        life.append(Turned(at, state))
    times = shut(life)
    start, segments = 0, []
    for number, (gap, length, early, late) in enumerate(gaps, 1):
        segments.append(segment(number, start + gap, length, early, late))
        start += gap + length
    found = cut(segments, times)
    for part in found.parts:
        said = range(part.start_ms - (part.segment.early_ms or 0), part.start_ms + part.duration_ms)
        until = said.stop + (part.segment.late_ms or 0)
        assert not any(said.start < each.end_ms and until > each.begin_ms for each in times if each.closed)
        assert part.start_ms == part.segment.start_ms + part.skip_ms
    assert found.total_ms + sum(end - begin for begin, end in found.removed) == sum(
        each.duration_ms for each in segments
    )
    for begin, end in found.removed:
        assert any(begin < each.end_ms + 3000 and end > each.begin_ms - 3000 for each in times)
    assert all(left[1] <= right[0] for left, right in pairwise(found.removed))


def test_who_spoke_in_a_closed_part_is_not_told_but_who_has_the_floor_after_it_is():
    floor = [
        FloorChange(1000, "A1", True),
        FloorChange(31_000, "A1", False),
        FloorChange(32_000, "B2", True),
        FloorChange(33_000, "B2", False),
        FloorChange(34_000, "C3", True),
        FloorChange(45_000, "C3", False),
        FloorChange(51_000, "D4", True),
    ]
    assert floor_of_the_open(floor, TIMES) == [
        FloorChange(1000, "A1", True),
        FloorChange(40_001, "A1", False),
        FloorChange(40_001, "B2", False),
        FloorChange(40_001, "C3", True),
        FloorChange(45_000, "C3", False),
    ]


@pytest.mark.parametrize("times", [TIMES, TIMES[1:2]])
def test_who_takes_the_floor_in_a_closed_part_and_says_nothing_more_has_it_after_it(times):
    assert floor_of_the_open([FloorChange(35_000, "A1", True)], times) == [FloorChange(40_001, "A1", True)]
