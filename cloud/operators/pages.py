"""Pages for signing in and out, for one's password, and for looking at what was done."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.operators import AuditEntry
from cloud.errors import MalformedError, RefusedError
from cloud.operators.access import (
    PASSWORD_PATH,
    SESSION_AGE_MAX,
    SIGN_IN_PATH,
    SIGN_OUT_PATH,
    Actor,
    audit,
    cookie_name,
    current_operator,
    public,
)
from cloud.operators.accounts import (
    NAME_LENGTH_MAX,
    PASSWORD_LENGTH_MAX,
    PASSWORD_LENGTH_MIN,
    Accounts,
)
from cloud.operators.roles import HOMES, Area, belongs_to
from cloud.operators.wording import action_text
from cloud.web.addresses import local_address
from cloud.web.pages import render

TOKEN_BYTES = 32
POSITION_MAX = 2**31 - 1
AUDIT_PAGE = 50
"""Entries of the audit on one page."""

Name = Annotated[str, Form(max_length=NAME_LENGTH_MAX)]
Position = Annotated[int | None, Query(ge=1, le=POSITION_MAX)]
Password = Annotated[str, Form(max_length=PASSWORD_LENGTH_MAX)]


def router(
    sessions: sessionmaker[Session], accounts: Accounts, *, now: Callable[[], datetime], secure: bool
) -> APIRouter:
    """The pages of operators; `secure` says that browsers come by HTTPS."""
    routes = APIRouter()
    cookie = cookie_name(secure)

    def let_in(token: str, address: str) -> Response:
        answer = RedirectResponse(address, 303)
        age = int(SESSION_AGE_MAX.total_seconds())
        answer.set_cookie(cookie, token, max_age=age, httponly=True, samesite="lax", secure=secure)
        return answer

    def note(actor: Actor, action: str) -> None:
        with sessions.begin() as session:
            audit(session, actor, action, actor.name, {})

    @routes.get(SIGN_IN_PATH)
    @public
    def ask_who(request: Request, next: str = "") -> Response:  # noqa: A002 - the name of the field
        return render(request, "operators/sign_in.html", next=local_address(next, ""), failed=False)

    @routes.post(SIGN_IN_PATH)
    @public
    def sign_in(request: Request, name: Name, password: Password, next: str = Form("")) -> Response:  # noqa: A002 - the name of the field
        address = local_address(next, "")
        token = secrets.token_urlsafe(TOKEN_BYTES)
        moment = now()
        try:
            entered = accounts.sign_in(name, password, token, moment)
        except RefusedError:
            return render(request, "operators/sign_in.html", status=403, next=address, failed=True)
        accounts.sign_out(request.cookies.get(cookie, ""))
        note(Actor(name, moment), "sign-in")
        if entered.must_change_password:
            address = PASSWORD_PATH
        return let_in(token, address or HOMES[entered.role])

    @routes.post(SIGN_OUT_PATH)
    def sign_out(request: Request) -> Response:
        accounts.sign_out(request.cookies.get(cookie, ""))
        note(current_operator(request), "sign-out")
        answer = RedirectResponse(SIGN_IN_PATH, 303)
        answer.delete_cookie(cookie, httponly=True, samesite="lax", secure=secure)
        return answer

    @routes.get(PASSWORD_PATH)
    def ask_password(request: Request) -> Response:
        return _password_page(request)

    @routes.post(PASSWORD_PATH)
    def change_password(request: Request, old: Password, new: Password, again: Password) -> Response:
        operator = current_operator(request)
        if new != again:
            return _password_page(request, "again")
        token = secrets.token_urlsafe(TOKEN_BYTES)
        try:
            accounts.change_password(operator.id, old, new, token, operator.at)
        except RefusedError:
            return _password_page(request, "old")
        except MalformedError:
            return _password_page(request, "new")
        note(operator, "change-password")
        return let_in(token, operator.home)

    belongs_to(Area.OWN, routes)
    routes.routes.extend(belongs_to(Area.AUDIT, _audit(sessions)).routes)
    return routes


def _audit(sessions: sessionmaker[Session]) -> APIRouter:
    routes = APIRouter()

    @routes.get("/audit")
    def look_back(request: Request, before: Position = None) -> Response:
        newest = sa.select(AuditEntry).order_by(AuditEntry.id.desc()).limit(AUDIT_PAGE + 1)
        if before is not None:
            newest = newest.where(AuditEntry.id < before)
        with sessions() as session:
            found = session.scalars(newest).all()
        entries = found[:AUDIT_PAGE]
        older = entries[-1].id if len(found) > AUDIT_PAGE else None
        return render(
            request, "operators/audit.html", entries=entries, older=older, before=before, action=action_text
        )

    return routes


def _password_page(request: Request, wrong: str = "") -> Response:
    return render(
        request,
        "operators/password.html",
        status=422 if wrong else 200,
        wrong=wrong,
        least=PASSWORD_LENGTH_MIN,
        must_change=current_operator(request).must_change_password,
    )
