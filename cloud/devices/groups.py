"""Groups of devices: put together by hand, or found by a query each time that somebody asks.

A job for a group is for the devices that are in it at that moment: there are no continuous jobs.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.groups import DeviceGroup, DeviceGroupMember
from cloud.database.writing import insert
from cloud.devices import tags
from cloud.devices.problems import DeniedError, Problem, WrongError
from cloud.devices.query import Facts, Query, parse
from cloud.operators.actors import Actor, audit

TITLE_LENGTH_MAX = 120
MEMBERS_MAX = 10_000
GROUPS_MAX = 500
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Group:
    """One group; `query` is None where devices were put in by hand."""

    name: str
    title: str
    query: str | None
    created_at: datetime
    created_by: str


def listed(session: Session, *, after: str = "", limit: int = GROUPS_MAX) -> list[Group]:
    """At most `limit` groups after `after`, by name."""
    rows = sa.select(DeviceGroup).where(DeviceGroup.name > after).order_by(DeviceGroup.name).limit(limit)
    return [_group(row) for row in session.scalars(rows)]


def one(session: Session, name: str) -> Group | None:
    """One group."""
    row = session.get(DeviceGroup, name)
    return _group(row) if row else None


def names(session: Session) -> list[tuple[str, str]]:
    """Every group's name and title, by name."""
    rows = sa.select(DeviceGroup.name, DeviceGroup.title).order_by(DeviceGroup.name)
    return [(name, title) for name, title in session.execute(rows)]


def members(session: Session, name: str) -> list[str]:
    """The devices of the fleet that are in the group now, by id.

    Raises:
        DeniedError: there is no such group.
    """
    group = one(session, name)
    if group is None:
        raise DeniedError(Problem.GROUP_MISSING, what=name)
    if group.query is not None:
        return matching(session, parse(group.query))
    rows = (
        sa.select(Device.device)
        .join(DeviceGroupMember, DeviceGroupMember.device == Device.device)
        .where(DeviceGroupMember.name == name, Device.decommissioned_at.is_(None))
    )
    return sorted(session.scalars(rows))


def matching(session: Session, query: Query) -> list[str]:
    """The devices of the fleet that a query finds now, by id; the same on either database."""
    tagged = tags.of_many(session)
    rows = sa.select(Device.device, Device.kind, Device.site, Device.agent)
    facts = (
        Facts(device, kind, site, agent, tagged.get(device, {}))
        for device, kind, site, agent in session.execute(rows.where(Device.decommissioned_at.is_(None)))
    )
    return sorted(each.device for each in facts if query.holds(each))


def create(
    session: Session, operator: Actor, name: str, title: str, query: str | None, devices: Sequence[str]
) -> bool:
    """Make a group by `query`, or with `devices` where it is None; False if the same is there already.

    Raises:
        WrongError: a name, a title, a query or the number of devices out of bounds.
        DeniedError: another group has this name, there are too many, or a device is not registered.
    """
    if not _NAME.fullmatch(name):
        raise WrongError(Problem.GROUP_NAME, what=name)
    title = title.strip() or name
    chosen = _checked(session, title, query, devices)
    values = {
        "name": name,
        "title": title,
        "query": query,
        "created_at": operator.at,
        "created_by": operator.name,
    }
    new = insert(session, DeviceGroup).values(values).on_conflict_do_nothing(index_elements=["name"])
    if session.scalar(new.returning(DeviceGroup.name)) is None:
        known = session.get_one(DeviceGroup, name)
        if (known.title, known.query, _by_hand(session, name)) != (title, query, chosen):
            raise DeniedError(Problem.GROUP_THERE, what=name)
        return False
    if (session.scalar(sa.select(sa.func.count()).select_from(DeviceGroup)) or 0) > GROUPS_MAX:
        raise DeniedError(Problem.GROUPS_MAX, limit=GROUPS_MAX)
    _put(session, name, chosen)
    audit(session, operator, "create-group", name, {"query": query, "devices": len(chosen)})
    return True


def change(
    session: Session, operator: Actor, name: str, title: str, query: str | None, devices: Sequence[str]
) -> None:
    """Give a group another title, query or devices.

    Raises:
        WrongError: a title, a query or the number of devices out of bounds.
        DeniedError: there is no such group, or a device is not registered.
    """
    row = _held(session, name)
    title = title.strip() or name
    chosen = _checked(session, title, query, devices)
    if (row.title, row.query, _by_hand(session, name)) == (title, query, chosen):
        return
    row.title, row.query = title, query
    session.execute(sa.delete(DeviceGroupMember).where(DeviceGroupMember.name == name))
    _put(session, name, chosen)
    audit(session, operator, "change-group", name, {"query": query, "devices": len(chosen)})


def delete(session: Session, operator: Actor, name: str) -> None:
    """Take a group away; its devices and its jobs stay.

    Raises:
        DeniedError: there is no such group.
    """
    row = _held(session, name)
    session.execute(sa.delete(DeviceGroupMember).where(DeviceGroupMember.name == name))
    session.delete(row)
    session.flush()
    audit(session, operator, "delete-group", name, {})


def by_hand(session: Session, name: str) -> list[str]:
    """The devices that were put into a group by hand, whether they are still of the fleet or not."""
    return _by_hand(session, name)


def _held(session: Session, name: str) -> DeviceGroup:
    row = session.get(DeviceGroup, name, with_for_update=True)
    if row is None:
        raise DeniedError(Problem.GROUP_MISSING, what=name)
    return row


def _by_hand(session: Session, name: str) -> list[str]:
    rows = sa.select(DeviceGroupMember.device).where(DeviceGroupMember.name == name)
    return sorted(session.scalars(rows))


def _put(session: Session, name: str, devices: Iterable[str]) -> None:
    rows = [{"name": name, "device": device} for device in devices]
    if rows:
        session.execute(sa.insert(DeviceGroupMember), rows)


def _checked(session: Session, title: str, query: str | None, devices: Sequence[str]) -> list[str]:
    """The devices of the group, by id."""
    if len(title) > TITLE_LENGTH_MAX or not title.isprintable():
        raise WrongError(Problem.GROUP_TITLE, limit=TITLE_LENGTH_MAX)
    if query is not None:
        parse(query)
        if devices:
            raise WrongError(Problem.GROUP_BOTH)
        return []
    chosen = sorted(set(devices))
    if len(chosen) > MEMBERS_MAX:
        raise WrongError(Problem.GROUP_MEMBERS, limit=MEMBERS_MAX)
    rows = sa.select(Device.device).where(Device.device.in_(chosen), Device.decommissioned_at.is_(None))
    missing = sorted(set(chosen) - set(session.scalars(rows)))
    if missing:
        raise DeniedError(Problem.NO_DEVICE, what=missing[0])
    return chosen


def _group(row: DeviceGroup) -> Group:
    return Group(row.name, row.title, row.query, row.created_at, row.created_by)
