"""The operators' page of enrolment: tokens, certificates, revocation, and what was refused."""

import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.devices import Device
from cloud.database.models.enrolment import DeviceCertificate, EnrolmentRefusal
from cloud.enrolment import members, registry, tokens
from cloud.enrolment.wording import CAUSES, CHIPS, KINDS, STATES
from cloud.errors import MalformedError, RefusedError
from cloud.operators.access import audit, current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render

PAGE = "/enrolment"
LISTED = 50
"""Devices on one page."""
NAME_LENGTH_MAX = 63

Text = Annotated[str, Form(max_length=registry.SITE_LENGTH_MAX)]


def router(sessions: sessionmaker[Session], sign_revocations: Callable[[], object]) -> APIRouter:
    """The pages; `sign_revocations` brings the revocation list up to date at once."""
    routes = APIRouter()

    def page(request: Request, after: str = "", *, status: int = 200, **more: str) -> Response:
        with sessions() as session:
            listed = _devices(session, after)
            certificates = _certificates(session, [row.device for row in listed])
            refusals = session.scalars(sa.select(EnrolmentRefusal).order_by(EnrolmentRefusal.cause)).all()
        shown = listed[:LISTED]
        return render(
            request,
            "enrolment/enrolment.html",
            status=status,
            devices=shown,
            certificates=certificates,
            refusals=refusals,
            after=after,
            further=shown[-1].device if len(listed) > LISTED else None,
            causes=CAUSES,
            chips=CHIPS,
            kinds=KINDS,
            states=STATES,
            **{"token": "", "issued_to": "", "device": "", "kind": "kiosk", "site": "", "wrong": ""} | more,
        )

    @routes.get(PAGE)
    def show(request: Request, after: Annotated[str, Query(max_length=NAME_LENGTH_MAX)] = "") -> Response:
        return page(request, after)

    @routes.post(PAGE)
    def issue(request: Request, device: Text, kind: Text, site: Text) -> Response:
        """Shows the token in the answer, the only time that anybody sees it."""
        operator = current_operator(request)
        random = secrets.token_bytes(tokens.TOKEN_BYTES)
        try:
            with sessions.begin() as session:
                registry.register(session, device, kind, site, operator.at)
                token = tokens.issue(session, device, kind, operator.at, random)
                audit(session, operator, "issue-enrolment-token", device, {"kind": kind})
        except (MalformedError, RefusedError) as error:
            wrong = "name" if isinstance(error, MalformedError) else "taken"
            return page(request, status=422, device=device, kind=kind, site=site, wrong=wrong)
        return page(request, token=token, issued_to=device)

    @routes.post(PAGE + "/{device}/revoke")
    def revoke(request: Request, device: str) -> Response:
        operator = current_operator(request)
        with sessions.begin() as session:
            if members.revoke(session, device, "operator", operator.at):
                audit(session, operator, "revoke-device", device, {})
        sign_revocations()
        return RedirectResponse(PAGE, 303)

    return belongs_to(Area.ENROLMENT, routes)


def _devices(session: Session, after: str) -> Sequence[Device]:
    """One more than a page shows, so that it is known whether there are further ones."""
    listed = sa.select(Device).where(Device.device > after).order_by(Device.device).limit(LISTED + 1)
    return session.scalars(listed).all()


def _certificates(session: Session, devices: Sequence[str]) -> dict[str, list[DeviceCertificate]]:
    """Of each device those that are good, or else the one that was good last; the newest first."""
    of_these = sa.select(DeviceCertificate).where(DeviceCertificate.device.in_(devices))
    found: dict[str, list[DeviceCertificate]] = defaultdict(list)
    for row in session.scalars(of_these.order_by(DeviceCertificate.issued_at.desc())):
        if row.state in members.GOOD or not found[row.device]:
            found[row.device].append(row)
    return dict(found)
