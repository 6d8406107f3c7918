"""Executions in the shapes that devices read (AWS IoT Jobs; times are whole seconds since 1970 UTC)."""

from collections.abc import Iterable
from datetime import datetime

from cloud.jobs.core import seconds_left
from cloud.jobs.store import Stored
from contract.jobs import PENDING_LISTED_MAX, Execution, State, Status, Summary


def seconds(moment: datetime) -> int:
    """A moment as AWS writes it."""
    return int(moment.timestamp())


def execution(stored: Stored, now: datetime, *, with_document: bool = True) -> Execution:
    """One execution in full, as it is told at `now`."""
    told = stored.execution
    return Execution(
        job_id=told.job,
        thing_name=stored.device,
        status=told.status,
        version_number=told.version,
        execution_number=told.number,
        queued_at=seconds(told.queued_at),
        started_at=seconds(told.started_at) if told.started_at else None,
        last_updated_at=seconds(told.updated_at),
        status_details=told.details,
        job_document=stored.document if with_document else None,
        approximate_seconds_before_timed_out=seconds_left(told, now),
    )


def state(stored: Stored) -> State:
    """`executionState` of an answer."""
    told = stored.execution
    return State(status=told.status, version_number=told.version, status_details=told.details)


def summaries(pending: Iterable[Stored], status: Status) -> list[Summary]:
    """The first pending executions that are in `status`."""
    chosen = [stored.execution for stored in pending if stored.execution.status is status]
    return [
        Summary(
            job_id=told.job,
            queued_at=seconds(told.queued_at),
            last_updated_at=seconds(told.updated_at),
            version_number=told.version,
            execution_number=told.number,
            started_at=seconds(told.started_at) if told.started_at else None,
        )
        for told in chosen[:PENDING_LISTED_MAX]
    ]
