"""Sittings of a hall, what was decided about them, and every revision of every caption segment."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base

TITLE_LENGTH_MAX = 200
NOTE_LENGTH_MAX = 500


class Sitting(Base):
    """One sitting in one hall; `version` grows with each change of state, `sequence` with each stored line.

    `recogniser` is what the recorder said when it took the present version: `None` not yet answered,
    `running`, or `no-model` where it has no model for the sitting's language.
    """

    __tablename__ = "sittings"

    session: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    device: Mapped[str] = mapped_column(sa.String(64), index=True)
    channel: Mapped[str] = mapped_column(sa.String(64))
    title: Mapped[str] = mapped_column(sa.String(TITLE_LENGTH_MAX))
    lang: Mapped[str] = mapped_column(sa.String(16))
    state: Mapped[str] = mapped_column(sa.String(32))
    version: Mapped[int]
    sequence: Mapped[int] = mapped_column(default=0)
    recogniser: Mapped[str | None] = mapped_column(sa.String(32))
    created_at: Mapped[datetime]
    opened_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class SittingChange(Base):
    """One change of a sitting's state; together they say when its words were public.

    `reason` is the code of the legal reason of a closing; `note` is what the clerk added for the file.
    """

    __tablename__ = "sitting_changes"

    session: Mapped[str] = mapped_column(sa.ForeignKey("sittings.session"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(sa.String(32))
    reason: Mapped[str] = mapped_column(sa.String(64), default="")
    note: Mapped[str] = mapped_column(sa.String(NOTE_LENGTH_MAX), default="")
    at: Mapped[datetime]


class CaptionRevision(Base):
    """One revision of one segment. What is shown is the highest; `sequence` orders what viewers resume by."""

    __tablename__ = "caption_revisions"
    __table_args__ = (sa.UniqueConstraint("session", "sequence"),)

    session: Mapped[str] = mapped_column(sa.ForeignKey("sittings.session"), primary_key=True)
    channel: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    segment: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int]
    state: Mapped[str] = mapped_column(sa.String(16))
    text: Mapped[str]
    start_ms: Mapped[int] = mapped_column(sa.BigInteger)
    end_ms: Mapped[int] = mapped_column(sa.BigInteger)
    lang: Mapped[str] = mapped_column(sa.String(16))
    source: Mapped[str] = mapped_column(sa.String(64))
    confidence: Mapped[float | None]
    received_at: Mapped[datetime]
