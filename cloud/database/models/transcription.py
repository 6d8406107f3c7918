"""Runs of transcription, what each has heard so far, and the workers that are alive."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base


class TranscriptionRun(Base):
    """One attempt to transcribe a recording; `state` is one of `cloud.recordings.turns.RUN`.

    `reason` says why there is no draft (a code of `cloud.recordings.turns.Reason`), `segment` of which
    segment it speaks. `stretches` is how many there are, once known; `transcript` is what came of it.
    """

    __tablename__ = "transcription_runs"

    recording: Mapped[str] = mapped_column(sa.ForeignKey("recordings.recording"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(sa.String(16), index=True)
    reason: Mapped[str] = mapped_column(sa.String(32), default="")
    segment: Mapped[int | None]
    stretches: Mapped[int | None]
    transcript: Mapped[int | None] = mapped_column(sa.ForeignKey("transcripts.id"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class TranscriptionStretch(Base):
    """A part of the sound, in ms of it; `heard` is JSON (`list[cloud.recordings.guards.Heard]`), when done.

    `begun` counts how often a worker has begun with it.
    """

    __tablename__ = "transcription_stretches"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["recording", "attempt"], ["transcription_runs.recording", "transcription_runs.attempt"]
        ),
    )

    recording: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    start_ms: Mapped[int] = mapped_column(sa.BigInteger)
    end_ms: Mapped[int] = mapped_column(sa.BigInteger)
    begun: Mapped[int] = mapped_column(default=0)
    heard: Mapped[bytes | None] = mapped_column(sa.LargeBinary)


class TranscriptionWorker(Base):
    """A worker that said at `seen_at` that it lives; when its lease is over, others take over its runs."""

    __tablename__ = "transcription_workers"

    executor: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    seen_at: Mapped[datetime]
