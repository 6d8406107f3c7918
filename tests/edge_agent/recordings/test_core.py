"""What is recorded, told, uploaded and deleted; on a disk and a server that a test holds in its hands."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import recordings as contract
from contract.captions import SITTING
from contract.recordings import (
    LISTED_MAX,
    FloorAction,
    GapReason,
    RecorderState,
    UploadProblem,
    recording_id,
)
from edge_agent.recordings import messages as m
from edge_agent.recordings.core import OPEN_GUARD_MS, RECORDS_KEPT
from edge_agent.recordings.records import Kept
from edge_agent.recordings.uploading import CHUNK_BYTES, CORRUPTED_MAX
from tests.edge_agent.recordings.worlds import LIMITS, NAME, OPENED_AT, World, time, told


def open_world(**more):
    world = World(**more)
    world.sitting()
    return world


def check_news(news):
    """The contract's own check, but for the rate: a sample is a millisecond here."""
    entries = [msgspec.structs.replace(entry, rate_hz=48_000) for entry in news.segments]
    contract.check_news(msgspec.structs.replace(news, segments=entries))


def segments(world):
    return [(s.segment, s.start_ms, s.duration_ms, s.gap_before_ms, s.why) for s in world.news[-1].segments]


def test_a_sitting_is_recorded_in_segments_without_a_gap():
    world = open_world()
    world.speak(5000)
    world.sitting("ended", 2)
    world.settle()
    news = world.news[-1]
    assert (news.state, news.segment_count, news.gaps) == (RecorderState.FINISHED, 3, [])
    assert segments(world) == [
        (1, 250, 2150, 250, GapReason.LATE),
        (2, 2400, 2000, 0, GapReason.NONE),
        (3, 4400, 600, 0, GapReason.NONE),
    ]
    assert world.sound_kept() == list(range(OPEN_GUARD_MS, 5000))
    assert world.disk.files == {}
    assert world.disk.records[NAME].done


@pytest.mark.parametrize("state", [state for state in SITTING.states if state != "open"])
def test_nothing_is_recorded_before_and_while_a_sitting_is_not_open(state):
    world = World()
    world.speak(1000)
    world.sitting(state)
    world.speak(1000)
    assert world.disk.files == {}
    assert not world.core.recording


@pytest.mark.parametrize("state", ["paused", "closed_to_public"])
def test_the_sound_of_a_closed_part_is_nowhere(state):
    world = open_world()
    world.speak(1000)
    closing = world.position
    world.speak(400)  # it is heard before the recorder gets to the word that closes
    world.tell(m.SittingTold(told(state, 2), closing, None))
    world.speak(3000)
    reopened = world.position
    world.sitting("open", 3)
    world.speak(1000)
    world.sitting("ended", 4)
    world.settle()
    kept = world.sound_kept()
    assert kept == [*range(OPEN_GUARD_MS, closing), *range(reopened + OPEN_GUARD_MS, world.position)]
    assert segments(world)[1][3:] == (reopened + OPEN_GUARD_MS - closing, GapReason.PAUSED)
    assert world.news[-1].gaps == []


@pytest.mark.parametrize("state", ["paused", "closed_to_public", "ended"])
def test_who_hears_late_of_a_closing_keeps_nothing_that_was_certainly_said_after_it(state):
    world = World()
    world.tell(m.SittingTold(told(), 0, time(0, late_ms=300)))
    world.speak(1500)
    early_ms = 2  # 500 ppm of a whole segment and a block
    change = msgspec.structs.replace(told(state, 2), changed_at=OPENED_AT + 1000)
    world.tell(m.SittingTold(change, world.position, None))
    world.speak(500)
    assert world.sound_kept() == list(range(OPEN_GUARD_MS, 1000 + early_ms))
    assert world.disk.records[NAME].end_ms == 1000 + early_ms


def test_a_segment_that_began_after_the_closing_is_not_kept_at_all():
    world = open_world()
    world.speak(2300)  # that is the first segment
    world.speak(1000)
    change = msgspec.structs.replace(told("closed_to_public", 2), changed_at=OPENED_AT + 500)
    world.tell(m.SittingTold(change, world.position, None))
    assert world.sound_kept() == list(range(OPEN_GUARD_MS, 2300)), "what is whole is the cloud's to cut"
    assert world.news[-1].segment_count == 1


