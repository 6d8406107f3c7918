"""What staff say of devices, so that many can be meant at once: tags and groups."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base


class DeviceTag(Base):
    """One word with its value about a device, such as `floor` and `2`; nothing personal."""

    __tablename__ = "device_tags"

    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"), primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    value: Mapped[str] = mapped_column(sa.String(256))


class DeviceGroup(Base):
    """Devices under one name: those that match `query`, or, where it is None, those put in by hand."""

    __tablename__ = "device_groups"

    name: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    title: Mapped[str] = mapped_column(sa.String(120))
    query: Mapped[str | None] = mapped_column(sa.String(500))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(sa.String(64))


class DeviceGroupMember(Base):
    """One device that was put into a group by hand."""

    __tablename__ = "device_group_members"

    name: Mapped[str] = mapped_column(sa.ForeignKey("device_groups.name"), primary_key=True)
    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"), primary_key=True)
