"""What has arrived on the link, and what was refused there.

The same tables are in the main database (events lane, written by `serve`) and in the telemetry database
(telemetry lane, written by `ingest`).
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base


class WatermarkRow(Base):
    """Up to where everything of one device, boot and lane has arrived.

    `seq` is the highest sequence below which nothing is missing; `above` lists what arrived beyond a gap,
    ascending. It moves in the transaction that stores the message.
    """

    __tablename__ = "link_watermarks"

    device: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    boot: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    lane: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    seq: Mapped[int] = mapped_column(sa.BigInteger)
    above: Mapped[list[int]] = mapped_column(sa.JSON)
    moved_at: Mapped[datetime]


class Quarantined(Base):
    """One refused message: what it was like, never what it said. Only the newest of each device are kept."""

    __tablename__ = "link_quarantine"

    id: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    device: Mapped[str] = mapped_column(sa.String(63), index=True)
    topic_name: Mapped[str] = mapped_column(sa.String(64))
    reason: Mapped[str] = mapped_column(sa.String(32))
    size: Mapped[int]
    sha256: Mapped[str] = mapped_column(sa.String(64))
    at: Mapped[datetime]


class RefusalCount(Base):
    """How many messages of a device were refused, by reason; foreign senders are counted under ''."""

    __tablename__ = "link_refusals"

    device: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    reason: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    count: Mapped[int] = mapped_column(sa.BigInteger)
    last_at: Mapped[datetime]


class LinkMinute(Base):
    """What was stored in one minute of the server's clock, without what had come before."""

    __tablename__ = "link_minutes"

    minute: Mapped[datetime] = mapped_column(primary_key=True)
    lane: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    messages: Mapped[int]
    samples: Mapped[int]
    points: Mapped[int]


class LinkTotal(Base):
    """What was stored since the beginning, without what had come before."""

    __tablename__ = "link_totals"

    lane: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    messages: Mapped[int] = mapped_column(sa.BigInteger)
    samples: Mapped[int] = mapped_column(sa.BigInteger)
    points: Mapped[int] = mapped_column(sa.BigInteger)
