"""Roll-outs of updates, and where each stands on each device."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base
from contract.updates import DETAIL_LENGTH_MAX, PATH_LENGTH_MAX, VERSION_LENGTH_MAX


class UpdateRollout(Base):
    """One published target assigned to one or many devices; `target` is what the operator chose."""

    __tablename__ = "update_rollouts"

    id: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    update: Mapped[str] = mapped_column(sa.String(64), unique=True)
    component: Mapped[str] = mapped_column(sa.String(16))
    path: Mapped[str] = mapped_column(sa.String(PATH_LENGTH_MAX))
    version: Mapped[str] = mapped_column(sa.String(VERSION_LENGTH_MAX))
    downgrade: Mapped[bool]
    target: Mapped[str] = mapped_column(sa.String(69))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(sa.String(64))
    cancelled_at: Mapped[datetime | None]


class UpdateAssignment(Base):
    """One roll-out on one device, as the device told it last.

    `revision` is the news' own and only grows; 0 is what the control plane says of a device that has not
    taken the assignment. `code` is one of `contract.updates.UpdateCode`, or of a newer agent.
    """

    __tablename__ = "update_assignments"

    update: Mapped[str] = mapped_column(sa.ForeignKey("update_rollouts.update"), primary_key=True)
    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"), primary_key=True, index=True)
    state: Mapped[str] = mapped_column(sa.String(16), index=True)
    revision: Mapped[int]
    attempt: Mapped[int]
    code: Mapped[str] = mapped_column(sa.String(32))
    detail: Mapped[str] = mapped_column(sa.String(DETAIL_LENGTH_MAX))
    changed_at: Mapped[datetime]
