"""When sites and devices are off as expected, in the database: hours (changes are audited) and waits."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.link import ToldDelay
from cloud.database.models.presence import ExpectedOff
from cloud.devices.hours import Off, plan
from cloud.devices.waits import LATE_S, Wait
from cloud.errors import RefusedError
from cloud.operators.access import Actor, audit
from contract.link import DELAY_S_MAX

Scope = Literal["site", "device"]
Week = tuple[Off, ...]


def weeks(session: Session) -> dict[tuple[str, str], Week]:
    """Every plan, by scope and name."""
    found: defaultdict[tuple[str, str], list[Off]] = defaultdict(list)
    for row in session.scalars(sa.select(ExpectedOff)):
        found[row.scope, row.name].append(Off(row.day, _time(row.begins), _time(row.ends)))
    return {key: tuple(sorted(week)) for key, week in sorted(found.items())}


def waits(session: Session, now: datetime) -> list[Wait]:
    """The waiting times that staff told, as long as a device may still be away because of one."""
    oldest = now - timedelta(seconds=DELAY_S_MAX + LATE_S)
    return [
        Wait(row.site, row.created_at, min(row.until, row.ended_at or row.until), float(row.max_s))
        for row in session.scalars(sa.select(ToldDelay).where(ToldDelay.until >= oldest))
    ]


def week(session: Session, scope: Scope, name: str) -> Week:
    """The plan of one site or device; empty where there is none.

    Raises:
        RefusedError: there is no such site or device.
    """
    _concerned(session, scope, name, held=False)
    rows = session.scalars(sa.select(ExpectedOff).where(ExpectedOff.scope == scope, ExpectedOff.name == name))
    return tuple(sorted(Off(row.day, _time(row.begins), _time(row.ends)) for row in rows))


def put(session: Session, actor: Actor, scope: Scope, name: str, stretches: Sequence[Off]) -> Week:
    """Let `stretches` be the plan of a site or device; none of them takes it away.

    Raises:
        RefusedError: there is no such site or device.
        MalformedError: there are too many.
    """
    wanted = plan(stretches)
    _concerned(session, scope, name, held=True)
    if week(session, scope, name) != wanted:
        session.execute(sa.delete(ExpectedOff).where(ExpectedOff.scope == scope, ExpectedOff.name == name))
        session.add_all(
            ExpectedOff(
                scope=scope, name=name, day=each.day, begins=_minutes(each.begins), ends=_minutes(each.ends)
            )
            for each in wanted
        )
        audit(session, actor, "set-expected-off", name, {"scope": scope, "stretches": len(wanted)})
    return wanted


def change(
    session: Session,
    actor: Actor,
    scope: Scope,
    name: str,
    *,
    add: Sequence[Off] = (),
    remove: Sequence[Off] = (),
) -> Week:
    """Let the plan have `add` and not `remove`; see `put`."""
    _concerned(session, scope, name, held=True)
    now = [each for each in week(session, scope, name) if each not in remove]
    return put(session, actor, scope, name, [*now, *add])


def _concerned(session: Session, scope: Scope, name: str, *, held: bool) -> None:
    column = Device.site if scope == "site" else Device.device
    devices = sa.select(Device.device).where(column == name, Device.decommissioned_at.is_(None))
    devices = devices.order_by(Device.device)
    if held:
        devices = devices.with_for_update(key_share=True)
    if not session.scalars(devices).first():
        raise RefusedError(f"there is no {scope} {name!r:.120} in service; choose one from the list")


def _minutes(at: time) -> int:
    return at.hour * 60 + at.minute


def _time(minutes: int) -> time:
    return time(minutes // 60, minutes % 60)