def test_a_lost_microphone_is_a_gap_and_the_next_segment():
    world = open_world()
    world.speak(1000)
    world.silence(4000)
    assert world.news[-1].state is RecorderState.INTERRUPTED
    assert world.news[-1].gaps[-1].lost_ms is None
    world.speak(500)
    world.sitting("ended", 2)
    assert segments(world)[1] == (2, 5000, 500, 4000, GapReason.MICROPHONE)
    assert [(g.after, g.at_ms, g.lost_ms, g.why) for g in world.news[-1].gaps] == [
        (1, 1000, 4000, GapReason.MICROPHONE)
    ]


def test_sound_that_does_not_follow_on_is_a_new_segment():
    world = open_world()
    world.speak(1000)
    world.position += 700
    world.speak(200)
    world.sitting("ended", 2)
    assert segments(world)[1] == (2, 1700, 200, 700, GapReason.MICROPHONE)


def test_a_microphone_that_is_away_at_the_opening_is_a_loss_from_the_beginning():
    world = World()
    world.silence(100)
    world.sitting()
    world.silence(3000)
    world.speak(400)
    assert world.news[-1].gaps[0].after == 0
    assert world.news[-1].gaps[0].lost_ms == 3100 - 100 - OPEN_GUARD_MS


@pytest.mark.parametrize("unsynced", [0, 1, 150])
def test_after_a_power_cut_the_tail_is_a_gap_and_recording_goes_on(unsynced):
    world = open_world()
    world.speak(1000)
    kept = 1000 - unsynced
    again = world.crash(unsynced=unsynced)
    again.position = 9000
    again.tell(m.SittingTold(told(), 0, time(9000)))
    again.position = 0
    again.speak(600)
    again.sitting("ended", 2)
    assert segments(again)[0][2] == kept - OPEN_GUARD_MS
    assert segments(again)[1][:2] == (2, 9000 + OPEN_GUARD_MS)
    gap = again.news[-1].gaps[0]
    assert (gap.at_ms, gap.lost_ms, gap.why) == (kept, 9250 - kept, GapReason.POWER)


def test_an_end_in_order_loses_nothing_and_says_restart():
    world = open_world()
    world.speak(1000)
    world.tell(m.Stopping())
    assert world.news[-1].gaps[-1].why is GapReason.RESTART
    assert world.disk.records[NAME].segments[0].kept is Kept.CLOSED


def test_an_end_that_is_told_to_a_started_agent_finishes_what_was_cut_off():
    world = open_world()
    world.speak(1000)
    again = world.crash()
    again.sitting("ended", 2)
    assert again.news[-1].state is RecorderState.FINISHED
    again.sitting("ended", 2)
    again.settle()
    assert len([news for news in again.news if news.state is RecorderState.FINISHED]) == 1


def test_a_sitting_that_nothing_was_heard_of_finishes_empty():
    world = World()
    world.sitting("ended", 2)
    assert (world.news[-1].state, world.news[-1].segment_count) == (RecorderState.FINISHED, 0)


def test_another_sitting_takes_the_microphone_and_both_are_kept():
    world = open_world()
    world.speak(1000)
    world.sitting(session="s2")
    world.speak(1000)
    world.sitting("ended", 2, session="s1")
    world.speak(500)
    world.sitting("ended", 2, session="s2")
    world.settle()
    assert len(world.sound_kept()) == 1000 - OPEN_GUARD_MS
    assert len(world.sound_kept(recording_id("s2", "floor"))) == 1500 - OPEN_GUARD_MS
    assert {news.recording: news.state for news in world.news} == {
        NAME: RecorderState.FINISHED,
        recording_id("s2", "floor"): RecorderState.FINISHED,
    }


# The disk


def test_a_full_disk_stops_recording_keeps_what_there_is_and_goes_on():
    world = open_world()
    world.server.away = True
    world.speak(1000)
    world.disk.free = LIMITS.free_bytes_min - 1
    world.speak(1000)
    assert world.core.full
    assert world.news[-1].gaps[-1].why is GapReason.DISK
    before = dict(world.disk.files)
    world.speak(3000)
    assert world.disk.files == before
    world.disk.free = 10**12
    world.now += 100
    world.tell(m.TimePassed())
    assert not world.core.full
    world.speak(400)
    world.server.away = False
    world.sitting("ended", 2)
    world.settle()
    assert world.news[-1].gaps[0].lost_ms == segments(world)[1][3]
    assert [note.event for note in world.notes if "recording_" in note.event][:2] == [
        "recording_full",
        "recording_has_room",
    ]


