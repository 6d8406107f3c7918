"""What pages and the JSON interface show of jobs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.jobs import Job, JobExecution, JobWaiting
from cloud.jobs.core import PENDING
from contract.jobs import JOB, JobState, Status

POSITION_MAX = 2**63 - 1
"""Largest position that a database takes."""
_LATEST = sa.select(sa.func.max(JobExecution.id).label("id")).group_by(JobExecution.job, JobExecution.device)


@dataclass(frozen=True)
class Overview:
    """One job; `counts` says how many devices are in which state with their latest try.

    `waiting` of its `targets` are still to be shown it. Times are in seconds.
    """

    position: int
    job: str
    operation: str
    created_at: datetime
    created_by: str
    canceled_at: datetime | None
    state: JobState
    targets: int
    waiting: int
    per_minute: int | None
    retries: int
    in_progress_timeout_s: int
    queued_expiry_s: int
    wish: dict[str, Any]
    counts: dict[Status, int]

    @property
    def asked(self) -> list[str]:
        """Where an operator wanted it; nothing for jobs of the control plane itself."""
        return list(self.wish.get("targets", []))

    @property
    def pending(self) -> bool:
        """Whether any device still has to do something."""
        return bool(self.waiting) or any(self.counts.get(status) for status in PENDING)

    @property
    def deletable(self) -> bool:
        """Whether it can be erased."""
        return JOB.allows(self.state, "delete") and not self.pending


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
    afterwards: dict[str, Any] | None


def overviews(
    session: Session, *, before: int | None, limit: int, state: JobState | None = None
) -> list[Overview]:
    """At most `limit` jobs (of one `state`), newest first, below position `before`."""
    newest = sa.select(Job).order_by(Job.id.desc()).limit(limit)
    if state is not None:
        newest = newest.where(Job.state == state.value)
    if before is not None:
        newest = newest.where(Job.id < before)
    return _counted(session, session.scalars(newest).all())


def overview(session: Session, job: str) -> Overview | None:
    """One job."""
    found = session.scalar(sa.select(Job).where(Job.job == job))
    return _counted(session, [found])[0] if found else None


def rows_of_job(
    session: Session, job: str, *, after: str = "", limit: int, status: Status | None = None
) -> list[Row]:
    """At most `limit` devices of a job after `after` (those in `status`), by id, each with its latest try."""
    which = sa.and_(JobExecution.job == job, JobExecution.device > after)
    return _rows(session, which, order=JobExecution.device.asc(), limit=limit, status=status)


def rows_of_device(session: Session, device: str, limit: int) -> list[Row]:
    """The newest jobs of a device."""
    return _rows(session, JobExecution.device == device, order=JobExecution.id.desc(), limit=limit)


def _counted(session: Session, jobs: Sequence[Job]) -> list[Overview]:
    latest = _LATEST.where(JobExecution.job.in_([job.job for job in jobs]))
    waits = sa.select(JobWaiting.job, sa.func.count()).where(JobWaiting.job.in_([job.job for job in jobs]))
    waiting = {row[0]: row[1] for row in session.execute(waits.group_by(JobWaiting.job))}
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
            state=JobState(job.state),
            targets=job.targets,
            waiting=waiting.get(job.job, 0),
            per_minute=job.per_minute,
            retries=job.retries,
            in_progress_timeout_s=job.in_progress_timeout_s,
            queued_expiry_s=job.queued_expiry_s,
            wish=dict(job.wish),
            counts={status: counted[job.job][status] for status in Status if counted[job.job][status]},
        )
        for job in jobs
    ]


def _rows(
    session: Session,
    which: sa.ColumnElement[bool],
    *,
    order: sa.UnaryExpression[Any],
    limit: int,
    status: Status | None = None,
) -> list[Row]:
    chosen = sa.select(JobExecution).where(JobExecution.id.in_(_LATEST.where(which)))
    if status is not None:
        chosen = chosen.where(JobExecution.status == status.value)
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
            afterwards=dict(row.afterwards) if row.afterwards else None,
        )
        for row in session.scalars(chosen.order_by(order).limit(limit))
    ]
