"""Jobs and diagnostics for programs: staff on the pages' listener, devices on their own."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from cloud.database.models.jobs import Diagnostics
from cloud.jobs import orders, views
from cloud.jobs.diagnostics import Bundles
from cloud.jobs.service import TARGETS_MAX, Jobs
from cloud.jobs.views import POSITION_MAX, Overview, Row
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.listener import peer
from cloud.web.problems import ProblemError
from contract.jobs import PER_MINUTE_MAX, RETRIES_MAX, TIMEOUT_MINUTES_MAX, JobState, Status

LISTED_MAX = 100
PATH = "/api/v1/jobs"
DIAGNOSTICS_PATH = "/api/v1/diagnostics"


_BUNDLE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "properties": {"job": {"type": "string"}}}}
        },
    }
}


class NewJob(BaseModel):
    """What to do where; `targets` are device ids, `group:` with the name of a group, or `all`.

    What a group or `all` means is settled now: devices that come later do not get the job. With
    `maximum_per_minute` the devices see it one after another, without it all at once. `retries` counts for
    devices that fail or run out of time. A device begins within `queued_minutes` and ends within
    `in_progress_minutes` of its beginning.
    """

    operation: str = Field(max_length=64)
    targets: list[Annotated[str, Field(max_length=orders.TARGET_LENGTH_MAX)]] = Field(
        min_length=1, max_length=TARGETS_MAX
    )
    maximum_per_minute: int | None = Field(default=None, ge=1, le=PER_MINUTE_MAX)
    in_progress_minutes: int = Field(default=orders.IN_PROGRESS_TIMEOUT_MINUTES, ge=1, le=TIMEOUT_MINUTES_MAX)
    queued_minutes: int = Field(default=orders.QUEUED_EXPIRY_MINUTES, ge=1, le=TIMEOUT_MINUTES_MAX)
    retries: int = Field(default=0, ge=0, le=RETRIES_MAX)


class JobView(BaseModel):
    """One job; `devices` says how many devices are in which state.

    `waiting` of its `targets` are still to be shown it. `targets_asked` is what was ordered, empty for jobs
    of the control plane itself.
    """

    job: str
    operation: str
    created_at: datetime
    created_by: str
    canceled_at: datetime | None
    state: JobState
    targets: int
    targets_asked: list[str]
    waiting: int
    maximum_per_minute: int | None
    retries: int
    in_progress_timeout_s: int
    queued_expiry_s: int
    devices: dict[Status, int]


class Afterwards(BaseModel):
    """How a device ended what the control plane had ended before it."""

    status: Status
    details: dict[str, str]


class ExecutionView(BaseModel):
    """One job on one device, its latest try."""

    device: str
    number: int
    status: Status
    details: dict[str, str]
    queued_at: datetime
    started_at: datetime | None
    updated_at: datetime
    afterwards: Afterwards | None


class ExecutionList(BaseModel):
    """By device; `next` is the cursor of the next page, null on the last."""

    executions: list[ExecutionView]
    next: str | None


class JobDetail(JobView):
    """One job with its first devices; `/executions` gives the others, with the cursor `next`."""

    executions: list[ExecutionView]
    next: str | None


class JobList(BaseModel):
    """Newest first; `next` is the cursor of the next page, null on the last."""

    jobs: list[JobView]
    next: int | None


def router(sessions: sessionmaker[Session], jobs: Jobs, groups: orders.Groups, bundles: Bundles) -> APIRouter:
    """The routes for staff's programs."""
    routes = APIRouter()

    @routes.get(PATH)
    def list_jobs(
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 50,
        cursor: Annotated[int | None, Query(ge=1, le=POSITION_MAX)] = None,
        state: JobState | None = None,
    ) -> JobList:
        with sessions() as session:
            found = views.overviews(session, before=cursor, limit=limit + 1, state=state)
        shown = found[:limit]
        following = shown[-1].position if len(found) > limit else None
        return JobList(jobs=[JobView(**_job(each)) for each in shown], next=following)

    @routes.post(PATH, status_code=201)
    def create_job(
        request: Request, new: NewJob, idempotency_key: Annotated[str, Header(max_length=128)]
    ) -> JobDetail:
        operator = current_operator(request)
        wanted = orders.Order(
            new.operation,
            new.targets,
            new.maximum_per_minute,
            new.in_progress_minutes,
            new.queued_minutes,
            new.retries,
        )
        with sessions.begin() as session:
            job = orders.order(jobs, groups, session, operator, wanted, idempotency_key)
        return _detail(sessions, job)

    _add_one(routes, sessions, jobs)

    @routes.get(DIAGNOSTICS_PATH + "/{bundle}")
    def download(bundle: str) -> Response:
        with sessions() as session:
            row = session.get(Diagnostics, bundle)
        if row is None:
            raise ProblemError(404, f"there is no bundle {bundle:.40}", code="not-found")
        name = f"{row.device}-{row.received_at:%Y%m%dT%H%M%SZ}.json"
        return FileResponse(bundles.path(row.id), media_type="application/json", filename=name)

    return belongs_to(Area.JOBS, routes)