def test_the_bound_on_what_waits_is_kept_and_the_upload_makes_room():
    limits = replace(LIMITS, bytes_max=100_000)
    world = World(limits=limits)
    world.server.away = True
    world.sitting()
    for _ in range(60):
        world.speak(1000)
        assert world.core.waiting_bytes <= limits.bytes_max + 4000
    assert world.core.full
    assert sum(len(file) for file in world.disk.files.values()) * 2 <= limits.bytes_max + 4000
    world.server.away = False
    world.settle()
    assert not world.core.full
    world.speak(1000)
    assert world.core.recording


def test_a_disk_that_fails_in_the_middle_loses_only_what_it_did_not_take():
    world = open_world()
    world.speak(1000)
    world.disk.full = True
    world.speak(1000)
    assert world.core.full
    assert not world.core.recording
    assert len(world.sound_kept()) == 750
    world.disk.full = False
    world.settle()
    world.speak(1000)
    world.sitting("ended", 2)
    world.settle()
    assert len(world.sound_kept()) == 1750
    check_news(world.news[-1])
    assert world.news[-1].state is RecorderState.FINISHED


# News and uploads


def test_news_that_the_outbox_refused_come_again_with_all_that_happened_since():
    world = open_world()
    world.outbox_full = True
    world.speak(2500)
    assert world.news == []
    world.outbox_full = False
    world.sitting("ended", 2)
    world.settle()
    assert world.news[-1].segment_count == 2
    assert world.disk.records[NAME].done


def test_news_that_were_not_taken_before_a_crash_are_told_after_it():
    world = open_world()
    world.speak(2500)
    world.outbox_full = True
    world.sitting("ended", 2)
    again = world.crash()
    assert again.news[-1].state is RecorderState.FINISHED


def test_a_file_goes_only_after_the_server_has_told_its_digest():
    world = open_world()
    world.speak(2300)
    name = (NAME, 1)
    while not isinstance(world.asking, m.AskStored):
        assert name in world.disk.files
        assert world.answer()
    assert name in world.disk.files
    world.server.stored[name] = [1, 2, 3]
    world.answer()
    assert name in world.disk.files
    assert world.notes[-1].event == "upload_refused"


def test_an_upload_goes_on_where_the_server_is():
    world = open_world()
    world.server.has = 1000
    world.speak(2300)
    world.answer()
    asked = world.asking
    assert isinstance(asked, m.SendChunk)
    assert (asked.offset, asked.length) == (1000, 2050 * 2 + 44 - 1000)


def test_what_is_whole_on_the_server_is_only_finished():
    world = open_world()
    world.server.has = 2050 * 2 + 44
    world.speak(2300)
    world.answer()
    asked = world.asking
    assert isinstance(asked, m.SendChunk)
    assert asked.length == 0


def test_a_server_that_is_away_is_asked_ever_less_often():
    world = open_world()
    world.server.away = True
    world.speak(2300)
    waits = []
    for _ in range(12):
        world.answer()
        deadline = world.core.deadline()
        waits.append(deadline - world.now)
        world.now = deadline
        world.tell(m.TimePassed())
    assert max(waits) > 30
    assert max(waits[:3]) <= 4
    assert all(wait <= 300 for wait in waits)


def test_a_segment_that_always_comes_corrupted_is_left_alone_and_the_others_go_on():
    world = open_world()
    world.speak(2600)
    world.server.refuse.extend([None, UploadProblem.CORRUPT] * CORRUPTED_MAX)
    world.sitting("ended", 2)
    world.settle()
    assert set(world.disk.files) == {(NAME, 1)}
    assert set(world.server.stored) == {(NAME, 2)}
    again = world.crash()  # another start tries it again
    again.settle()
    assert again.disk.files == {}


