"""Jobs, their executions, and the diagnostics that devices hand in."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from cloud.database.models.base import Base


class Job(Base):
    """One piece of work for one or many devices; `document` is what they read, ids and states only.

    `created_by` is an operator's name, or the way that asked for it. The two times are seconds;
    `retries` says how often a failed or timed-out execution is queued again. `state` is a
    `contract.jobs.JobState`, `targets` the number of its devices, `wish` what was asked for when it was
    created. With `per_minute` it is shown to so many devices a minute; `rollout_next_at` is when the next of
    those that wait is due, None once none waits.
    """

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    job: Mapped[str] = mapped_column(sa.String(64), unique=True)
    operation: Mapped[str] = mapped_column(sa.String(64))
    document: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(sa.String(64))
    queued_expiry_s: Mapped[int]
    in_progress_timeout_s: Mapped[int]
    retries: Mapped[int]
    canceled_at: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(sa.String(24), index=True)
    targets: Mapped[int]
    wish: Mapped[dict[str, Any]]
    per_minute: Mapped[int | None]
    rollout_next_at: Mapped[datetime | None] = mapped_column(index=True)


class JobWaiting(Base):
    """One device that a job is still to be shown to, the lowest `position` first."""

    __tablename__ = "job_waiting"
    __table_args__ = (sa.Index("ix_job_waiting_position", "job", "position"),)

    job: Mapped[str] = mapped_column(sa.ForeignKey("jobs.job"), primary_key=True)
    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"), primary_key=True, index=True)
    position: Mapped[int]


class JobExecution(Base):
    """One job on one device, `number` counting its tries from 1.

    `deadline_at` is when the sweep ends it, None once it has ended. `told` says that whoever waits for the
    end has been told of it; until then the sweep tells them again. `afterwards` is what the device reported
    when the control plane had ended the execution before it: status and details.
    """

    __tablename__ = "job_executions"
    __table_args__ = (
        sa.UniqueConstraint("job", "device", "number"),
        sa.Index("ix_job_executions_pending", "device", "status"),
        sa.Index("ix_job_executions_job_status", "job", "status"),
    )

    id: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    job: Mapped[str] = mapped_column(sa.ForeignKey("jobs.job"))
    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"))
    number: Mapped[int]
    status: Mapped[str] = mapped_column(sa.String(16))
    version: Mapped[int]
    details: Mapped[dict[str, Any]]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]
    deadline_at: Mapped[datetime | None] = mapped_column(index=True)
    retries_left: Mapped[int]
    told: Mapped[bool] = mapped_column(index=True)
    afterwards: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))

    of: Mapped[Job] = relationship(lazy="joined", innerjoin=True, viewonly=True)


class Diagnostics(Base):
    """One bundle that a device handed in; its bytes are in the objects folder, by id."""

    __tablename__ = "diagnostics"
    __table_args__ = (sa.UniqueConstraint("device", "key"),)

    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"))
    key: Mapped[str] = mapped_column(sa.String(64))
    size: Mapped[int]
    sha256: Mapped[str] = mapped_column(sa.String(64))
    received_at: Mapped[datetime] = mapped_column(index=True)
