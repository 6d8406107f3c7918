"""Incidents in the database."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.presence import IncidentMember, IncidentRow
from cloud.devices.incidents import INCIDENT, Incident, Member

GOING_ON = [state for state in INCIDENT.states if state not in INCIDENT.ends]


def going_on(session: Session) -> list[Incident]:
    """The incidents that are not closed, the oldest first; held until the transaction ends."""
    rows = session.scalars(
        sa.select(IncidentRow)
        .where(IncidentRow.state.in_(GOING_ON))
        .order_by(IncidentRow.id)
        .with_for_update()
    ).all()
    return loaded(session, rows)


def loaded(session: Session, rows: Sequence[IncidentRow]) -> list[Incident]:
    """`rows` with their members, by the time at which these went."""
    members: dict[int, list[Member]] = {row.id: [] for row in rows}
    found = session.scalars(
        sa.select(IncidentMember)
        .where(IncidentMember.incident.in_(members))
        .order_by(IncidentMember.gone_at, IncidentMember.device)
    )
    for each in found:
        members[each.incident].append(Member(each.device, each.gone_at, each.back_at, each.times))
    return [
        Incident(
            site=row.site,
            opened_at=row.opened_at,
            members=tuple(members[row.id]),
            number=row.id,
            state=row.state,
            over_at=row.over_at,
            closed_at=row.closed_at,
        )
        for row in rows
    ]


def save(session: Session, before: Iterable[Incident], after: Iterable[Incident]) -> list[Incident]:
    """Write down what has changed from `before` to `after`; gives back what was written, with its number."""
    known = {each.number: each for each in before}
    changed = [each for each in after if known.get(each.number) != each]
    return [_write(session, each) for each in changed]


def away(session: Session) -> set[str]:
    """The devices that are away in an incident that is not closed."""
    rows = session.scalars(
        sa.select(IncidentMember.device)
        .join(IncidentRow, IncidentRow.id == IncidentMember.incident)
        .where(IncidentRow.state.in_(GOING_ON), IncidentMember.back_at.is_(None))
    )
    return set(rows)


def recovering(session: Session) -> bool:
    """Whether an incident waits to be closed."""
    return (
        session.scalar(sa.select(IncidentRow.id).where(IncidentRow.state == "recovering").limit(1))
        is not None
    )


def _write(session: Session, incident: Incident) -> Incident:
    if incident.number is None:
        row = IncidentRow(site=incident.site, opened_at=incident.opened_at)
        session.add(row)
    else:
        row = session.get_one(IncidentRow, incident.number)
    row.state, row.over_at, row.closed_at = incident.state, incident.over_at, incident.closed_at
    session.flush()
    for member in incident.members:
        session.merge(
            IncidentMember(
                incident=row.id,
                device=member.device,
                gone_at=member.gone_at,
                back_at=member.back_at,
                times=member.times,
            )
        )
    return Incident(
        incident.site,
        incident.opened_at,
        incident.members,
        row.id,
        incident.state,
        incident.over_at,
        incident.closed_at,
    )
