"""What pages and the JSON interface show of the registry."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.presence import PresenceWords
from cloud.devices.presence import Cause


@dataclass(frozen=True)
class DeviceView:
    """One device; see `cloud.database.models.devices.Device` for the meaning.

    `presence_cause` is a `cloud.devices.presence.Cause`; `expected_until` is set while it is off as expected.
    """

    device: str
    kind: str
    site: str
    registered_at: datetime
    enrolled_at: datetime | None
    decommissioned_at: datetime | None
    presence: str
    presence_at: datetime | None
    presence_cause: str
    expected_until: datetime | None
    agent: str
    boot: str
    last_seen_at: datetime | None


def listed(session: Session, *, after: str, limit: int) -> list[DeviceView]:
    """At most `limit` devices after `after`, by id; decommissioned ones too."""
    rows = sa.select(Device).where(Device.device > after).order_by(Device.device).limit(limit)
    found = session.scalars(rows).all()
    devices = [row.device for row in found]
    words = session.scalars(sa.select(PresenceWords).where(PresenceWords.device.in_(devices)))
    by_device = {each.device: each for each in words}
    return [_view(row, by_device.get(row.device)) for row in found]


def one(session: Session, device: str) -> DeviceView | None:
    """One device."""
    row = session.get(Device, device)
    return _view(row, session.get(PresenceWords, device)) if row else None


def _view(row: Device, words: PresenceWords | None) -> DeviceView:
    off = row.presence == "offline"
    return DeviceView(
        device=row.device,
        kind=row.kind,
        site=row.site,
        registered_at=row.registered_at,
        enrolled_at=row.enrolled_at,
        decommissioned_at=row.decommissioned_at,
        presence=row.presence,
        presence_at=row.presence_at,
        presence_cause=words.cause if words else _cause(row),
        expected_until=words.expected_until if words and off else None,
        agent=row.agent,
        boot=row.boot,
        last_seen_at=row.last_seen_at,
    )


def _cause(row: Device) -> str:
    """Of a device whose words were never written down one by one."""
    if row.presence != "offline":
        return Cause.WELL
    return Cause.ENDED if row.boot else Cause.NEVER
