"""Executions between the database and the decisions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.jobs import Job, JobExecution
from cloud.jobs.core import PENDING, Execution, Terms
from contract.jobs import Status

NUMBER_MAX = 2**31 - 1
"""What the databases take for a number of tries; devices ask for any."""
_PENDING = [status.value for status in PENDING]


@dataclass(frozen=True)
class Stored:
    """An execution with its row and the document that its device reads."""

    device: str
    document: dict[str, Any]
    execution: Execution


def pending(session: Session, device: str) -> list[Stored]:
    """What `device` still has to do, oldest first."""
    return pending_of(session, [device])[device]


def pending_of(session: Session, devices: Iterable[str]) -> dict[str, list[Stored]]:
    """What each of `devices` still has to do, oldest first."""
    found: dict[str, list[Stored]] = {device: [] for device in devices}
    rows = sa.select(JobExecution).where(
        JobExecution.device.in_(list(found)), JobExecution.status.in_(_PENDING)
    )
    for row in session.scalars(rows.order_by(JobExecution.id)):
        found[row.device].append(_stored(row))
    return found


def find(session: Session, job: str, device: str, number: int | None = None) -> Stored | None:
    """The execution of `job` on `device`: number `number`, or the latest."""
    if number is not None and not 1 <= number <= NUMBER_MAX:
        return None
    rows = sa.select(JobExecution).where(JobExecution.job == job, JobExecution.device == device)
    if number is not None:
        rows = rows.where(JobExecution.number == number)
    row = session.scalars(rows.order_by(JobExecution.number.desc()).limit(1)).first()
    return _stored(row) if row else None


def of_job(session: Session, job: str) -> list[Stored]:
    """Every execution of `job`, by device and try."""
    rows = sa.select(JobExecution).where(JobExecution.job == job)
    return [_stored(row) for row in session.scalars(rows.order_by(JobExecution.device, JobExecution.number))]


def devices_of(session: Session, job: str) -> list[str]:
    """Where `job` was ordered."""
    return list(session.scalars(sa.select(JobExecution.device).where(JobExecution.job == job).distinct()))


def devices_due(session: Session, now: datetime, limit: int) -> list[str]:
    """At most `limit` devices with an execution whose deadline has passed."""
    rows = sa.select(JobExecution.device).where(JobExecution.deadline_at <= now)
    return list(session.scalars(rows.distinct().limit(limit)))


def due(session: Session, devices: Sequence[str], now: datetime, limit: int) -> list[Stored]:
    """At most `limit` executions of `devices` whose deadline has passed."""
    rows = sa.select(JobExecution).where(JobExecution.device.in_(devices), JobExecution.deadline_at <= now)
    return [_stored(row) for row in session.scalars(rows.order_by(JobExecution.deadline_at).limit(limit))]


def untold(session: Session, limit: int) -> list[Stored]:
    """At most `limit` executions that have ended, and whose end is still to be told."""
    rows = sa.select(JobExecution).where(JobExecution.told.is_(False), JobExecution.deadline_at.is_(None))
    return [_stored(row) for row in session.scalars(rows.order_by(JobExecution.id).limit(limit))]


def devices_with_work(session: Session) -> list[str]:
    """Every device that has something to do."""
    rows = sa.select(JobExecution.device).where(JobExecution.status.in_(_PENDING))
    return sorted(session.scalars(rows.distinct()))


def count_pending(session: Session, devices: Sequence[str]) -> dict[str, int]:
    """How much each of `devices` has to do."""
    rows = sa.select(JobExecution.device, sa.func.count()).where(
        JobExecution.device.in_(devices), JobExecution.status.in_(_PENDING)
    )
    return {row[0]: row[1] for row in session.execute(rows.group_by(JobExecution.device))}


def add(session: Session, devices: Iterable[str], execution: Execution) -> None:
    """Write a new execution for each of `devices`; the database gives the order."""
    session.execute(
        sa.insert(JobExecution),
        [
            {
                "job": execution.job,
                "device": device,
                "number": execution.number,
                "retries_left": execution.retries_left,
                "queued_at": execution.queued_at,
                **_changing(execution),
            }
            for device in devices
        ],
    )


def save(session: Session, device: str, execution: Execution) -> None:
    """Write what has changed of an execution."""
    session.execute(
        sa.update(JobExecution)
        .where(
            JobExecution.job == execution.job,
            JobExecution.device == device,
            JobExecution.number == execution.number,
        )
        .values(_changing(execution))
    )


def mark_told(session: Session, device: str, execution: Execution) -> None:
    """Whoever waits for this end knows of it."""
    session.execute(
        sa.update(JobExecution)
        .where(
            JobExecution.job == execution.job,
            JobExecution.device == device,
            JobExecution.number == execution.number,
        )
        .values(told=True)
    )


def _changing(execution: Execution) -> dict[str, Any]:
    return {
        "status": execution.status.value,
        "version": execution.version,
        "details": execution.details,
        "started_at": execution.started_at,
        "updated_at": execution.updated_at,
        "deadline_at": execution.deadline,
        "told": False,
    }


def terms_of(job: Job) -> Terms:
    """What the job says about time and tries."""
    return Terms(
        queued_expiry=timedelta(seconds=job.queued_expiry_s),
        in_progress_timeout=timedelta(seconds=job.in_progress_timeout_s),
        retries=job.retries,
    )


def _stored(row: JobExecution) -> Stored:
    execution = Execution(
        job=row.job,
        order=row.id,
        terms=terms_of(row.of),
        status=Status(row.status),
        version=row.version,
        number=row.number,
        retries_left=row.retries_left,
        details=dict(row.details),
        queued_at=row.queued_at,
        started_at=row.started_at,
        updated_at=row.updated_at,
        deadline=row.deadline_at,
    )
    return Stored(row.device, dict(row.of.document), execution)
