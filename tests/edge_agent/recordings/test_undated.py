"""A recorder that starts again in an open sitting records at once, and dates the sound when it can."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.recordings import FloorAction, GapReason, RecorderState
from edge_agent.recordings import messages as m
from edge_agent.recordings.core import OPEN_GUARD_MS, UNDATED_S_MAX
from tests.edge_agent.recordings.worlds import NAME, World, time, told


def recorded(ms: int = 1000, **more: object) -> World:
    """An open sitting of which so much was recorded before the power went."""
    world = World(**more)  # type: ignore[arg-type]  # what a World takes
    world.sitting()
    world.speak(ms)
    return world


def restarted(world: World, floor: bool = False) -> World:
    """The agent starts again; what it knows is that the sitting was open, and no time."""
    again = World(world.disk, world.server, floor=floor)
    again.tell(m.SittingTold(told(), 0, None))
    return again


def placed(world: World) -> list[tuple[int, int, int, int, GapReason]]:
    return [(s.segment, s.start_ms, s.duration_ms, s.gap_before_ms, s.why) for s in world.news[-1].segments]


def test_sound_from_before_the_time_is_known_gets_its_place_when_it_is():
    again = restarted(recorded())
    again.speak(5000)
    again.tell(m.TimeTold(5000, time(95_000, late_ms=1200)))
    again.tell(m.SittingTold(told(), 5000, time(95_000, late_ms=1200)))
    again.speak(1000)
    again.sitting("ended", 2)
    again.settle()
    assert placed(again) == [
        (1, 250, 750, 250, GapReason.LATE),
        (2, 90_250, 2150, 89_250, GapReason.POWER),
        (3, 92_400, 2000, 0, GapReason.NONE),
        (4, 94_400, 1600, 0, GapReason.NONE),
    ], "without a cut where the time was told"
    (gap,) = again.news[-1].gaps
    assert (gap.after, gap.at_ms, gap.lost_ms, gap.why) == (1, 1000, 89_250, GapReason.POWER)
    assert again.news[-1].state is RecorderState.FINISHED
    assert again.disk.files == {}
    assert again.sound_kept() == [*range(250, 1000), *range(250, 6000)]


def test_each_segment_says_how_sure_its_place_is():
    again = restarted(recorded())
    again.speak(4000)
    again.tell(m.TimeTold(4000, time(94_000, late_ms=1200)))
    again.speak(600)
    again.sitting("ended", 2)
    sure = {s.segment: (s.early_ms, s.late_ms) for s in again.news[-1].segments}
    assert sure[1] == (2, 2), "3 s from the moment that was told, at 500 ppm"
    assert sure[2] == (2, 1202)
    assert sure[3] == (1, 1201)


def test_nothing_is_told_or_sent_before_its_date():
    again = restarted(recorded())
    told_before = len(again.news)
    again.speak(5000)
    again.settle()
    assert len(again.news) == told_before
    assert set(again.server.stored) == {(NAME, 1)}, "what was dated goes on its way"
    again.tell(m.TimeTold(5000, time(95_000)))
    again.settle()
    assert set(again.server.stored) == {(NAME, 1), (NAME, 2), (NAME, 3)}


def test_a_closing_that_is_heard_of_first_leaves_dated_sound_and_nothing_more():
    """The time comes with the answer that brings the closing; what was closed is cut out in the cloud."""
    again = restarted(recorded())
    again.speak(3000)
    again.tell(m.TimeTold(3000, time(93_000)))
    again.tell(m.SittingTold(told("closed_to_public", 2), 3000, None))
    again.speak(3000)
    assert again.disk.records[NAME].end_ms == 93_000
    assert again.sound_kept() == [*range(250, 1000), *range(250, 3000)]


@pytest.mark.parametrize("state", ["paused", "closed_to_public", "ended"])
def test_a_sitting_that_was_not_open_is_not_recorded_after_a_restart(state):
    world = recorded()
    world.sitting(state, 2)
    again = World(world.disk, world.server)
    again.tell(m.SittingTold(told(state, 2), 0, None))
    again.speak(2000)
    again.tell(m.TimeTold(2000, time(90_000)))
    again.speak(2000)
    assert again.sound_kept() == list(range(250, 1000))


def test_when_the_power_goes_twice_the_sound_between_lies_in_an_interval():
    middle = restarted(recorded())
    middle.speak(1000)
    last = restarted(middle)
    last.speak(1000)
    last.tell(m.TimeTold(1000, time(600_000, late_ms=1000)))
    last.sitting("ended", 2)
    last.settle()
    first, between, after = last.news[-1].segments
    assert (between.start_ms, between.duration_ms, between.early_ms) == (first.start_ms + 750, 750, 0)
    drift = 1
    assert between.start_ms + between.duration_ms + between.late_ms == 599_000 + 1000 + drift
    assert (after.start_ms, after.gap_before_ms) == (599_250, 599_250 - 1750)
    assert [(gap.at_ms, gap.lost_ms) for gap in last.news[-1].gaps] == [(1000, None), (1750, 597_500)]


def test_a_lost_microphone_before_the_time_is_known_is_a_gap_in_its_place():
    again = restarted(recorded())
    again.speak(1000)
    again.silence(400)
    again.speak(600)
    again.tell(m.TimeTold(2000, time(92_000)))
    again.sitting("ended", 2)
    assert placed(again)[1:] == [
        (2, 90_250, 750, 89_250, GapReason.POWER),
        (3, 91_400, 600, 400, GapReason.MICROPHONE),
    ]
    assert [(gap.at_ms, gap.lost_ms) for gap in again.news[-1].gaps] == [(1000, 89_250), (91_000, 400)]


def test_who_had_the_floor_before_the_time_is_known_is_told_in_its_place():
    again = restarted(recorded(floor=True), floor=True)
    again.tell(m.FloorTold("A1", True, 700))
    again.speak(1000)
    again.tell(m.FloorTold("A1", False, 900))
    assert again.floor == []
    again.tell(m.TimeTold(1000, time(91_000)))
    assert [(each.at_ms, each.action) for each in again.floor] == [
        (90_700, FloorAction.TAKEN),
        (90_900, FloorAction.RELEASED),
    ]
    again.tell(m.FloorTold("B2", True, 1500))
    assert again.floor[-1].at_ms == 91_500


def test_a_sitting_that_ended_while_its_sound_was_undated_ends_when_it_is_dated():
    middle = restarted(recorded())
    middle.speak(500)
    middle.tell(m.SittingTold(told("ended", 2), 500, None))
    middle.settle()
    assert middle.disk.records[NAME].state != "finished"
    last = World(middle.disk, middle.server)
    last.tell(m.SittingTold(told("ended", 2), 0, None))
    last.tell(m.TimeTold(0, time(200_000)))
    last.settle()
    assert last.news[-1].state is RecorderState.FINISHED
    assert last.disk.files == {}


def test_nobody_is_recorded_for_days_on_a_word_that_was_never_renewed():
    again = restarted(recorded())
    limit_ms = UNDATED_S_MAX * 1000
    again.position = limit_ms
    again.speak(1000)
    assert again.notes[-1].event == "recording_undated_too_long"
    assert not again.core.recording


def test_undated_sound_counts_for_the_room_that_it_takes():
    again = restarted(recorded())
    again.speak(5000)
    assert again.core.waiting_bytes >= 2 * (5000 - OPEN_GUARD_MS)
    assert not again.core.full
    again.disk.free = 0
    again.speak(1000)
    assert again.core.full, "and it waits for room like all other sound"
    assert again.sound_kept()[-1] < 6000


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 9000)), min_size=1, max_size=4),
    st.integers(0, 3000),
    st.integers(0, 2000),
)
def test_the_interval_of_each_sample_holds_the_truth(lives, told_after, late):
    """Several starts without a time, then one in which it is told: all was said within its interval."""
    world, truth, now = recorded(), {}, 1000

    def note(began):
        for name, samples in world.disk.files.items():
            truth.setdefault(name, began + samples[0] if samples else None)

    note(0)
    for spoken, away in lives:
        now += away
        world = restarted(world)
        world.speak(spoken)
        note(now)
        now += spoken
    began = now - world.position
    world.speak(told_after)
    note(began)
    at = began + world.position
    world.tell(m.TimeTold(world.position, time(at - late // 2, late_ms=late)))
    world.sitting("ended", 2)
    for entry in world.news[-1].segments:
        said = truth[NAME, entry.segment]
        slack = 1  # of rounding
        assert entry.start_ms - (entry.early_ms or 0) - slack <= said
        assert said <= entry.start_ms + (entry.late_ms or 0) + slack
