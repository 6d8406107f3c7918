"""What becomes of a job's execution: every decision, no I/O.

Shapes, states and version rules are AWS IoT Jobs' (see `contract.jobs`). An execution is one job on one
device, once; a retry is a new execution with the next number.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from contract.jobs import (
    BY_DEVICE,
    CLIENT_TOKEN_LENGTH_MAX,
    DETAIL_KEY_LENGTH_MAX,
    DETAIL_VALUE_LENGTH_MAX,
    DETAILS_MAX,
    EXECUTION,
    TIMEOUT_MINUTES_MAX,
    ErrorCode,
    Request,
    Status,
    Update,
)

PENDING = (Status.QUEUED, Status.IN_PROGRESS)
RETRIED = (Status.FAILED, Status.TIMED_OUT)
"""Ends after which another try makes sense; REJECTED says that it does not."""
OVER_ITS_HEAD = (Status.CANCELED, Status.TIMED_OUT, Status.REMOVED)
"""Ends that the control plane sets while a device may be at work."""


@dataclass(frozen=True)
class Terms:
    """What a job says about time and tries."""

    queued_expiry: timedelta
    in_progress_timeout: timedelta
    retries: int = 0


@dataclass(frozen=True)
class Execution:
    """One execution as the decisions see it; `order` grows with creation. `deadline` is None at an end."""

    job: str
    order: int
    terms: Terms
    status: Status
    version: int
    number: int
    retries_left: int
    details: dict[str, str]
    queued_at: datetime
    started_at: datetime | None
    updated_at: datetime
    deadline: datetime | None


@dataclass(frozen=True)
class Refusal:
    """A request that changes nothing; `current` goes with the answer where the device can learn from it."""

    code: ErrorCode
    message: str
    current: Execution | None = None


@dataclass(frozen=True)
class Repeated:
    """The same update as before: it is confirmed again, and nothing changes."""

    execution: Execution


def queued(job: str, order: int, terms: Terms, now: datetime) -> Execution:
    """The first execution of a job."""
    return Execution(
        job=job,
        order=order,
        terms=terms,
        status=Status(EXECUTION.initial),
        version=1,
        number=1,
        retries_left=terms.retries,
        details={},
        queued_at=now,
        started_at=None,
        updated_at=now,
        deadline=now + terms.queued_expiry,
    )


def retry(ended: Execution, order: int, now: datetime) -> Execution | None:
    """The execution that follows one that ended badly; None when its tries are used up, or make no sense."""
    if ended.status not in RETRIED or ended.retries_left == 0:
        return None
    return replace(
        queued(ended.job, order, ended.terms, now),
        number=ended.number + 1,
        retries_left=ended.retries_left - 1,
    )


def next_of(executions: Iterable[Execution]) -> Execution | None:
    """What a device should do next: what it has begun, else what has waited longest."""
    return min(
        (execution for execution in executions if execution.status in PENDING),
        key=lambda execution: (execution.status is Status.QUEUED, execution.order),
        default=None,
    )


def start(execution: Execution, request: Request, now: datetime) -> Execution | Refusal:
    """The execution once the device has asked to begin it; one that it has begun stays as it is."""
    if execution.status is Status.IN_PROGRESS:
        return execution
    wrong = _wrong(request.status_details, request.client_token, request.step_timeout_in_minutes)
    if wrong:
        return Refusal(ErrorCode.INVALID_REQUEST, wrong)
    begun = _after(execution, "start", now)
    return _timed(replace(begun, details=dict(request.status_details)), request.step_timeout_in_minutes, now)


def update(execution: Execution, wish: Update, now: datetime) -> Execution | Repeated | Refusal:
    """The execution after a device's update of it."""
    wrong = _wrong(wish.status_details, wish.client_token, wish.step_timeout_in_minutes)
    event = BY_DEVICE.get(wish.status)
    if event is None:
        wrong = f"a device may not set {wish.status}; it sets {', '.join(BY_DEVICE)}"
    if wrong or event is None:
        return Refusal(ErrorCode.INVALID_REQUEST, wrong)
    if wish.execution_number not in (None, execution.number):
        return Refusal(ErrorCode.RESOURCE_NOT_FOUND, f"execution number is {execution.number}", execution)
    if _is_repeated(execution, wish):
        return Repeated(execution)
    if not EXECUTION.allows(execution.status, event):
        return Refusal(
            ErrorCode.INVALID_STATE_TRANSITION,
            f"{execution.status} cannot become {wish.status}",
            execution,
        )
    if wish.expected_version not in (None, execution.version):
        return Refusal(ErrorCode.VERSION_MISMATCH, f"the version is {execution.version}", execution)
    after = _after(execution, event, now)
    if wish.status_details:
        after = replace(after, details=dict(wish.status_details))
    return _timed(after, wish.step_timeout_in_minutes, now) if after.deadline else after


