"""What pages and the JSON interface show of the registry."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device


@dataclass(frozen=True)
class DeviceView:
    """One device; see `cloud.database.models.devices.Device` for the meaning."""

    device: str
    kind: str
    site: str
    registered_at: datetime
    enrolled_at: datetime | None
    decommissioned_at: datetime | None
    presence: str
    presence_at: datetime | None
    agent: str
    boot: str
    last_seen_at: datetime | None


def listed(session: Session, *, after: str, limit: int) -> list[DeviceView]:
    """At most `limit` devices after `after`, by id; decommissioned ones too."""
    rows = sa.select(Device).where(Device.device > after).order_by(Device.device).limit(limit)
    return [_view(row) for row in session.scalars(rows)]


def one(session: Session, device: str) -> DeviceView | None:
    """One device."""
    row = session.get(Device, device)
    return _view(row) if row else None


def _view(row: Device) -> DeviceView:
    return DeviceView(
        device=row.device,
        kind=row.kind,
        site=row.site,
        registered_at=row.registered_at,
        enrolled_at=row.enrolled_at,
        decommissioned_at=row.decommissioned_at,
        presence=row.presence,
        presence_at=row.presence_at,
        agent=row.agent,
        boot=row.boot,
        last_seen_at=row.last_seen_at,
    )
