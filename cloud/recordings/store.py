"""Recordings in the database: what recorders announce, what is stored, and where each recording stands.

Every function works in the caller's transaction.
"""

from datetime import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.captions import Sitting
from cloud.database.models.recordings import (
    FloorTurn,
    Recording,
    RecordingGap,
    RecordingSegment,
    RecordingUpload,
)
from cloud.errors import MalformedError, RefusedError
from cloud.recordings import core
from contract.recordings import RECORDING, FloorAction, FloorEvent, Gap, SegmentEntry, recording_id

UNSETTLED = ("finished", "uploading")
"""States in which a crash may have left a recording that could go further."""


def hall_of(session: Session, device: str, sitting: str, channel: str | None) -> Sitting:
    """The sitting that `device` may record; `channel` None is any.

    Raises:
        RefusedError: there is none, or it is in another hall; the same sentence for both.
    """
    row = session.get(Sitting, sitting)
    if row is None or row.device != device or channel not in (None, row.channel) or row.opened_at is None:
        raise RefusedError("this device has no such sitting to record")
    return row


def open_recording(session: Session, sitting: Sitting, lang: str, now: datetime) -> Recording:
    """The recording of a sitting's channel; made at its first mention."""
    name = recording_id(sitting.session, sitting.channel)
    row = session.get(Recording, name, with_for_update=True)
    if row is None:
        row = Recording(
            recording=name,
            session=sitting.session,
            channel=sitting.channel,
            device=sitting.device,
            lang=lang[:16],
            state=RECORDING.initial,
            version=0,
            revision=0,
            failure="",
            created_at=now,
            updated_at=now,
        )
        session.add(row)
        session.flush()
    return row


def announce(session: Session, recording: str, entry: SegmentEntry) -> RecordingSegment:
    """Note a segment; the same again is harmless.

    Raises:
        MalformedError: it was announced with another size or digest.
    """
    row = session.get(RecordingSegment, (recording, entry.segment))
    if row is None:
        row = RecordingSegment(
            recording=recording,
            segment=entry.segment,
            start_ms=entry.start_ms,
            duration_ms=entry.duration_ms,
            rate_hz=entry.rate_hz,
            size=entry.size,
            sha256=entry.sha256,
            gap_before_ms=entry.gap_before_ms,
            why=entry.why.value,
            early_ms=None if entry.early_ms is msgspec.UNSET else entry.early_ms,
            late_ms=None if entry.late_ms is msgspec.UNSET else entry.late_ms,
            object_key="",
            corrupted=0,
        )
        session.add(row)
        session.flush()
    elif (row.size, row.sha256) != (entry.size, entry.sha256):
        raise MalformedError(
            f"segment {entry.segment} was announced with {row.size} bytes and another digest; "
            "a closed segment never changes"
        )
    return row


def note_gap(session: Session, recording: str, gap: Gap) -> None:
    """Note a loss; one that lasted still may get its length later."""
    row = session.get(RecordingGap, (recording, gap.after, gap.at_ms))
    if row is None:
        session.add(
            RecordingGap(
                recording=recording, after=gap.after, at_ms=gap.at_ms, lost_ms=gap.lost_ms, why=gap.why.value
            )
        )
        session.flush()
    elif row.lost_ms is None:
        row.lost_ms = gap.lost_ms


def note_floor(session: Session, device: str, event: FloorEvent, now: datetime) -> bool:
    """Note a floor event; False if it was there already."""
    taken = event.action is FloorAction.TAKEN
    if session.get(FloorTurn, (event.session, event.at_ms, event.seat, taken)) is not None:
        return False
    session.add(
        FloorTurn(
            session=event.session,
            at_ms=event.at_ms,
            seat=event.seat,
            taken=taken,
            device=device,
            source=event.source.value,
            received_at=now,
        )
    )
    return True


def put(row: Recording, standing: core.Standing, now: datetime) -> bool:
    """Write where a recording stands; False if it stands there already."""
    if (row.state, row.failure) == (standing.state, standing.failure):
        return False
    row.state, row.failure = standing.state, standing.failure
    row.version += 1
    row.updated_at = now
    return True


def settle(session: Session, row: Recording, now: datetime) -> bool:
    """Bring a recording as far as it can go by itself; True if it became `uploaded` just now."""
    session.flush()
    of = RecordingSegment.recording == row.recording
    stored = session.scalar(
        sa.select(sa.func.count())
        .select_from(RecordingSegment)
        .where(of, RecordingSegment.stored_at.is_not(None))
    )
    corrupted = session.scalar(
        sa.select(sa.func.max(RecordingSegment.corrupted)).where(of, RecordingSegment.stored_at.is_(None))
    )
    counts = core.Counts(expected=row.segments_expected, stored=stored or 0, corrupted=corrupted or 0)
    settled = core.settle(core.Standing(row.state, row.failure), counts)
    return put(row, settled, now) and row.state == "uploaded"


def uploads_of(session: Session, device: str) -> int:
    """How many uploads of a device are open."""
    count = sa.select(sa.func.count()).select_from(RecordingUpload).where(RecordingUpload.device == device)
    return session.scalar(count) or 0
