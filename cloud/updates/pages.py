"""The operators' pages of updates: what is published, assign it, see it happen, take it back."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from cloud.errors import UnavailableError
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.updates import views
from cloud.updates.catalogue import Catalogue, Target
from cloud.updates.service import TARGET_LENGTH_MAX, Updates
from cloud.updates.views import POSITION_MAX
from cloud.updates.wording import CHIPS, CODES, COMPONENTS, KINDS, STATES
from cloud.web.forms import rate_of
from cloud.web.pages import render
from contract.jobs import PER_MINUTE_MAX
from contract.updates import PATH_LENGTH_MAX

PAGE = "/updates"
LISTED = 25
PUBLISHED_LISTED = 50
KEY_BYTES = 16
WORDS: dict[str, Any] = {
    "states": STATES,
    "chips": CHIPS,
    "codes": CODES,
    "components": COMPONENTS,
    "kinds": KINDS,
    "per_minute_max": PER_MINUTE_MAX,
}


def router(updates: Updates) -> APIRouter:
    """The pages."""
    routes = APIRouter()

    def listed(request: Request, template: str, before: int | None, **more: Any) -> Response:
        with updates.sessions() as session:
            found = views.overviews(session, before=before, limit=LISTED + 1)
            devices = views.devices(session)
            groups = updates.group_names(session)
        shown = found[:LISTED]
        older = shown[-1].position if len(found) > LISTED else None
        return render(
            request,
            template,
            rollouts=shown,
            before=before,
            older=older,
            devices=devices,
            groups=groups,
            **more,
            **WORDS,
        )

    @routes.get(PAGE)
    def show_list(
        request: Request, before: Annotated[int | None, Query(ge=1, le=POSITION_MAX)] = None
    ) -> Response:
        targets, whole = _published(updates.catalogue)
        key = secrets.token_hex(KEY_BYTES)
        return listed(request, "updates/list.html", before, targets=targets, whole=whole, key=key)

    @routes.get(PAGE + "/live")
    def show_list_live(
        request: Request, before: Annotated[int | None, Query(ge=1, le=POSITION_MAX)] = None
    ) -> Response:
        return listed(request, "updates/list_live.html", before)

    @routes.post(PAGE)
    def assign(
        request: Request,
        path: Annotated[str, Form(max_length=PATH_LENGTH_MAX)],
        target: Annotated[str, Form(max_length=TARGET_LENGTH_MAX)],
        key: Annotated[str, Form(max_length=64)],
        downgrade: Annotated[bool, Form()] = False,
        per_minute: Annotated[str, Form(max_length=8)] = "",
    ) -> Response:
        operator = current_operator(request)
        rate = rate_of(per_minute)
        with updates.sessions.begin() as session:
            update = updates.assign(
                session, operator, path=path, target=target, downgrade=downgrade, key=key, per_minute=rate
            )
        return RedirectResponse(f"{PAGE}/{update}", 303)

    @routes.get(PAGE + "/{update}")
    def show_one(request: Request, update: str) -> Response:
        return _one(updates, request, "updates/rollout.html", update)

    @routes.get(PAGE + "/{update}/live")
    def show_one_live(request: Request, update: str) -> Response:
        return _one(updates, request, "updates/rollout_live.html", update)

    @routes.post(PAGE + "/{update}/cancel")
    def cancel(request: Request, update: str) -> Response:
        operator = current_operator(request)
        with updates.sessions.begin() as session:
            updates.cancel(session, operator, update)
        return RedirectResponse(f"{PAGE}/{update}", 303)

    return belongs_to(Area.UPDATES, routes)


def _one(updates: Updates, request: Request, template: str, update: str) -> Response:
    with updates.sessions() as session:
        found = views.overview(session, update)
        rows = views.rows(session, update)
    if found is None:
        raise HTTPException(404)
    return render(request, template, rollout=found, rows=rows, **WORDS)


def _published(catalogue: Catalogue) -> tuple[list[Target], bool]:
    """What can be assigned, and whether the repository is whole."""
    try:
        return catalogue.targets()[:PUBLISHED_LISTED], True
    except UnavailableError:
        return [], False