@pytest.mark.parametrize("problem", [UploadProblem.GONE, UploadProblem.OFFSET])
def test_both_sides_find_together_again_at_once(problem):
    world = open_world()
    world.server.refuse.extend([None, problem])
    world.speak(2300)
    world.answer()
    world.answer()
    assert isinstance(world.asking, m.BeginUpload)
    world.server.refuse.extend([problem] * 20)
    world.settle()
    assert (NAME, 1) in world.server.stored


def test_a_refused_segment_does_not_stop_the_others():
    world = open_world()
    world.speak(2600)
    world.server.refuse.append(UploadProblem.NOT_YOURS)
    world.sitting("ended", 2)
    while world.answer():
        pass
    assert set(world.server.stored) == {(NAME, 2)}
    world.settle()
    assert world.disk.files == {}


def test_what_the_server_has_already_is_deleted():
    world = open_world()
    world.speak(2300)
    world.server.stored[NAME, 1] = world.disk.files[NAME, 1]
    world.answer()
    assert isinstance(world.asking, m.AskStored)
    world.answer()
    assert (NAME, 1) not in world.disk.files


def test_uploads_keep_to_their_rate():
    rate = 500_000
    limits = replace(LIMITS, segment_s=1000.0, upload_bytes_per_s=rate)
    world = open_world(limits=limits)
    world.tell(m.Sound(0, 2_000_000))
    world.position = 2_000_000
    began = world.now
    size = (2_000_000 - OPEN_GUARD_MS) * 2 + 44
    while (NAME, 1) not in world.server.stored:
        if isinstance(world.asking, m.SendChunk):
            assert world.asking.length <= rate * 2
        if not world.answer():
            world.now = world.core.deadline()
            world.tell(m.TimePassed())
    assert size / rate - 2 <= world.now - began <= size / rate
    assert rate * 2 < CHUNK_BYTES


def test_what_is_done_with_is_forgotten_at_last():
    world = World()
    for number in range(RECORDS_KEPT + 5):
        world.sitting(session=f"s{number}")
        world.speak(400)
        world.sitting("ended", 2, session=f"s{number}")
        world.settle()
    assert len(world.disk.records) == RECORDS_KEPT
    assert world.disk.files == {}


def test_news_are_bounded():
    world = open_world()
    for _ in range(LISTED_MAX + 20):
        world.speak(100)
        world.silence(10)
    news = world.news[-1]
    check_news(news)
    assert len(news.segments) == len(news.gaps) == LISTED_MAX
    assert news.segment_count == len(world.disk.records[NAME].segments) > LISTED_MAX


# The floor


def floor_world():
    world = World(floor=True)
    assert m.StartFloor() in world.steps
    return world


def test_the_floor_is_told_in_step_with_the_sound_and_only_while_the_sitting_is_open():
    world = floor_world()
    world.tell(m.FloorTold("1", True, 0))
    world.sitting()
    world.speak(1000)
    world.tell(m.FloorTold("1", False, 900))
    world.tell(m.FloorTold("2", True, 950))
    world.tell(m.FloorTold("2", True, 960))
    world.sitting("closed_to_public", 2)
    world.tell(m.FloorTold("2", False, 1200))
    world.tell(m.FloorTold("3", True, 1300))
    world.speak(1000)
    world.sitting("open", 3)
    assert [(event.seat, event.action, event.at_ms) for event in world.floor] == [
        ("1", FloorAction.TAKEN, OPEN_GUARD_MS),
        ("1", FloorAction.RELEASED, 900),
        ("2", FloorAction.TAKEN, 950),
        ("2", FloorAction.RELEASED, 1000),
        ("3", FloorAction.TAKEN, 2000 + OPEN_GUARD_MS),
    ]


def test_a_floor_command_that_ends_is_started_again_and_nobody_has_the_floor():
    world = floor_world()
    world.sitting()
    world.tell(m.FloorTold("1", True, 300))
    world.tell(m.FloorLost("ended", 400))
    assert [event.action for event in world.floor] == [FloorAction.TAKEN, FloorAction.RELEASED]
    before = world.steps.count(m.StartFloor())
    world.now = world.core.deadline()
    world.tell(m.TimePassed())
    assert world.steps.count(m.StartFloor()) == before + 1


