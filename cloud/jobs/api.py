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
from contract.jobs import Status

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
    """What to do where; `targets` are device ids, or `["all"]`."""

    operation: str = Field(max_length=64)
    targets: list[Annotated[str, Field(max_length=63)]] = Field(min_length=1, max_length=TARGETS_MAX)


class JobView(BaseModel):
    """One job; `devices` says how many devices are in which state."""

    job: str
    operation: str
    created_at: datetime
    created_by: str
    canceled_at: datetime | None
    devices: dict[Status, int]


class ExecutionView(BaseModel):
    """One job on one device, its latest try."""

    device: str
    number: int
    status: Status
    details: dict[str, str]
    queued_at: datetime
    started_at: datetime | None
    updated_at: datetime


class JobDetail(JobView):
    """One job with every device."""

    executions: list[ExecutionView]


class JobList(BaseModel):
    """Newest first; `next` is the cursor of the next page, null on the last."""

    jobs: list[JobView]
    next: int | None


def router(sessions: sessionmaker[Session], jobs: Jobs, bundles: Bundles) -> APIRouter:
    """The routes for staff's programs."""
    routes = APIRouter()

    @routes.get(PATH)
    def list_jobs(
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 50,
        cursor: Annotated[int | None, Query(ge=1, le=POSITION_MAX)] = None,
    ) -> JobList:
        with sessions() as session:
            found = views.overviews(session, before=cursor, limit=limit + 1)
        shown = found[:limit]
        following = shown[-1].position if len(found) > limit else None
        return JobList(jobs=[JobView(**_job(each)) for each in shown], next=following)

    @routes.post(PATH, status_code=201)
    def create_job(
        request: Request, new: NewJob, idempotency_key: Annotated[str, Header(max_length=128)]
    ) -> JobDetail:
        operator = current_operator(request)
        with sessions.begin() as session:
            job = orders.order(jobs, session, operator, new.operation, new.targets, idempotency_key)
        return _detail(sessions, job)

    @routes.get(PATH + "/{job}")
    def show_job(job: str) -> JobDetail:
        return _detail(sessions, job)

    @routes.post(PATH + "/{job}/cancel")
    def cancel_job(request: Request, job: str) -> JobDetail:
        operator = current_operator(request)
        _detail(sessions, job)
        with sessions.begin() as session:
            orders.cancel(jobs, session, operator, job)
        return _detail(sessions, job)

    @routes.get(DIAGNOSTICS_PATH + "/{bundle}")
    def download(bundle: str) -> Response:
        with sessions() as session:
            row = session.get(Diagnostics, bundle)
        if row is None:
            raise ProblemError(404, f"there is no bundle {bundle:.40}", code="not-found")
        name = f"{row.device}-{row.received_at:%Y%m%dT%H%M%SZ}.json"
        return FileResponse(bundles.path(row.id), media_type="application/json", filename=name)

    return belongs_to(Area.JOBS, routes)


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
        rows = views.rows_of_job(session, job)
    if found is None:
        raise ProblemError(404, f"there is no job {job:.80}", code="not-found")
    return JobDetail(**_job(found), executions=[ExecutionView(**_execution(row)) for row in rows])


def _job(overview: Overview) -> dict[str, Any]:
    return {
        "job": overview.job,
        "operation": overview.operation,
        "created_at": overview.created_at,
        "created_by": overview.created_by,
        "canceled_at": overview.canceled_at,
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
    }
