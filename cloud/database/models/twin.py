"""What each device should do, and what it says it does."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base


class DeviceTwin(Base):
    """The twin of one device; one that was deleted stays as its version, with `present` false.

    The sections are JSON objects, the two `…_at` their metadata. `differs` says that something is desired and
    not reported so. `last` is the fingerprint of the request that was taken last.
    """

    __tablename__ = "device_twins"

    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"), primary_key=True)
    version: Mapped[int] = mapped_column(sa.BigInteger)
    present: Mapped[bool]
    desired: Mapped[dict[str, Any]]
    reported: Mapped[dict[str, Any]]
    desired_at: Mapped[dict[str, Any]]
    reported_at: Mapped[dict[str, Any]]
    differs: Mapped[bool] = mapped_column(index=True)
    last: Mapped[str] = mapped_column(sa.String(64))
    changed_at: Mapped[datetime]
