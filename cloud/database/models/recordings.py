"""Recordings and their segments, who had the floor, and the transcripts that are made of them."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base


class Recording(Base):
    """One channel of one sitting; `state` is one of `contract.recordings.RECORDING`.

    `version` grows with each change of state, for whoever changes it (compare and set). `revision` is that of
    the recorder's newest news, and `segments_expected` is known once it has finished. `failure` is a code
    (`empty`, `corrupt`), '' where nothing failed.
    """

    __tablename__ = "recordings"
    __table_args__ = (sa.UniqueConstraint("session", "channel"),)

    recording: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    session: Mapped[str] = mapped_column(sa.ForeignKey("sittings.session"))
    channel: Mapped[str] = mapped_column(sa.String(64))
    device: Mapped[str] = mapped_column(sa.String(63), index=True)
    lang: Mapped[str] = mapped_column(sa.String(16))
    state: Mapped[str] = mapped_column(sa.String(16), index=True)
    version: Mapped[int]
    revision: Mapped[int] = mapped_column(default=0)
    segments_expected: Mapped[int | None]
    failure: Mapped[str] = mapped_column(sa.String(32), default="")
    created_at: Mapped[datetime] = mapped_column(index=True)
    updated_at: Mapped[datetime]


class RecordingSegment(Base):
    """One segment as the recorder announced it; `stored_at` says that `object_key` holds exactly that.

    `start_ms` is its position since the sitting was opened; the sound was said up to `early_ms` before and
    `late_ms` after it (None: the recorder does not say). `why` is one of `contract.recordings.GapReason`.
    `corrupted` counts uploads that came with another digest.
    """

    __tablename__ = "recording_segments"

    recording: Mapped[str] = mapped_column(sa.ForeignKey("recordings.recording"), primary_key=True)
    segment: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    start_ms: Mapped[int] = mapped_column(sa.BigInteger)
    duration_ms: Mapped[int] = mapped_column(sa.BigInteger)
    rate_hz: Mapped[int]
    size: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[str] = mapped_column(sa.String(64))
    gap_before_ms: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    why: Mapped[str] = mapped_column(sa.String(16), default="")
    early_ms: Mapped[int | None] = mapped_column(sa.BigInteger)
    late_ms: Mapped[int | None] = mapped_column(sa.BigInteger)
    object_key: Mapped[str] = mapped_column(sa.String(160), default="")
    stored_at: Mapped[datetime | None]
    corrupted: Mapped[int] = mapped_column(default=0)


class RecordingGap(Base):
    """Sound that is missing and should be there; `lost_ms` is None while nobody knows how much."""

    __tablename__ = "recording_gaps"

    recording: Mapped[str] = mapped_column(sa.ForeignKey("recordings.recording"), primary_key=True)
    after: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_ms: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    lost_ms: Mapped[int | None] = mapped_column(sa.BigInteger)
    why: Mapped[str] = mapped_column(sa.String(16))


class RecordingUpload(Base):
    """One open upload of a segment; its bytes are in a file of this name until it is whole.

    The first `received` of them are safely on the disk, whatever the file's length says.
    """

    __tablename__ = "recording_uploads"
    __table_args__ = (sa.UniqueConstraint("recording", "segment"),)

    upload: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    device: Mapped[str] = mapped_column(sa.String(63), index=True)
    recording: Mapped[str] = mapped_column(sa.ForeignKey("recordings.recording"))
    segment: Mapped[int]
    size: Mapped[int] = mapped_column(sa.BigInteger)
    received: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    begun_at: Mapped[datetime]
    touched_at: Mapped[datetime] = mapped_column(index=True)


class FloorTurn(Base):
    """One floor event: a seat took or released the microphone. An id of the hall, never a name."""

    __tablename__ = "floor_events"

    session: Mapped[str] = mapped_column(sa.ForeignKey("sittings.session"), primary_key=True)
    at_ms: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    seat: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    taken: Mapped[bool] = mapped_column(primary_key=True, autoincrement=False)
    device: Mapped[str] = mapped_column(sa.String(63))
    source: Mapped[str] = mapped_column(sa.String(32))
    received_at: Mapped[datetime]


class Transcript(Base):
    """One version of what was said; `state` is `drafted` until a person has reviewed it."""

    __tablename__ = "transcripts"
    __table_args__ = (sa.UniqueConstraint("recording", "version"),)

    id: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    recording: Mapped[str] = mapped_column(sa.ForeignKey("recordings.recording"))
    version: Mapped[int]
    state: Mapped[str] = mapped_column(sa.String(16))
    model: Mapped[str] = mapped_column(sa.String(64))
    language: Mapped[str] = mapped_column(sa.String(16))
    created_at: Mapped[datetime]


class TranscriptPiece(Base):
    """One stretch of a transcript; times are positions since the sitting was opened."""

    __tablename__ = "transcript_pieces"

    transcript: Mapped[int] = mapped_column(
        sa.ForeignKey("transcripts.id"), primary_key=True, autoincrement=False
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    start_ms: Mapped[int] = mapped_column(sa.BigInteger)
    end_ms: Mapped[int] = mapped_column(sa.BigInteger)
    seat: Mapped[str | None] = mapped_column(sa.String(32))
    text: Mapped[str]
    confidence: Mapped[float | None]
    marks: Mapped[dict[str, Any]]
