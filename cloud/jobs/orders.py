"""What an operator may order: which operations, on which devices, how fast, in which time."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.jobs import Job
from cloud.errors import MalformedError, RefusedError
from cloud.jobs.service import Jobs
from cloud.operators.actors import SignedIn, audit
from contract.jobs import TIMEOUT_MINUTES_MAX, Operation

OPERATIONS = (Operation.COLLECT_DIAGNOSTICS, Operation.RESTART_AGENT)
"""Print jobs and sittings are ordered by their own ways."""
ALL = "all"
GROUP = "group:"
"""Before the name of a group, where a target is asked for; no device is called so."""
TARGET_LENGTH_MAX = len(GROUP) + 63
QUEUED_EXPIRY_MINUTES = 24 * 60
"""A device that was away does it when it is back, on the same day."""
IN_PROGRESS_TIMEOUT_MINUTES = 5
KEY_LENGTH_MAX = 128
_MINE = "op-"


@dataclass(frozen=True)
class Groups:
    """The groups of devices, which another way keeps: names with titles, and who is in one now."""

    names: Callable[[Session], list[tuple[str, str]]]
    members: Callable[[Session, str], list[str]]


@dataclass(frozen=True)
class Order:
    """What an operator wants. `targets` are device ids, `group:` with the name of a group, or `all`.

    Without `per_minute` all devices see it at once. What a group or `all` means is settled at creation.
    """

    operation: str
    targets: Sequence[str]
    per_minute: int | None = None
    in_progress_minutes: int = IN_PROGRESS_TIMEOUT_MINUTES
    queued_minutes: int = QUEUED_EXPIRY_MINUTES
    retries: int = 0


def order(jobs: Jobs, groups: Groups, session: Session, operator: SignedIn, wanted: Order, key: str) -> str:
    """Create the job and its audit entry in the caller's transaction; the job's id.

    The same operator's same `key` is the same job.

    Raises:
        MalformedError: an operation that operators do not order, a number out of bounds, or no key.
        RefusedError: no device, a device or a group that is not there, or the key was another order's.
    """
    if wanted.operation not in OPERATIONS:
        raise MalformedError(f"operation is one of {', '.join(OPERATIONS)}, not {wanted.operation!r:.80}")
    if not 1 <= len(key) <= KEY_LENGTH_MAX:
        raise MalformedError(f"an idempotency key has 1 to {KEY_LENGTH_MAX} characters")
    for minutes in (wanted.in_progress_minutes, wanted.queued_minutes):
        if not 1 <= minutes <= TIMEOUT_MINUTES_MAX:
            raise MalformedError(f"a time is 1 to {TIMEOUT_MINUTES_MAX} minutes, not {minutes}")
    job = _MINE + hashlib.sha256(f"{operator.name}:{key}".encode()).hexdigest()[:24]
    wish = asdict(wanted) | {"targets": list(wanted.targets)}
    known = session.scalar(sa.select(Job.wish).where(Job.job == job))
    if known is not None:
        if known != wish:
            raise RefusedError("this idempotency key stands for another order; choose a new one")
        return job
    devices = meant(session, groups, wanted.targets)
    if not devices:
        raise RefusedError("there is no device to do it; register one first, or choose another group")
    document: dict[str, Any] = {"operation": wanted.operation}
    made = jobs.create(
        session,
        job,
        document,
        devices,
        in_progress_timeout_s=wanted.in_progress_minutes * 60,
        queued_expiry_s=wanted.queued_minutes * 60,
        retries=wanted.retries,
        created_by=operator.name,
        per_minute=wanted.per_minute,
        wish=wish,
    )
    if made:
        details = {"operation": wanted.operation, "devices": len(devices), "per_minute": wanted.per_minute}
        audit(session, operator, "create-job", job, details)
    return job


def meant(session: Session, groups: Groups, targets: Sequence[str]) -> list[str]:
    """The devices that `targets` mean now, by id; a device that is named is not looked up."""
    found: set[str] = set()
    for target in targets:
        if target == ALL:
            found.update(registered(session))
        elif target.startswith(GROUP):
            found.update(groups.members(session, target.removeprefix(GROUP)))
        else:
            found.add(target)
    return sorted(found)


def cancel(jobs: Jobs, session: Session, operator: SignedIn, job: str, *, force: bool) -> None:
    """Cancel the job and write it down.

    Raises:
        RefusedError: there is no such job, or another way of the control plane has ordered it.
    """
    _check_mine(job)
    ended = jobs.cancel(session, job, force=force)
    audit(session, operator, "cancel-job", job, {"ended": ended, "force": force})


def delete(jobs: Jobs, session: Session, operator: SignedIn, job: str) -> None:
    """Let a job that has ended be erased, and write it down.

    Raises:
        RefusedError: there is no such job, it has not ended, or another way has ordered it.
    """
    _check_mine(job)
    jobs.delete(session, job)
    audit(session, operator, "delete-job", job, {})


def is_mine(job: str) -> bool:
    """Whether an operator has ordered it."""
    return job.startswith(_MINE)


def registered(session: Session) -> list[str]:
    """Every device of the fleet."""
    rows = sa.select(Device.device).where(Device.decommissioned_at.is_(None))
    return list(session.scalars(rows.order_by(Device.device)))


def _check_mine(job: str) -> None:
    if not is_mine(job):
        raise RefusedError(f"job {job:.80} is not an operator's; it is cancelled where it was ordered")
