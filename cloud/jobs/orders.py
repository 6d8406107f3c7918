"""What an operator may order: which operations, on which devices, in which time."""

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.errors import MalformedError, RefusedError
from cloud.jobs.service import Jobs
from cloud.operators.access import SignedIn, audit
from contract.jobs import Operation

OPERATIONS = (Operation.COLLECT_DIAGNOSTICS, Operation.RESTART_AGENT)
"""Print jobs and sittings are ordered by their own ways."""
ALL = "all"
QUEUED_EXPIRY_S = 24 * 3600.0
"""A device that was away does it when it is back, on the same day."""
IN_PROGRESS_TIMEOUT_S = 300.0
KEY_LENGTH_MAX = 128


def order(
    jobs: Jobs, session: Session, operator: SignedIn, operation: str, targets: Sequence[str], key: str
) -> str:
    """Create the job and its audit entry in the caller's transaction; the job's id.

    `targets` are device ids, or `all` alone. The same operator's same `key` is the same job.

    Raises:
        MalformedError: an operation that operators do not order, or no key.
        RefusedError: no device, or a device that is not registered.
    """
    if operation not in OPERATIONS:
        raise MalformedError(f"operation is one of {', '.join(OPERATIONS)}, not {operation!r:.80}")
    if not 1 <= len(key) <= KEY_LENGTH_MAX:
        raise MalformedError(f"an idempotency key has 1 to {KEY_LENGTH_MAX} characters")
    job = "op-" + hashlib.sha256(f"{operator.name}:{key}".encode()).hexdigest()[:24]
    devices = registered(session) if list(targets) == [ALL] else list(targets)
    if not devices:
        raise RefusedError("there is no device to do it; register one first")
    document: dict[str, Any] = {"operation": operation}
    made = jobs.create(
        session,
        job,
        document,
        devices,
        in_progress_timeout_s=IN_PROGRESS_TIMEOUT_S,
        queued_expiry_s=QUEUED_EXPIRY_S,
        created_by=operator.name,
    )
    if made:
        audit(session, operator, "create-job", job, {"operation": operation, "devices": len(set(devices))})
    return job


def cancel(jobs: Jobs, session: Session, operator: SignedIn, job: str) -> None:
    """Cancel the job and write it down.

    Raises:
        RefusedError: there is no such job, or another way of the control plane has ordered it.
    """
    if not job.startswith("op-"):
        raise RefusedError(f"job {job} is not an operator's; it is cancelled where it was ordered")
    ended = jobs.cancel(session, job)
    audit(session, operator, "cancel-job", job, {"ended": ended})


def registered(session: Session) -> list[str]:
    """Every device of the fleet."""
    rows = sa.select(Device.device).where(Device.decommissioned_at.is_(None))
    return list(session.scalars(rows.order_by(Device.device)))
