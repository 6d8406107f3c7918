"""What the pages and the downloads show of recordings and their drafts."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.assembly import Seat
from cloud.database.models.captions import Sitting
from cloud.database.models.recordings import Recording, Transcript, TranscriptPiece
from cloud.database.models.transcription import TranscriptionRun
from cloud.recordings import runs
from cloud.recordings.closed import FOR_EVER_MS
from cloud.recordings.joining import Speaking, speaking
from cloud.recordings.stretches import Timeline
from cloud.recordings.turns import OPEN
from cloud.recordings.webvtt import Cue
from contract.recordings import RECORDING

LISTED_MAX = 100
CSV_COLUMNS = ("recording", "opened_at", "seat", "name", "group", "role", "spoken_s", "turns", "words")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would calculate what begins so."""


@dataclass(frozen=True)
class Entry:
    """One recording in the list."""

    recording: Recording
    sitting: Sitting
    run: TranscriptionRun | None


@dataclass(frozen=True)
class Progress:
    """How far a run is: `heard` of `stretches` parts, None while that is not known."""

    run: TranscriptionRun | None
    heard: int

    @property
    def open(self) -> bool:
        """Whether the run goes on."""
        return self.run is not None and self.run.state in OPEN


@dataclass(frozen=True)
class Line:
    """One line of a draft: when it was said, where in the sound it is, who said it."""

    at: datetime
    start_ms: int
    end_ms: int
    seat: str | None
    member: Seat | None
    turn: bool
    text: str
    doubts: Sequence[str]


@dataclass(frozen=True)
class ClosedPart:
    """A time in which the public was excluded; `until` is None while it lasts."""

    at: datetime
    until: datetime | None


@dataclass(frozen=True)
class Spoken:
    """How long somebody spoke."""

    seat: str | None
    member: Seat | None
    figures: Speaking

    @property
    def role(self) -> str:
        """`chair`, `member`, or `unknown`."""
        if self.seat is None:
            return "unknown"
        return "chair" if self.member is not None and self.member.chair else "member"


@dataclass(frozen=True)
class Draft:
    """The newest transcript of a recording, without what may have been said in closed parts and breaks."""

    transcript: Transcript
    lines: Sequence[Line]
    closed: Sequence[ClosedPart]
    spoken: Sequence[Spoken]

    @property
    def told(self) -> list[Line | ClosedPart]:
        """Lines and closed parts in the order in which they happened."""
        found: list[Line | ClosedPart] = [*self.closed, *self.lines]
        return sorted(found, key=lambda each: each.at)


def listed(database: Session) -> list[Entry]:
    """The newest recordings, the newest first."""
    rows = database.execute(
        sa.select(Recording, Sitting)
        .join(Sitting, Sitting.session == Recording.session)
        .order_by(Recording.created_at.desc(), Recording.recording)
        .limit(LISTED_MAX)
    ).all()
    return [
        Entry(recording, sitting, runs.newest(database, recording.recording)) for recording, sitting in rows
    ]


def find(database: Session, recording: str) -> tuple[Recording, Sitting] | None:
    """A recording and its sitting; None where there is none."""
    row = database.get(Recording, recording)
    sitting = database.get(Sitting, row.session) if row is not None else None
    return (row, sitting) if row is not None and sitting is not None else None


def progress(database: Session, recording: str) -> Progress:
    """How far the newest run is."""
    run = runs.newest(database, recording)
    heard = sum(row.heard is not None for row in runs.stretches(database, run)) if run is not None else 0
    return Progress(run, heard)


def may_ask(recording: Recording, state: Progress) -> bool:
    """Whether a person may ask for another run now."""
    return RECORDING.allows(recording.state, "transcribe") and not state.open


def draft(database: Session, recording: Recording, opened_at: datetime) -> Draft | None:
    """The newest transcript with its speakers; None where there is none yet.

    Its lines are cut once more, because a draft that an older release wrote holds all that was recorded.
    """
    transcript = database.scalar(
        sa.select(Transcript)
        .where(Transcript.recording == recording.recording)
        .order_by(Transcript.version.desc())
        .limit(1)
    )
    if transcript is None:
        return None
    rows = database.scalars(
        sa.select(TranscriptPiece)
        .where(TranscriptPiece.transcript == transcript.id)
        .order_by(TranscriptPiece.number)
    ).all()
    members = roster(database, recording.device)
    sound = runs.audible(database, recording.recording)
    rows = [row for row in rows if sound.shows(row.start_ms, row.end_ms)]
    lines = _lines(rows, members, Timeline(sound.spans), opened_at)
    figures = speaking([(row.seat, row.start_ms, row.end_ms, int(row.marks["words"])) for row in rows])
    spoken = [Spoken(each.seat, members.get(each.seat or ""), each) for each in figures]
    return Draft(transcript, lines, closed_parts(database, recording.session, opened_at), spoken)


def closed_parts(database: Session, session: str, opened_at: datetime) -> list[ClosedPart]:
    """When the public was excluded from a sitting, in order."""

    def moment(ms: int) -> datetime | None:
        return opened_at + timedelta(milliseconds=ms) if ms < FOR_EVER_MS else None

    return [
        ClosedPart(opened_at + timedelta(milliseconds=each.begin_ms), moment(each.end_ms))
        for each in runs.shut(database, session)
        if each.closed
    ]


def roster(database: Session, device: str) -> Mapping[str, Seat]:
    """Who sits where in the hall of `device`, by seat."""
    return {row.seat: row for row in database.scalars(sa.select(Seat).where(Seat.device == device))}


def _lines(
    rows: Sequence[TranscriptPiece], members: Mapping[str, Seat], timeline: Timeline, opened_at: datetime
) -> list[Line]:
    lines: list[Line] = []
    for row in rows:
        lines.append(
            Line(
                at=opened_at + timedelta(milliseconds=row.start_ms),
                start_ms=timeline.audio(row.start_ms),
                end_ms=timeline.audio(row.end_ms),
                seat=row.seat,
                member=members.get(row.seat or ""),
                turn=not lines or lines[-1].seat != row.seat,
                text=row.text,
                doubts=list(row.marks["doubts"]),
            )
        )
    return lines


def cues(lines: Sequence[Line]) -> list[Cue]:
    """The lines for WebVTT; who is not in the roster is named by the seat."""
    return [
        Cue(line.start_ms, line.end_ms, line.member.name if line.member else line.seat or "", line.text)
        for line in lines
    ]


def speaking_csv(found: Draft, opened_at: datetime) -> str:
    """Speaking times as CSV (RFC 4180): ISO moments, decimal points, seconds; the chair by its role."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_COLUMNS)
    for each in found.spoken:
        name, group = (each.member.name, each.member.group) if each.member else ("", "")
        writer.writerow(
            [
                found.transcript.recording,
                opened_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
                each.seat or "",
                _plain(name),
                _plain(group),
                each.role,
                f"{each.figures.spoken_ms / 1000:.3f}",
                each.figures.turns,
                each.figures.words,
            ]
        )
    return out.getvalue()


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
