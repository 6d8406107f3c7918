"""Runs of transcription in the database: begun, advanced, ended; each change in the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.captions import Sitting, SittingChange
from cloud.database.models.recordings import FloorTurn, Recording, RecordingSegment, Transcript
from cloud.database.models.recordings import TranscriptPiece as PieceRow
from cloud.database.models.transcription import TranscriptionRun, TranscriptionStretch
from cloud.errors import RefusedError
from cloud.recordings import closed
from cloud.recordings.closed import Cut, Shut, Turned
from cloud.recordings.guards import Heard
from cloud.recordings.joining import FloorChange, Piece
from cloud.recordings.stretches import Segment, Stretch
from cloud.recordings.turns import OPEN, RUN, Reason, StretchFacts, Turn, next_turn
from contract.recordings import RECORDING

DRAFTED = "drafted"


def load(database: Session, recording: str, attempt: int) -> TranscriptionRun:
    """A run that exists, for a change."""
    row = database.get(TranscriptionRun, (recording, attempt), with_for_update=True)
    assert row is not None, "a workflow is begun for a run that is stored"
    return row


def newest(database: Session, recording: str) -> TranscriptionRun | None:
    """The last run of a recording."""
    return database.scalar(
        sa.select(TranscriptionRun)
        .where(TranscriptionRun.recording == recording)
        .order_by(TranscriptionRun.attempt.desc())
        .limit(1)
    )


def ask(database: Session, recording: str, now: datetime) -> int:
    """A new run for a recording that is `uploaded` or `drafted`; gives its attempt, which counts from 1.

    Raises:
        RefusedError: there is no such recording, it is in another state, or a run is open.
    """
    row = database.get(Recording, recording, with_for_update=True)
    if row is None:
        raise RefusedError("there is no such recording; choose one from the list")
    last = newest(database, recording)
    if last is not None and last.state in OPEN:
        raise RefusedError("this recording is being transcribed already; wait for the draft")
    if not RECORDING.allows(row.state, "transcribe"):
        raise RefusedError(f"a recording that is {row.state!r} cannot be transcribed; load the page anew")
    attempt = 1 if last is None else last.attempt + 1
    database.add(
        TranscriptionRun(
            recording=recording, attempt=attempt, state=RUN.initial, created_at=now, updated_at=now
        )
    )
    return attempt


def unasked(database: Session, limit: int) -> list[str]:
    """Recordings that are uploaded and that nobody has asked a run for."""
    known = sa.select(TranscriptionRun.recording)
    return list(
        database.scalars(
            sa.select(Recording.recording)
            .where(Recording.state == "uploaded", Recording.recording.not_in(known))
            .order_by(Recording.updated_at)
            .limit(limit)
        )
    )


def open_runs(database: Session) -> list[tuple[str, int]]:
    """Runs that have not ended: recording and attempt."""
    rows = database.execute(
        sa.select(TranscriptionRun.recording, TranscriptionRun.attempt).where(
            TranscriptionRun.state.in_(sorted(OPEN))
        )
    )
    return [(recording, attempt) for recording, attempt in rows]


def turn(database: Session, recording: str, attempt: int) -> Turn:
    """What the run does next."""
    run = database.get(TranscriptionRun, (recording, attempt))
    assert run is not None, "a workflow is begun for a run that is stored"
    facts = [StretchFacts(row.number, row.begun, row.heard is not None) for row in stretches(database, run)]
    return next_turn(run.state, None if run.stretches is None else facts)


def stretches(database: Session, run: TranscriptionRun) -> Sequence[TranscriptionStretch]:
    """Its stretches, in order."""
    return database.scalars(
        sa.select(TranscriptionStretch)
        .where(TranscriptionStretch.recording == run.recording, TranscriptionStretch.attempt == run.attempt)
        .order_by(TranscriptionStretch.number)
    ).all()


def shut(database: Session, session: str) -> list[Shut]:
    """When a sitting was not open to the public."""
    opened_at = database.scalar(sa.select(Sitting.opened_at).where(Sitting.session == session))
    if opened_at is None:
        return closed.shut([])
    rows = database.execute(
        sa.select(SittingChange.at, SittingChange.state)
        .where(SittingChange.session == session)
        .order_by(SittingChange.version)
    )
    return closed.shut(Turned((at - opened_at) / timedelta(milliseconds=1), state) for at, state in rows)


def audible(database: Session, recording: str) -> Cut:
    """What may be heard of a recording."""
    session = database.scalar(sa.select(Recording.session).where(Recording.recording == recording))
    assert session is not None, "a recording is of a sitting"
    return closed.cut(segments(database, recording), shut(database, session))


def segments(database: Session, recording: str) -> list[Segment]:
    """The stored segments, in the order of the sound."""
    rows = database.scalars(
        sa.select(RecordingSegment)
        .where(RecordingSegment.recording == recording)
        .order_by(RecordingSegment.segment)
    )
    return [
        Segment(
            row.segment,
            row.start_ms,
            row.duration_ms,
            row.size,
            row.sha256,
            row.object_key,
            row.early_ms,
            row.late_ms,
        )
        for row in rows
    ]


def floor(database: Session, session: str) -> list[FloorChange]:
    """Who took and gave back the floor of a sitting, as far as it was open."""
    rows = database.scalars(sa.select(FloorTurn).where(FloorTurn.session == session))
    changes = [FloorChange(row.at_ms, row.seat, row.taken) for row in rows]
    return closed.floor_of_the_open(changes, shut(database, session))


def begin(database: Session, run: TranscriptionRun, now: datetime) -> Recording:
    """The run begins, and its recording is being transcribed; again changes nothing."""
    recording = database.get(Recording, run.recording, with_for_update=True)
    assert recording is not None, "a run has a recording"
    if run.state == "queued":
        _move(run, "begin", now)
        _change(recording, "transcribe", now)
    return recording


def plan(database: Session, run: TranscriptionRun, found: Sequence[Stretch], now: datetime) -> None:
    """Write down what is to be heard."""
    for number, each in enumerate(found, 1):
        database.add(
            TranscriptionStretch(
                recording=run.recording,
                attempt=run.attempt,
                number=number,
                start_ms=each.start_ms,
                end_ms=each.end_ms,
            )
        )
    run.stretches, run.updated_at = len(found), now


def as_planned(database: Session, run: TranscriptionRun, sound: Cut, now: datetime) -> bool:
    """Whether the stretches are those of `sound`; if not, they are thrown away, and the run prepares anew.

    What may be heard changes only where a sitting changes after its recording has arrived, or where the run
    was planned by a release that did not cut.
    """
    planned = stretches(database, run)
    if (planned[-1].end_ms if planned else 0) == sound.total_ms:
        return True
    for row in planned:
        database.delete(row)
    run.stretches, run.updated_at = None, now
    database.flush()
    return False


def heard(database: Session, run: TranscriptionRun) -> list[Heard]:
    """Everything that was heard, in ms of the sound."""
    found: list[Heard] = []
    for row in stretches(database, run):
        assert row.heard is not None, "a draft is written when everything was heard"
        found += msgspec.json.decode(row.heard, type=list[Heard])
    return found


def draft(
    database: Session, run: TranscriptionRun, lines: Sequence[Piece], *, model: str, now: datetime
) -> None:
    """The next version of the recording's transcript; the run is done."""
    recording = database.get(Recording, run.recording, with_for_update=True)
    assert recording is not None, "a run has a recording"
    last = database.scalar(
        sa.select(sa.func.max(Transcript.version)).where(Transcript.recording == run.recording)
    )
    transcript = Transcript(
        recording=run.recording,
        version=(last or 0) + 1,
        state=DRAFTED,
        model=model,
        language=recording.lang,
        created_at=now,
    )
    database.add(transcript)
    database.flush()
    for number, line in enumerate(lines, 1):
        database.add(
            PieceRow(
                transcript=transcript.id,
                number=number,
                start_ms=line.start_ms,
                end_ms=line.end_ms,
                seat=line.seat,
                text=line.text,
                confidence=line.confidence,
                marks={"doubts": sorted(line.marks), "words": line.words},
            )
        )
    run.transcript = transcript.id
    _move(run, "finish", now)
    _change(recording, "draft", now)


def end(
    database: Session,
    run: TranscriptionRun,
    event: str,
    reason: Reason,
    *,
    segment: int | None = None,
    now: datetime,
) -> None:
    """The run ends without a draft (`event` is `fail` or `refuse`); a run that has ended stays as it is."""
    if run.state not in OPEN:
        return
    recording = database.get(Recording, run.recording, with_for_update=True)
    assert recording is not None, "a run has a recording"
    _move(run, event, now)
    run.reason, run.segment = reason, segment
    if recording.state == "transcribing":
        _change(recording, "give-up", now)


def _move(run: TranscriptionRun, event: str, now: datetime) -> None:
    run.state, run.updated_at = RUN.apply(run.state, event), now


def _change(recording: Recording, event: str, now: datetime) -> None:
    recording.state = RECORDING.apply(recording.state, event)
    recording.version += 1
    recording.updated_at = now
