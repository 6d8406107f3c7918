"""What recorders say: stored once, in any order, and only of their own hall."""

import pytest
import sqlalchemy as sa

from cloud.database.models.recordings import FloorTurn, RecordingGap
from cloud.errors import MalformedError, RefusedError
from contract.errors import MalformedError as ContractMalformedError
from contract.recordings import (
    FloorAction,
    FloorEvent,
    FloorReporter,
    Gap,
    GapReason,
    RecorderState,
    RecordingNews,
    recording_id,
)
from tests.cloud.recordings.conftest import RECORDING, SESSION, entry_of, sound

ONE, TWO = entry_of(1, sound(1)), entry_of(2, sound(2))


def turn(at_ms=100, seat="12", action=FloorAction.TAKEN, session=SESSION):
    return FloorEvent(
        session=session, at_ms=at_ms, seat=seat, action=action, source=FloorReporter.MICROPHONE_SYSTEM
    )


def test_the_highest_revision_says_the_state_however_late_the_others_come(plane):
    plane.news(1, RecorderState.RECORDING)
    assert plane.recording().state == "recording"
    plane.news(4, RecorderState.FINISHED, ONE, TWO)
    plane.news(3, RecorderState.INTERRUPTED, ONE)
    found = plane.recording()
    assert (found.state, found.revision, found.segments_expected) == ("finished", 4, 2)
    assert [segment.sha256 for segment in plane.segments()] == [ONE.sha256, TWO.sha256]


def test_the_same_news_twice_changes_nothing(plane):
    plane.news(2, RecorderState.FINISHED, ONE)
    before = plane.recording().version
    plane.news(2, RecorderState.FINISHED, ONE)
    assert plane.recording().version == before
    assert len(plane.segments()) == 1


def test_a_segment_never_gets_another_digest(plane):
    plane.news(1, RecorderState.INTERRUPTED, ONE)
    with pytest.raises(MalformedError, match="never changes"):
        plane.news(2, RecorderState.FINISHED, entry_of(1, sound(7)), TWO)
    assert [segment.segment for segment in plane.segments()] == [1]
    assert plane.recording().state == "interrupted"


def test_nothing_recorded_is_a_failure_that_says_so(plane):
    plane.news(1, RecorderState.FINISHED)
    found = plane.recording()
    assert (found.state, found.failure) == ("failed", "empty")


def test_a_loss_gets_its_length_later(plane):
    def told(revision, lost_ms):
        plane.tell(
            "recordings",
            RecordingNews(
                recording=RECORDING,
                session=SESSION,
                channel="floor",
                lang="en",
                state=RecorderState.INTERRUPTED,
                revision=revision,
                segment_count=0,
                gaps=[Gap(after=0, at_ms=5, lost_ms=lost_ms, why=GapReason.MICROPHONE)],
            ),
            recording=RECORDING,
        )

    told(1, None)
    told(2, 4000)
    told(3, None)
    with plane.sessions() as session:
        assert [gap.lost_ms for gap in session.scalars(sa.select(RecordingGap))] == [4000]


def test_only_the_hall_of_the_sitting_may_tell_of_it(plane):
    other = RecordingNews(
        recording=recording_id("unknown", "floor"),
        session="unknown",
        channel="floor",
        lang="en",
        state=RecorderState.RECORDING,
        revision=1,
        segment_count=0,
    )
    with pytest.raises(RefusedError, match="no such sitting"):
        plane.tell("recordings", other, recording=other.recording)
    with pytest.raises(RefusedError, match="no such sitting"):
        plane.tell("floor", turn(), device="hall-02", session=SESSION)
    with pytest.raises(MalformedError, match="another recording than its topic"):
        plane.tell("recordings", other, recording=RECORDING)
    with pytest.raises(MalformedError, match="another sitting than its topic"):
        plane.tell("floor", turn(), session="unknown")


@pytest.mark.parametrize("bad", [turn(seat=""), turn(seat="Ana Krasniqi"), turn(at_ms=-1)])
def test_a_floor_event_is_an_id_at_a_position(plane, bad):
    with pytest.raises(ContractMalformedError):
        plane.tell("floor", bad, session=SESSION)


def test_floor_events_are_stored_once(plane):
    for event in (turn(), turn(), turn(at_ms=200, action=FloorAction.RELEASED), turn(seat="3")):
        plane.tell("floor", event, session=SESSION)
    with plane.sessions() as session:
        found = session.scalars(sa.select(FloorTurn).order_by(FloorTurn.at_ms, FloorTurn.seat)).all()
    assert [(row.seat, row.at_ms, row.taken) for row in found] == [
        ("12", 100, True),
        ("3", 100, True),
        ("12", 200, False),
    ]
