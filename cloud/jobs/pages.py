"""The operators' pages of jobs: order one, see it happen on each device, cancel it."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session, sessionmaker
from starlette.exceptions import HTTPException

from cloud.jobs import diagnostics, orders, views
from cloud.jobs.service import Jobs
from cloud.jobs.views import POSITION_MAX
from cloud.jobs.wording import CHIPS, OPERATIONS, STATE_CHIPS, STATES, STATUSES
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.forms import rate_of
from cloud.web.pages import render
from contract.jobs import PER_MINUTE_MAX, RETRIES_MAX, TIMEOUT_MINUTES_MAX

PAGE = "/jobs"
LISTED = 25
OF_DEVICE = 8
"""Jobs and bundles shown on a device's page."""
KEY_BYTES = 16
EXECUTIONS_LISTED = 100
WORDS: dict[str, Any] = {
    "operations": OPERATIONS,
    "statuses": STATUSES,
    "chips": CHIPS,
    "states": STATES,
    "state_chips": STATE_CHIPS,
}


def router(sessions: sessionmaker[Session], jobs: Jobs, groups: orders.Groups) -> APIRouter:
    """The pages."""
    routes = APIRouter()

    def listed(request: Request, template: str, before: int | None) -> Response:
        with sessions() as session:
            found = views.overviews(session, before=before, limit=LISTED + 1)
            devices = orders.registered(session)
            named = groups.names(session)
        shown = found[:LISTED]
        return render(
            request,
            template,
            jobs=shown,
            before=before,
            older=shown[-1].position if len(found) > LISTED else None,
            devices=devices,
            groups=named,
            orders=orders.OPERATIONS,
            default=orders.Order("", ()),
            per_minute_max=PER_MINUTE_MAX,
            minutes_max=TIMEOUT_MINUTES_MAX,
            retries_max=RETRIES_MAX,
            key=secrets.token_hex(KEY_BYTES),
            **WORDS,
        )

    @routes.get(PAGE)
    def show_list(
        request: Request, before: Annotated[int | None, Query(ge=1, le=POSITION_MAX)] = None
    ) -> Response:
        return listed(request, "jobs/list.html", before)

    @routes.get(PAGE + "/live")
    def show_list_live(
        request: Request, before: Annotated[int | None, Query(ge=1, le=POSITION_MAX)] = None
    ) -> Response:
        return listed(request, "jobs/list_live.html", before)

    @routes.post(PAGE)
    def create(
        request: Request,
        operation: Annotated[str, Form(max_length=64)],
        target: Annotated[str, Form(max_length=orders.TARGET_LENGTH_MAX)],
        key: Annotated[str, Form(max_length=64)],
        per_minute: Annotated[str, Form(max_length=8)] = "",
        in_progress_minutes: Annotated[int, Form()] = orders.IN_PROGRESS_TIMEOUT_MINUTES,
        queued_minutes: Annotated[int, Form()] = orders.QUEUED_EXPIRY_MINUTES,
        retries: Annotated[int, Form()] = 0,
    ) -> Response:
        operator = current_operator(request)
        rate = rate_of(per_minute)
        wanted = orders.Order(operation, [target], rate, in_progress_minutes, queued_minutes, retries)
        with sessions.begin() as session:
            job = orders.order(jobs, groups, session, operator, wanted, key)
        return RedirectResponse(f"{PAGE}/{job}", 303)

    _add_one(routes, sessions, jobs)
    return belongs_to(Area.JOBS, routes)


def _add_one(routes: APIRouter, sessions: sessionmaker[Session], jobs: Jobs) -> None:
    """The pages of one job."""

    def one(request: Request, template: str, job: str, after: str) -> Response:
        with sessions() as session:
            found = views.overview(session, job)
            rows = views.rows_of_job(session, job, after=after, limit=EXECUTIONS_LISTED + 1)
        if found is None:
            raise HTTPException(404)
        return render(
            request,
            template,
            job=found,
            rows=rows[:EXECUTIONS_LISTED],
            after=after,
            following=rows[EXECUTIONS_LISTED - 1].device if len(rows) > EXECUTIONS_LISTED else None,
            by_operator=orders.is_mine(job),
            **WORDS,
        )

    @routes.get(PAGE + "/{job}")
    def show_one(request: Request, job: str, after: Annotated[str, Query(max_length=63)] = "") -> Response:
        return one(request, "jobs/job.html", job, after)

    @routes.get(PAGE + "/{job}/live")
    def show_one_live(
        request: Request, job: str, after: Annotated[str, Query(max_length=63)] = ""
    ) -> Response:
        return one(request, "jobs/job_live.html", job, after)

    @routes.post(PAGE + "/{job}/cancel")
    def cancel(request: Request, job: str, force: Annotated[bool, Form()] = False) -> Response:
        operator = current_operator(request)
        with sessions.begin() as session:
            orders.cancel(jobs, session, operator, job, force=force)
        return RedirectResponse(f"{PAGE}/{job}", 303)

    @routes.post(PAGE + "/{job}/delete")
    def delete(request: Request, job: str) -> Response:
        operator = current_operator(request)
        with sessions.begin() as session:
            orders.delete(jobs, session, operator, job)
        return RedirectResponse(PAGE, 303)


def device_section(sessions: sessionmaker[Session], request: Request, device: str) -> Response:
    """The part of a device's page about its jobs and bundles, as HTML without a frame."""
    with sessions() as session:
        rows = views.rows_of_device(session, device, OF_DEVICE)
        bundles = diagnostics.of_device(session, device)[:OF_DEVICE]
    return render(
        request,
        "jobs/device_section.html",
        device=device,
        rows=rows,
        bundles=bundles,
        orders=orders.OPERATIONS,
        key=secrets.token_hex(KEY_BYTES),
        **WORDS,
    )