def cancel(execution: Execution, now: datetime, *, force: bool) -> Execution:
    """The execution after the job was cancelled; an end stays what it is, and nothing is tried again.

    Without `force` what has begun goes on, as in AWS IoT Jobs.
    """
    if execution.status not in PENDING:
        return execution
    if execution.status is Status.IN_PROGRESS and not force:
        return replace(execution, retries_left=0)
    return _after(execution, "cancel", now)


def remove(execution: Execution, now: datetime) -> Execution:
    """The execution after its device has left the fleet; an end stays what it is."""
    return _after(execution, "remove", now) if execution.status in PENDING else execution


def afterwards(execution: Execution, wish: Update) -> dict[str, Any] | None:
    """What to note of a report that comes after the control plane's own end; None where there is nothing."""
    ends = BY_DEVICE.get(wish.status) is not None and wish.status is not Status.IN_PROGRESS
    same = wish.execution_number in (None, execution.number)
    if execution.status not in OVER_ITS_HEAD or execution.started_at is None or not ends or not same:
        return None
    if _wrong(wish.status_details, wish.client_token, wish.step_timeout_in_minutes):
        return None
    return {"status": wish.status.value, "details": dict(wish.status_details)}


def seconds_left(execution: Execution, now: datetime) -> int | None:
    """Whole seconds until a timer ends what is in progress; None while none runs."""
    if execution.status is not Status.IN_PROGRESS or execution.deadline is None:
        return None
    return max(0, int((execution.deadline - now).total_seconds()))


def expire(execution: Execution, now: datetime) -> Execution:
    """The execution at `now`: timed out if its deadline has passed."""
    if execution.deadline is None or now < execution.deadline:
        return execution
    return _after(execution, "expire", now)


def _after(execution: Execution, event: str, now: datetime) -> Execution:
    status = Status(EXECUTION.apply(execution.status, event))
    begun = execution.started_at or (now if status is Status.IN_PROGRESS else None)
    deadline = execution.deadline
    if status not in PENDING:
        deadline = None
    elif execution.status is Status.QUEUED:
        deadline = now + execution.terms.in_progress_timeout
    return replace(
        execution,
        status=status,
        version=execution.version + 1,
        started_at=begun,
        updated_at=now,
        deadline=deadline,
    )


def _timed(execution: Execution, step_minutes: int | None, now: datetime) -> Execution:
    """Lay AWS's step timer over the deadline; it never reaches beyond the job's own."""
    if step_minutes is None or execution.started_at is None:
        return execution
    whole = execution.started_at + execution.terms.in_progress_timeout
    if step_minutes == -1:
        return replace(execution, deadline=whole)
    return replace(execution, deadline=min(whole, now + timedelta(minutes=step_minutes)))


def _is_repeated(execution: Execution, wish: Update) -> bool:
    """Whether this end was reported before: the answer was lost on its way, or the broker sent it twice."""
    return (
        execution.status not in PENDING
        and execution.status is wish.status
        and wish.expected_version in (None, execution.version - 1)
        and (not wish.status_details or wish.status_details == execution.details)
    )


def _wrong(details: dict[str, str], token: str, step_minutes: int | None) -> str:
    if len(details) > DETAILS_MAX:
        return f"statusDetails has {len(details)} entries: at most {DETAILS_MAX} are taken"
    for key, value in details.items():
        if not 1 <= len(key) <= DETAIL_KEY_LENGTH_MAX or len(value) > DETAIL_VALUE_LENGTH_MAX:
            return (
                f"a key of statusDetails has 1 to {DETAIL_KEY_LENGTH_MAX} characters, "
                f"a value at most {DETAIL_VALUE_LENGTH_MAX}"
            )
    if len(token) > CLIENT_TOKEN_LENGTH_MAX:
        return f"clientToken has at most {CLIENT_TOKEN_LENGTH_MAX} characters"
    if step_minutes is not None and step_minutes != -1 and not 1 <= step_minutes <= TIMEOUT_MINUTES_MAX:
        return f"stepTimeoutInMinutes is -1, or 1 to {TIMEOUT_MINUTES_MAX}"
    return ""
