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
from cloud.jobs.wording import CHIPS, OPERATIONS, STATUSES
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render

PAGE = "/jobs"
LISTED = 25
OF_DEVICE = 8
"""Jobs and bundles shown on a device's page."""
KEY_BYTES = 16
WORDS: dict[str, Any] = {"operations": OPERATIONS, "statuses": STATUSES, "chips": CHIPS}


def router(sessions: sessionmaker[Session], jobs: Jobs) -> APIRouter:
    """The pages."""
    routes = APIRouter()

    def listed(request: Request, template: str, before: int | None) -> Response:
        with sessions() as session:
            found = views.overviews(session, before=before, limit=LISTED + 1)
            devices = orders.registered(session)
        shown = found[:LISTED]
        return render(
            request,
            template,
            jobs=shown,
            before=before,
            older=shown[-1].position if len(found) > LISTED else None,
            devices=devices,
            orders=orders.OPERATIONS,
            key=secrets.token_hex(KEY_BYTES),
            **WORDS,
        )

    def one(request: Request, template: str, job: str) -> Response:
        with sessions() as session:
            found = views.overview(session, job)
            rows = views.rows_of_job(session, job)
        if found is None:
            raise HTTPException(404)
        return render(request, template, job=found, rows=rows, by_operator=job.startswith("op-"), **WORDS)

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
        target: Annotated[str, Form(max_length=63)],
        key: Annotated[str, Form(max_length=64)],
    ) -> Response:
        operator = current_operator(request)
        with sessions.begin() as session:
            job = orders.order(jobs, session, operator, operation, [target], key)
        return RedirectResponse(f"{PAGE}/{job}", 303)

    @routes.get(PAGE + "/{job}")
    def show_one(request: Request, job: str) -> Response:
        return one(request, "jobs/job.html", job)

    @routes.get(PAGE + "/{job}/live")
    def show_one_live(request: Request, job: str) -> Response:
        return one(request, "jobs/job_live.html", job)

    @routes.post(PAGE + "/{job}/cancel")
    def cancel(request: Request, job: str) -> Response:
        operator = current_operator(request)
        with sessions.begin() as session:
            orders.cancel(jobs, session, operator, job)
        return RedirectResponse(f"{PAGE}/{job}", 303)

    return belongs_to(Area.JOBS, routes)


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
