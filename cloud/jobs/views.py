"""What pages and the JSON interface show of jobs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.jobs import Job, JobExecution
from cloud.jobs.core import PENDING
from contract.jobs import Status

POSITION_MAX = 2**63 - 1
"""Largest position that a database takes."""
_LATEST = sa.select(sa.func.max(JobExecution.id).label("id")).group_by(JobExecution.job, JobExecution.device)


@dataclass(frozen=True)
class Overview:
    """One job; `counts` says how many devices are in which state with their latest try."""

    position: int
    job: str
    operation: str
    created_at: datetime
    created_by: str
    canceled_at: datetime | None
    counts: dict[Status, int]

    @property
    def pending(self) -> bool:
        """Whether any device still has to do something."""
        return any(self.counts.get(status) for status in PENDING)


@dataclass(frozen=True)
class Row:
    """One job on one device, its latest try."""

    job: str
    operation: str
    device: str
    number: int
    status: Status
    details: dict[str, Any]
    queued_at: datetime
    started_at: datetime | None
    updated_at: datetime


def overviews(session: Session, *, before: int | None, limit: int) -> list[Overview]:
    """At most `limit` jobs, newest first, below position `before`."""
    newest = sa.select(Job).order_by(Job.id.desc()).limit(limit)
    if before is not None:
        newest = newest.where(Job.id < before)
    return _counted(session, session.scalars(newest).all())


def overview(session: Session, job: str) -> Overview | None:
    """One job."""
    found = session.scalar(sa.select(Job).where(Job.job == job))
    return _counted(session, [found])[0] if found else None


def rows_of_job(session: Session, job: str) -> list[Row]:
    """Every device of a job."""
    return _rows(session, JobExecution.job == job, order=JobExecution.device.asc())


def rows_of_device(session: Session, device: str, limit: int) -> list[Row]:
    """The newest jobs of a device."""
    return _rows(session, JobExecution.device == device, order=JobExecution.id.desc(), limit=limit)


def _counted(session: Session, jobs: Sequence[Job]) -> list[Overview]:
    latest = _LATEST.where(JobExecution.job.in_([job.job for job in jobs]))
    counted: dict[str, Counter[Status]] = {job.job: Counter() for job in jobs}
    states = sa.select(JobExecution.job, JobExecution.status, sa.func.count()).where(
        JobExecution.id.in_(latest)
    )
    for job, status, count in session.execute(states.group_by(JobExecution.job, JobExecution.status)):
        counted[job][Status(status)] = count
    return [
        Overview(
            position=job.id,
            job=job.job,
            operation=job.operation,
            created_at=job.created_at,
            created_by=job.created_by,
            canceled_at=job.canceled_at,
            counts={status: counted[job.job][status] for status in Status if counted[job.job][status]},
        )
        for job in jobs
    ]


def _rows(
    session: Session,
    which: sa.ColumnElement[bool],
    *,
    order: sa.UnaryExpression[Any],
    limit: int | None = None,
) -> list[Row]:
    chosen = sa.select(JobExecution).where(JobExecution.id.in_(_LATEST.where(which)))
    return [
        Row(
            job=row.job,
            operation=row.of.operation,
            device=row.device,
            number=row.number,
            status=Status(row.status),
            details=dict(row.details),
            queued_at=row.queued_at,
            started_at=row.started_at,
            updated_at=row.updated_at,
        )
        for row in session.scalars(chosen.order_by(order).limit(limit))
    ]
