"""Twins between the database and the decisions. Whoever changes one holds its device first."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.twin import DeviceTwin
from cloud.database.writing import insert
from cloud.twin.core import Twin

_COLUMNS = (
    DeviceTwin.version,
    DeviceTwin.present,
    DeviceTwin.desired,
    DeviceTwin.reported,
    DeviceTwin.desired_at,
    DeviceTwin.reported_at,
    DeviceTwin.last,
)
"""In the order of `Twin`'s fields."""


def load(session: Session, device: str) -> Twin:
    """The twin of `device`; version 0 where there never was one."""
    row = session.execute(sa.select(*_COLUMNS).where(DeviceTwin.device == device)).one_or_none()
    return Twin(*row) if row is not None else Twin()


def save(session: Session, device: str, twin: Twin, now: datetime) -> None:
    """Write `twin` over what is there.

    As one statement: the session's own bookkeeping takes `true` in place of 1 for no change.
    """
    values = {
        "version": twin.version,
        "present": twin.exists,
        "desired": twin.desired,
        "reported": twin.reported,
        "desired_at": twin.desired_at,
        "reported_at": twin.reported_at,
        "differs": bool(twin.delta),
        "last": twin.last,
        "changed_at": now,
    }
    new = insert(session, DeviceTwin).values(device=device, **values)
    session.execute(new.on_conflict_do_update(index_elements=["device"], set_=values))


def differing(session: Session) -> list[str]:
    """The devices that are there, and of which something is desired that they do not report."""
    rows = (
        sa.select(DeviceTwin.device)
        .join(Device, Device.device == DeviceTwin.device)
        .where(DeviceTwin.differs, Device.presence != "offline", Device.decommissioned_at.is_(None))
    )
    return sorted(session.scalars(rows))
