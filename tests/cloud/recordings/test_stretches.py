"""Cuts cover everything and lie in quiet; the two clocks agree."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.recordings.stretches import FRAME_MS, SLACK_MS, STRETCH_MS, Timeline, cut

LEVELS = st.lists(st.sampled_from([0.0, 0.01, 0.2, 0.5]), min_size=1, max_size=400)
SPANS = st.lists(st.tuples(st.integers(0, 50_000), st.integers(0, 20_000)), max_size=8)


@settings(deadline=None)
@given(LEVELS)
def test_stretches_cover_the_sound_without_gap_or_overlap(levels):
    total = len(levels) * FRAME_MS
    found = cut(levels, total, target_ms=4000, slack_ms=1000)
    assert found[0].start_ms == 0
    assert found[-1].end_ms == total
    assert all(left.end_ms == right.start_ms for left, right in pairwise(found))
    assert all(0 < each.end_ms - each.start_ms <= 5000 for each in found)
    assert all(each.end_ms - each.start_ms >= 3000 - FRAME_MS for each in found[:-1])


@settings(deadline=None)
@given(st.integers(60_000, 4 * 3_600_000))
def test_four_hours_of_noise_are_cut_near_ten_minutes(total):
    found = cut([0.3] * (total // FRAME_MS), total)
    assert sum(each.end_ms - each.start_ms for each in found) == total
    assert all(abs(each.end_ms - each.start_ms - STRETCH_MS) <= FRAME_MS for each in found[:-1])
    assert found[-1].end_ms - found[-1].start_ms <= STRETCH_MS + SLACK_MS


@settings(deadline=None)
@given(st.integers(31, 45))
def test_a_cut_lies_in_the_middle_of_the_silence(quiet):
    levels = [0.4] * 100
    levels[quiet : quiet + 5] = [0.0] * 5
    (first, *_) = cut(levels, 10_000, target_ms=4000, slack_ms=1000)
    assert first.end_ms == quiet * FRAME_MS + 250


def test_no_sound_has_no_stretch():
    assert cut([], 0) == []


@settings(deadline=None)
@given(SPANS, st.integers(0, 200_000))
def test_the_way_to_the_sitting_and_back_is_the_same_place(spans, at):
    timeline = Timeline(sorted(spans))
    at = min(at, timeline.total_ms)
    assert timeline.audio(timeline.sitting(at)) == at


@settings(deadline=None)
@given(SPANS, st.integers(0, 200_000), st.integers(0, 200_000))
def test_time_never_runs_backwards(spans, one, other):
    """Also where a recorder's clock was set back and segments seem to overlap."""
    timeline = Timeline(spans)
    low, high = sorted((one, other))
    assert timeline.sitting(low) <= timeline.sitting(high)
    assert timeline.audio(low) <= timeline.audio(high)


def test_a_pause_is_in_the_sitting_and_not_in_the_sound():
    timeline = Timeline([(0, 1000), (61_000, 1000)])
    assert timeline.sitting(1500) == 61_500
    assert timeline.audio(30_000) == 1000
    assert timeline.total_ms == 2000


def test_what_ends_where_a_pause_begins_is_over_before_it():
    timeline = Timeline([(0, 1000), (61_000, 1000), (62_000, 500)])
    assert timeline.until(400, 1000) == 1000
    assert timeline.until(400, 1300) == 1000, "nobody speaks on over a pause"
    assert timeline.until(1400, 2300) == 62_300, "two segments without a gap are one sound"
    assert timeline.until(2400, 9000) == 62_500
