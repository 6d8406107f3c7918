"""Which halls there are; the ways that speak of halls ask here."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device

RECORDER = "recorder"


def halls(database: Session) -> list[str]:
    """The recorders of the fleet that are in service, by name."""
    return list(
        database.scalars(
            sa.select(Device.device)
            .where(Device.kind == RECORDER, Device.decommissioned_at.is_(None))
            .order_by(Device.device)
        )
    )