def _add_one(routes: APIRouter, sessions: sessionmaker[Session], jobs: Jobs) -> None:
    """The routes of one job."""

    @routes.get(PATH + "/{job}")
    def show_job(job: str) -> JobDetail:
        return _detail(sessions, job)

    @routes.get(PATH + "/{job}/executions")
    def list_executions(
        job: str,
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = LISTED_MAX,
        cursor: Annotated[str, Query(max_length=63)] = "",
        status: Status | None = None,
    ) -> ExecutionList:
        _detail(sessions, job)
        with sessions() as session:
            return _executions(session, job, cursor, limit, status)

    @routes.post(PATH + "/{job}/cancel")
    def cancel_job(request: Request, job: str, force: bool = False) -> JobDetail:
        """What devices work on goes on, unless `force` is true. A job that has ended stays as it is."""
        operator = current_operator(request)
        _detail(sessions, job)
        with sessions.begin() as session:
            orders.cancel(jobs, session, operator, job, force=force)
        return _detail(sessions, job)

    @routes.delete(PATH + "/{job}", status_code=202)
    def delete_job(request: Request, job: str) -> JobView:
        """Only a job that has ended everywhere; it is erased within seconds."""
        operator = current_operator(request)
        found = _detail(sessions, job)
        with sessions.begin() as session:
            orders.delete(jobs, session, operator, job)
        return found.model_copy(update={"state": JobState.DELETION_IN_PROGRESS})


def device_router(bundles: Bundles) -> APIRouter:
    """The routes for devices: a bundle comes in, its id goes out."""
    routes = APIRouter()

    @routes.post(DIAGNOSTICS_PATH, status_code=201, openapi_extra=_BUNDLE)
    async def hand_in(request: Request) -> Response:
        device = peer(request)
        kept = await run_in_threadpool(bundles.receive, device, await request.body())
        return JSONResponse({"id": kept}, 201)

    return routes


def _detail(sessions: Callable[[], Session], job: str) -> JobDetail:
    with sessions() as session:
        found = views.overview(session, job)
        if found is None:
            raise ProblemError(404, f"there is no job {job:.80}", code="not-found")
        listed = _executions(session, job, "", LISTED_MAX, None)
    return JobDetail(**_job(found), executions=listed.executions, next=listed.next)


def _executions(session: Session, job: str, after: str, limit: int, status: Status | None) -> ExecutionList:
    rows = views.rows_of_job(session, job, after=after, limit=limit + 1, status=status)
    following = rows[limit - 1].device if len(rows) > limit else None
    return ExecutionList(
        executions=[ExecutionView(**_execution(row)) for row in rows[:limit]], next=following
    )


def _job(overview: Overview) -> dict[str, Any]:
    return {
        "job": overview.job,
        "operation": overview.operation,
        "created_at": overview.created_at,
        "created_by": overview.created_by,
        "canceled_at": overview.canceled_at,
        "state": overview.state,
        "targets": overview.targets,
        "targets_asked": overview.asked,
        "waiting": overview.waiting,
        "maximum_per_minute": overview.per_minute,
        "retries": overview.retries,
        "in_progress_timeout_s": overview.in_progress_timeout_s,
        "queued_expiry_s": overview.queued_expiry_s,
        "devices": overview.counts,
    }


def _execution(row: Row) -> dict[str, Any]:
    return {
        "device": row.device,
        "number": row.number,
        "status": row.status,
        "details": row.details,
        "queued_at": row.queued_at,
        "started_at": row.started_at,
        "updated_at": row.updated_at,
        "afterwards": row.afterwards,
    }
