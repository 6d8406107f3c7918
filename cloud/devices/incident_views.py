"""What pages and the JSON interface show of incidents and of expected hours."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.presence import NOTE_LENGTH_MAX, IncidentRow
from cloud.devices import incident_rows
from cloud.devices.incidents import INCIDENT, Member
from cloud.errors import MalformedError, RefusedError
from cloud.operators.actors import Actor, audit

POSITION_MAX = 2**63 - 1
"""Largest position that a database takes."""
OPEN_MAX = 200
"""Incidents that are not closed, on one page: more sites than the city has."""


@dataclass(frozen=True)
class View:
    """One incident with its devices; see `cloud.devices.incidents.Incident`."""

    number: int
    site: str
    state: str
    opened_at: datetime
    over_at: datetime | None
    closed_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    note: str
    members: tuple[Member, ...]

    @property
    def away(self) -> int:
        """How many devices are away now."""
        return sum(member.back_at is None for member in self.members)


def going_on(session: Session) -> list[View]:
    """What is not closed, the newest first."""
    return _views(session, sa.select(IncidentRow).where(IncidentRow.state != _CLOSED), OPEN_MAX)


def closed(session: Session, *, before: int | None, limit: int) -> list[View]:
    """At most `limit` closed ones below number `before`, the newest first."""
    rows = sa.select(IncidentRow).where(IncidentRow.state == _CLOSED)
    return _views(session, rows if before is None else rows.where(IncidentRow.id < before), limit)


def listed(session: Session, *, before: int | None, limit: int) -> list[View]:
    """At most `limit` below number `before`, whatever their state, the newest first."""
    rows = sa.select(IncidentRow)
    return _views(session, rows if before is None else rows.where(IncidentRow.id < before), limit)


def one(session: Session, number: int) -> View | None:
    """One incident."""
    return next(iter(_views(session, sa.select(IncidentRow).where(IncidentRow.id == number), 1)), None)


def acknowledge(session: Session, actor: Actor, number: int, note: str) -> None:
    """Write down that somebody has seen it, and what they say to it; a later word takes the earlier's place.

    Raises:
        RefusedError: there is no such incident.
        MalformedError: the note is too long.
    """
    said = note.strip()
    if len(said) > NOTE_LENGTH_MAX:
        raise MalformedError(f"the note has {len(said)} characters: at most {NOTE_LENGTH_MAX} are taken")
    row = session.scalar(sa.select(IncidentRow).where(IncidentRow.id == number).with_for_update())
    if row is None:
        raise RefusedError(f"there is no incident {number}")
    row.acknowledged_at, row.acknowledged_by, row.note = actor.at, actor.name, said
    audit(session, actor, "acknowledge-incident", str(number), {"state": row.state, "note": bool(said)})


def places(session: Session) -> tuple[list[str], list[str]]:
    """The sites and the devices in service, by name."""
    rows = session.execute(
        sa.select(Device.site, Device.device).where(Device.decommissioned_at.is_(None))
    ).all()
    return sorted({site for site, _ in rows}), sorted(device for _, device in rows)


_CLOSED = next(iter(INCIDENT.ends))


def _views(session: Session, rows: sa.Select[IncidentRow], limit: int) -> list[View]:
    found: Sequence[IncidentRow] = session.scalars(rows.order_by(IncidentRow.id.desc()).limit(limit)).all()
    members = {each.number: each.members for each in incident_rows.loaded(session, found)}
    return [
        View(
            number=row.id,
            site=row.site,
            state=row.state,
            opened_at=row.opened_at,
            over_at=row.over_at,
            closed_at=row.closed_at,
            acknowledged_at=row.acknowledged_at,
            acknowledged_by=row.acknowledged_by,
            note=row.note,
            members=members[row.id],
        )
        for row in found
    ]