def test_floor_events_that_the_outbox_refused_come_again_in_order():
    world = floor_world()
    world.sitting()
    world.outbox_full = True
    world.tell(m.FloorTold("1", True, 300))
    world.tell(m.FloorTold("1", False, 400))
    assert world.floor == []
    world.outbox_full = False
    world.settle()
    assert [event.at_ms for event in world.floor] == [300, 400]


def test_a_seat_that_is_no_id_is_refused():
    world = floor_world()
    world.sitting()
    world.tell(m.FloorTold("Ana Krasniqi", True, 300))
    assert world.floor == []
    for _ in range(99):
        world.tell(m.FloorNonsense("no JSON"))
    refused = [note.details["count"] for note in world.notes if note.event == "floor_line_refused"]
    assert refused == ["1", "2", "4", "8", "16", "32", "64"]


# Everything at once

STEPS = st.one_of(
    st.tuples(st.just("speak"), st.integers(1, 3000)),
    st.tuples(st.just("silence"), st.integers(1, 3000)),
    st.tuples(st.just("crash"), st.integers(0, 300)),
    st.tuples(st.just("sitting"), st.sampled_from(["open", "paused", "closed_to_public"])),
    st.tuples(st.just("full"), st.booleans()),
    st.tuples(st.just("outbox"), st.booleans()),
    st.tuples(st.just("away"), st.booleans()),
    st.tuples(st.just("answer"), st.integers(1, 6)),
    st.tuples(st.just("wait"), st.integers(1, 400)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_whatever_happens_nothing_is_lost_but_what_is_told(steps):
    """After it all: what the server has is what was heard while the sitting was open, in order, without
    anything of a closed part; and what is missing of it is in the gaps.
    """
    world = World()
    version, opened, expected, guarded = 1, False, set(), set()
    epoch = 0  # positions begin anew with each start of the agent; sound is known by its true time

    def sitting(state):
        nonlocal version
        version += 1
        told_at = world.position
        if state == "open" and world.core._sitting is None:
            guarded.update(range(epoch + told_at, epoch + told_at + OPEN_GUARD_MS))
        world.tell(m.SittingTold(told(state, version), told_at, time(epoch + told_at)))

    for step, value in steps:
        match step:
            case "speak":
                before = world.position
                world.speak(value)
                if opened:
                    expected |= set(range(epoch + before, epoch + world.position))
            case "silence":
                world.silence(value)
            case "crash":
                # That sound was lost could not be written down either, or was not yet: a full disk that has
                # room again is looked at some seconds later.
                if world.disk.full or world.core.full:
                    guarded |= expected
                epoch += world.position + 1000
                world = world.crash(unsynced=value)
                sitting_again = "open" if opened else None
                if sitting_again:
                    sitting(sitting_again)
            case "sitting":
                opened = value == "open"
                sitting(value)
            case "full":
                world.disk.full = value
            case "outbox":
                world.outbox_full = value
            case "away":
                world.server.away = value
            case "answer":
                for _ in range(value):
                    world.answer()
            case "wait":
                world.now += value
                world.tell(m.TimePassed())
    world.disk.full = world.outbox_full = world.server.away = False
    world.settle()
    sitting("ended")
    world.settle()
    account(world, expected, guarded, epoch + world.position)


def account(world, expected, guarded, now_ms):
    """Hold what the server has and what was told against what was heard."""
    news = world.news[-1]
    check_news(news)
    assert news.state is RecorderState.FINISHED
    assert world.disk.files == {}
    assert {name[1] for name in world.server.stored} == {entry.segment for entry in news.segments}
    assert [entry.segment for entry in news.segments] == list(range(1, news.segment_count + 1))
    end, kept = 0, set()
    for entry in news.segments:
        assert entry.start_ms == end + entry.gap_before_ms
        end = entry.start_ms + entry.duration_ms
        times = set(range(entry.start_ms, end))
        assert times <= expected, "sound of a closed part, or sound that was never heard"
        kept |= times
    gone = set()
    for gap in news.gaps:
        end = now_ms if gap.lost_ms is None else gap.at_ms + gap.lost_ms
        gone |= set(range(gap.at_ms, end))
    assert expected - kept - guarded <= gone, "sound was lost and nobody says so"
    lost = {gap.after for gap in news.gaps}
    for entry in news.segments:
        if entry.gap_before_ms and entry.why not in (GapReason.LATE, GapReason.PAUSED):
            assert entry.segment - 1 in lost
