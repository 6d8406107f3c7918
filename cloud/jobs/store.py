"""Executions between the database and the decisions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.jobs import Job, JobExecution, JobWaiting
from cloud.jobs.core import PENDING, Execution, Terms
from contract.jobs import JobState, Status

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


def details(session: Session, job: str, device: str) -> dict[str, str]:
    """What `device` said last about `job`; nothing where it was not shown it."""
    stored = find(session, job, device)
    return stored.execution.details if stored is not None else {}


def of_job(session: Session, job: str) -> list[Stored]:
    """Every execution of `job`, by device and try."""
    rows = sa.select(JobExecution).where(JobExecution.job == job)
    return [_stored(row) for row in session.scalars(rows.order_by(JobExecution.device, JobExecution.number))]


def devices_of(session: Session, job: str) -> list[str]:
    """Where `job` was ordered.

    Who waits is read first, so that a device that is shown the job meanwhile is not missed.
    """
    waiting = session.scalars(sa.select(JobWaiting.device).where(JobWaiting.job == job)).all()
    shown = session.scalars(sa.select(JobExecution.device).where(JobExecution.job == job).distinct())
    return sorted({*waiting, *shown})


def held(session: Session, job: str) -> Job | None:
    """The row of `job`, which nobody else changes until the transaction ends; hold its devices before it."""
    row = sa.select(Job).where(Job.job == job).with_for_update(key_share=True)
    return session.scalar(row.execution_options(populate_existing=True))


def is_pending(session: Session, job: str) -> bool:
    """Whether any device has something of `job` to do, now or later."""
    executions = sa.select(JobExecution.id).where(JobExecution.job == job, JobExecution.status.in_(_PENDING))
    waits = sa.select(JobWaiting.device).where(JobWaiting.job == job)
    return session.scalar(sa.select(sa.or_(executions.exists(), waits.exists()))) or False


def wait(session: Session, job: str, devices: Sequence[str]) -> None:
    """Write down that `job` is to be shown to `devices`, in this order."""
    rows = [{"job": job, "device": device, "position": position} for position, device in enumerate(devices)]
    session.execute(sa.insert(JobWaiting), rows)


def waiting(session: Session, job: str, limit: int | None = None) -> list[str]:
    """The devices that `job` is still to be shown to, at most `limit`, in their order."""
    rows = sa.select(JobWaiting.device).where(JobWaiting.job == job).order_by(JobWaiting.position)
    return list(session.scalars(rows.limit(limit)))


def count_waiting(session: Session, job: str) -> int:
    """How many devices `job` is still to be shown to."""
    return session.scalar(sa.select(sa.func.count()).where(JobWaiting.job == job)) or 0


def jobs_waiting_for(session: Session, device: str) -> list[str]:
    """The jobs that are still to be shown to `device`, by id."""
    return list(session.scalars(sa.select(JobWaiting.job).where(JobWaiting.device == device).order_by("job")))


def wait_no_more(session: Session, job: str, devices: Iterable[str]) -> None:
    """`job` is not to be shown to `devices` any more, because it was, or because it never will be."""
    session.execute(sa.delete(JobWaiting).where(JobWaiting.job == job, JobWaiting.device.in_(list(devices))))


def shown_since(session: Session, job: str, moment: datetime) -> int:
    """How many devices were shown `job` after `moment`; one that left before its turn was not."""
    unseen = sa.and_(
        JobExecution.status == Status.REMOVED.value, JobExecution.updated_at == JobExecution.queued_at
    )
    first = sa.select(sa.func.count()).where(
        JobExecution.job == job, JobExecution.number == 1, JobExecution.queued_at > moment, ~unseen
    )
    return session.scalar(first) or 0


def rolling(session: Session, now: datetime, limit: int) -> list[str]:
    """At most `limit` jobs whose next device is due."""
    rows = sa.select(Job.job).where(Job.rollout_next_at <= now).order_by(Job.rollout_next_at)
    return list(session.scalars(rows.limit(limit)))


def devices_gone(session: Session, limit: int) -> list[str]:
    """At most `limit` devices that have left the fleet and still have something to do."""
    work = sa.select(JobExecution.id).where(
        JobExecution.device == Device.device, JobExecution.status.in_(_PENDING)
    )
    waits = sa.select(JobWaiting.job).where(JobWaiting.device == Device.device)
    rows = sa.select(Device.device).where(
        Device.decommissioned_at.is_not(None), sa.or_(work.exists(), waits.exists())
    )
    return list(session.scalars(rows.limit(limit)))


def gone(session: Session, devices: Sequence[str]) -> set[str]:
    """Those of `devices` that are not of the fleet."""
    rows = sa.select(Device.device).where(Device.device.in_(devices), Device.decommissioned_at.is_(None))
    return set(devices) - set(session.scalars(rows))


def deleted(session: Session, limit: int) -> list[str]:
    """At most `limit` jobs that are to be erased."""
    rows = sa.select(Job.job).where(Job.state == JobState.DELETION_IN_PROGRESS.value).order_by(Job.id)
    return list(session.scalars(rows.limit(limit)))


def erase(session: Session, job: str, limit: int) -> int:
    """Erase at most `limit` executions of a deleted job, and the job once none is left; how many executions.

    An execution whose end is still to be told stays until it was.
    """
    some = sa.select(JobExecution.id).where(JobExecution.job == job, JobExecution.told).limit(limit)
    numbers = session.scalars(some).all()
    session.execute(sa.delete(JobExecution).where(JobExecution.id.in_(numbers)))
    left = sa.select(JobExecution.id).where(JobExecution.job == job)
    if session.scalar(sa.select(~left.exists())):
        session.execute(sa.delete(Job).where(Job.job == job))
    return len(numbers)


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
    """How much each of `devices` has to do, what it is still to be shown too."""
    pending = sa.select(JobExecution.device).where(
        JobExecution.device.in_(devices), JobExecution.status.in_(_PENDING)
    )
    waits = sa.select(JobWaiting.device).where(JobWaiting.device.in_(devices))
    both = sa.union_all(pending, waits).subquery()
    rows = sa.select(both.c.device, sa.func.count()).group_by(both.c.device)
    return {row[0]: row[1] for row in session.execute(rows)}


def add(session: Session, devices: Iterable[str], execution: Execution) -> None:
    """Write a new execution for each of `devices`; the database gives the order."""
    session.execute(
        sa.insert(JobExecution),
        [
            {
                "job": execution.job,
                "device": device,
                "number": execution.number,
                "queued_at": execution.queued_at,
                **_changing(execution),
            }
            for device in devices
        ],
    )


def save(session: Session, device: str, execution: Execution) -> None:
    """Write what has changed of an execution."""
    session.execute(_update_of(device, execution).values(_changing(execution)))


def mark_told(session: Session, device: str, execution: Execution) -> None:
    """Whoever waits for this end knows of it."""
    session.execute(_update_of(device, execution).values(told=True))


def note_afterwards(session: Session, device: str, execution: Execution, told: dict[str, Any]) -> None:
    """Keep what a device reported after the control plane's own end; the first report stands."""
    session.execute(
        _update_of(device, execution).where(JobExecution.afterwards.is_(None)).values(afterwards=told)
    )


def _update_of(device: str, execution: Execution) -> sa.Update:
    return sa.update(JobExecution).where(
        JobExecution.job == execution.job,
        JobExecution.device == device,
        JobExecution.number == execution.number,
    )


def _changing(execution: Execution) -> dict[str, Any]:
    return {
        "status": execution.status.value,
        "retries_left": execution.retries_left,
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
