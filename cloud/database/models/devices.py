"""The registry of devices: who belongs to the fleet, and who is there now."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base


class Device(Base):
    """One device; whatever speaks under a name that is not here is foreign.

    `kind` is one of `contract.enrolment.KINDS`; `site` is the place's name as staff know it. `presence` is
    `online` or `offline`, `presence_at` the server's time of its last change. `boot` is the boot id under
    which the device last came online: a will counts only while it names this boot. `enrolled_at` is the
    moment of its first certificate. A device with `decommissioned_at` is foreign again.
    """

    __tablename__ = "devices"

    device: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(32))
    site: Mapped[str] = mapped_column(sa.String(120))
    registered_at: Mapped[datetime]
    enrolled_at: Mapped[datetime | None]
    decommissioned_at: Mapped[datetime | None]
    presence: Mapped[str] = mapped_column(sa.String(16), default="offline")
    presence_at: Mapped[datetime | None]
    boot: Mapped[str] = mapped_column(sa.String(64), default="")
    agent: Mapped[str] = mapped_column(sa.String(64), default="")
    last_seen_at: Mapped[datetime | None]
