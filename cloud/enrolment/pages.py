"""The operators' pages of enrolment: tokens, certificates, revocation, and what was refused."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from cloud.enrolment import registry, views
from cloud.enrolment.office import Office
from cloud.enrolment.wording import (
    BY,
    CAUSES,
    CHIPS,
    ENDS,
    KINDS,
    STANDING_CHIPS,
    STANDINGS,
    STATES,
    TROUBLES,
    WARNINGS,
)
from cloud.errors import MalformedError, RefusedError
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render

PAGE = "/enrolment"
ONE = PAGE + "/{device}"
LISTED = 50
"""Devices on one page."""
NAME_LENGTH_MAX = 63

Text = Annotated[str, Form(max_length=registry.SITE_LENGTH_MAX)]
_WORDS = {"causes": CAUSES, "chips": CHIPS, "kinds": KINDS, "states": STATES, "by": BY, "ends": ENDS}


def router(office: Office) -> APIRouter:
    """The pages."""
    routes = APIRouter()

    @routes.get(PAGE)
    def show(request: Request, after: Annotated[str, Query(max_length=NAME_LENGTH_MAX)] = "") -> Response:
        return _list(office, request, after)

    @routes.post(PAGE)
    def issue(request: Request, device: Text, kind: Text, site: Text) -> Response:
        """Shows the token in the answer, the only time that anybody sees it."""
        try:
            token = office.token(current_operator(request), device, kind, site)
        except (MalformedError, RefusedError) as error:
            wrong = "name" if isinstance(error, MalformedError) else "taken"
            return _list(office, request, status=422, device=device, kind=kind, site=site, wrong=wrong)
        return _list(office, request, token=token, issued_to=device)

    @routes.get(ONE)
    def show_one(request: Request, device: str) -> Response:
        return _one(office, request, device)

    @routes.get(ONE + "/drop")
    def show_drop(request: Request, device: str) -> Response:
        return _one(office, request, device, part="drop")

    @routes.post(ONE + "/revoke")
    def revoke(request: Request, device: str) -> Response:
        office.revoke(current_operator(request), device)
        return RedirectResponse(f"{PAGE}/{device}", 303)

    @routes.post(ONE + "/decommission")
    def take_out(request: Request, device: str, confirm: Text = "") -> Response:
        """Only with the device's name typed once more."""
        if confirm.strip() != device:
            return _one(office, request, device, status=422, unconfirmed=True)
        office.take_out(current_operator(request), device)
        return RedirectResponse(f"{PAGE}/{device}", 303)

    @routes.post(ONE + "/readmit")
    def take_back(request: Request, device: str) -> Response:
        office.take_back(current_operator(request), device)
        return RedirectResponse(f"{PAGE}/{device}", 303)

    return belongs_to(Area.ENROLMENT, routes)


def _list(office: Office, request: Request, after: str = "", *, status: int = 200, **more: str) -> Response:
    now, known = current_operator(request).at, office.issuers()
    with office.sessions() as session:
        authorities = views.authorities(session, known, now)
        listed = views.listed(session, now, after=after, limit=LISTED + 1)
        refusals = views.refusals(session)
        soon = views.ending_soon(session, now)
    return render(
        request,
        "enrolment/enrolment.html",
        status=status,
        members=listed[:LISTED],
        refusals=refusals,
        authorities=authorities,
        standings=STANDINGS,
        standing_chips=STANDING_CHIPS,
        soon=soon,
        soon_days=views.ENDS_SOON.days,
        near=[each for each in views.ends(office.ends(), now) if each.near],
        warnings=WARNINGS,
        after=after,
        further=listed[LISTED - 1].device if len(listed) > LISTED else None,
        **_WORDS,
        **{"token": "", "issued_to": "", "device": "", "kind": "kiosk", "site": "", "wrong": ""} | more,
    )


def _one(
    office: Office,
    request: Request,
    device: str,
    *,
    part: str = "member",
    status: int = 200,
    unconfirmed: bool = False,
) -> Response:
    with office.sessions() as session:
        found = views.one(session, device, current_operator(request).at)
    if found is None:
        raise HTTPException(404)
    return render(
        request,
        f"enrolment/{part}.html",
        status=status,
        member=found,
        unconfirmed=unconfirmed,
        troubles=TROUBLES,
        **_WORDS,
    )
