"""What is believed of devices, what the ingest hears of them, and what became an incident.

`presence_words` is written by `serve`, `presence_heard` and `presence_ears` by `ingest`; a sweep of `serve`
puts them together.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base

NOTE_LENGTH_MAX = 500


class PresenceWords(Base):
    """What a device's words have told; see `cloud.devices.presence.Known`. Its state is in `devices`.

    `comings` are moments in ms since 1970 UTC. `expected_until` is set while the device is off as expected.
    """

    __tablename__ = "presence_words"

    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"), primary_key=True)
    cause: Mapped[str] = mapped_column(sa.String(16))
    boot: Mapped[str] = mapped_column(sa.String(64))
    connection: Mapped[int] = mapped_column(sa.BigInteger)
    came_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    comings: Mapped[list[int]] = mapped_column(sa.JSON)
    expected_until: Mapped[datetime | None]


class PresenceHeard(Base):
    """When the ingest stored something of a device last, by the server's clock."""

    __tablename__ = "presence_heard"

    device: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    heard_at: Mapped[datetime]


class PresenceEars(Base):
    """An ingest: it listens without a break since `since` (None: not now), and listened last at `at`."""

    __tablename__ = "presence_ears"

    name: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    since: Mapped[datetime | None]
    at: Mapped[datetime]


class IncidentRow(Base):
    """Devices of one site that went off together; see `cloud.devices.incidents.Incident`.

    A person has `acknowledged` it, perhaps with a `note`; that changes nothing else.
    """

    __tablename__ = "incidents"

    id: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    site: Mapped[str] = mapped_column(sa.String(120), index=True)
    state: Mapped[str] = mapped_column(sa.String(16), index=True)
    opened_at: Mapped[datetime]
    over_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str] = mapped_column(sa.String(64), default="")
    note: Mapped[str] = mapped_column(sa.String(NOTE_LENGTH_MAX), default="")


class IncidentMember(Base):
    """One device of an incident; `times` says how often it went."""

    __tablename__ = "incident_members"

    incident: Mapped[int] = mapped_column(sa.ForeignKey("incidents.id"), primary_key=True)
    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"), primary_key=True, index=True)
    gone_at: Mapped[datetime]
    back_at: Mapped[datetime | None]
    times: Mapped[int]


class ExpectedOff(Base):
    """One stretch a week in which a site or a device is expected to be off.

    `scope` is `site` or `device`, `name` which one; a device with stretches of its own goes by them alone.
    `day` 0 is Monday; `begins` and `ends` are minutes of the civil day.
    """

    __tablename__ = "expected_off"

    scope: Mapped[str] = mapped_column(sa.String(8), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(120), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    begins: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ends: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
