"""What has arrived on the link, and what was refused there.

The same tables are in the main database (events lane, written by `serve`) and in the telemetry database
(telemetry lane, written by `ingest`).
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base


class WatermarkRow(Base):
    """Up to where everything of one device, boot and lane has arrived.

    `seq` is the highest sequence below which nothing is missing; `above` lists what arrived beyond a gap,
    ascending. It moves in the transaction that stores the message. The other numbers only grow, but for
    `missing`: see `cloud.watermark.Tally`. stored + refused + dropped + given_up is `seq` and what is above.
    """

    __tablename__ = "link_watermarks"
    __table_args__ = (
        sa.Index(
            "ix_link_watermarks_missing",
            "device",
            sqlite_where=sa.text("missing > 0"),
            postgresql_where=sa.text("missing > 0"),
        ),
    )

    device: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    boot: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    lane: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    seq: Mapped[int] = mapped_column(sa.BigInteger)
    above: Mapped[list[int]] = mapped_column(sa.JSON)
    moved_at: Mapped[datetime]
    stored: Mapped[int] = mapped_column(sa.BigInteger, server_default="0", default=0)
    refused: Mapped[int] = mapped_column(sa.BigInteger, server_default="0", default=0)
    dropped: Mapped[int] = mapped_column(sa.BigInteger, server_default="0", default=0)
    given_up: Mapped[int] = mapped_column(sa.BigInteger, server_default="0", default=0)
    repeated: Mapped[int] = mapped_column(sa.BigInteger, server_default="0", default=0)
    missing: Mapped[int] = mapped_column(sa.BigInteger, server_default="0", default=0)


class ForgottenBoots(Base):
    """The numbers of those boots of a device whose watermarks are no longer kept, so that none gets lost.

    What was still missing of them is among `given_up`.
    """

    __tablename__ = "link_forgotten"

    device: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    lane: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    boots: Mapped[int] = mapped_column(sa.BigInteger)
    stored: Mapped[int] = mapped_column(sa.BigInteger)
    refused: Mapped[int] = mapped_column(sa.BigInteger)
    dropped: Mapped[int] = mapped_column(sa.BigInteger)
    given_up: Mapped[int] = mapped_column(sa.BigInteger)
    repeated: Mapped[int] = mapped_column(sa.BigInteger)


class SkewRow(Base):
    """A device's clock minus the server's, as `cloud.skew` reckons it from the telemetry lane (ms)."""

    __tablename__ = "link_skews"

    device: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    skew_ms: Mapped[int] = mapped_column(sa.BigInteger)
    changed_at: Mapped[datetime]


class DeclaredDrops(Base):
    """How many messages a device declared as dropped, by boot, lane and reason (`contract.link.Why`).

    `numbered` ones had a sequence, so that the watermark passes over them as well; `unnumbered` never had
    one. Boot '' stands for boots that are too old to be kept apart.
    """

    __tablename__ = "link_declared"

    device: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    boot: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    lane: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    why: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    numbered: Mapped[int] = mapped_column(sa.BigInteger)
    unnumbered: Mapped[int] = mapped_column(sa.BigInteger)
    declared_at: Mapped[datetime]


class DeclaredRange(Base):
    """One range of a declaration, for people; only the newest of each device are kept."""

    __tablename__ = "link_declared_ranges"

    id: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    device: Mapped[str] = mapped_column(sa.String(63), index=True)
    boot: Mapped[str] = mapped_column(sa.String(64))
    lane: Mapped[str] = mapped_column(sa.String(16))
    from_seq: Mapped[int] = mapped_column(sa.BigInteger)
    to_seq: Mapped[int] = mapped_column(sa.BigInteger)
    count: Mapped[int] = mapped_column(sa.BigInteger)
    why: Mapped[str] = mapped_column(sa.String(16))
    declared_at: Mapped[datetime]


class Sighting(Base):
    """Under which boots a device came online lately, and how often one came back that another had replaced.

    `seen` is a list of [boot, connection, the device's `at` in ms, the server's time in ms], oldest first;
    `returns` only grows, and `returned_at` is the last of them. See `cloud.link.identity`.
    """

    __tablename__ = "link_sightings"

    device: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    seen: Mapped[list[Any]] = mapped_column(sa.JSON)
    returns: Mapped[int] = mapped_column(sa.BigInteger)
    returned_at: Mapped[datetime | None]


class ToldDelay(Base):
    """A delay that an operator told devices to wait before they come back, for a planned maintenance.

    `site` is '' for the whole fleet. `told_to` is the last device (by id) that was told; it is None once all
    were. The same holds for taking it back (`cleared_to`) after `ended_at`, which is set early by a person.
    """

    __tablename__ = "link_delays"

    delay: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    site: Mapped[str] = mapped_column(sa.String(120))
    min_s: Mapped[int]
    max_s: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(index=True)
    created_by: Mapped[str] = mapped_column(sa.String(64))
    until: Mapped[datetime]
    told_to: Mapped[str | None] = mapped_column(sa.String(63))
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str] = mapped_column(sa.String(64), default="")
    cleared_to: Mapped[str | None] = mapped_column(sa.String(63))


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
