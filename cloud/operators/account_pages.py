"""The administrators' page of accounts: who has one, in which role, and what can be done about it."""

import secrets
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session, sessionmaker

from cloud.errors import MalformedError, RefusedError
from cloud.operators import administration
from cloud.operators.access import SignedIn, audit, current_operator
from cloud.operators.accounts import NAME_LENGTH_MAX, ONE_TIME_BYTES, Accounts, one_time_password
from cloud.operators.administration import LastAdministratorError
from cloud.operators.roles import DUTIES, NAMES, Area, Role, belongs_to
from cloud.web.pages import render

PAGE = "/accounts"

Name = Annotated[str, Form(max_length=NAME_LENGTH_MAX)]
Change = Callable[[Session, SignedIn], None]


def router(sessions: sessionmaker[Session], accounts: Accounts) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    def page(request: Request, *, status: int = 200, **more: str) -> Response:
        with sessions() as session:
            rows = administration.listed(session)
        known = {"password": "", "of": "", "wrong": "", "name": "", "role": Role.CLERK.value} | more
        words: dict[str, Any] = {"roles": NAMES, "duties": DUTIES}
        return render(request, "operators/accounts.html", status=status, accounts=rows, **words, **known)

    @routes.get(PAGE)
    def show(request: Request) -> Response:
        return page(request)

    @routes.post(PAGE)
    def create(request: Request, name: Name, role: Annotated[Role, Form()]) -> Response:
        operator = current_operator(request)
        name = name.strip()
        password = one_time_password(secrets.token_bytes(ONE_TIME_BYTES))
        try:
            made = accounts.create(name, password, operator.at, role)
        except MalformedError:
            return page(request, status=422, wrong="name", name=name, role=role.value)
        if not made:
            return page(request, status=409, wrong="taken", name=name, role=role.value)
        with sessions.begin() as session:
            audit(session, operator, "create-account", name, {"role": role.value})
        return page(request, password=password, of=name)

    @routes.post(PAGE + "/{name}/role")
    def change_role(request: Request, name: str, role: Annotated[Role, Form()]) -> Response:
        return done(request, lambda session, actor: administration.change_role(session, actor, name, role))

    @routes.post(PAGE + "/{name}/password")
    def reset_password(request: Request, name: str) -> Response:
        operator = current_operator(request)
        password = one_time_password(secrets.token_bytes(ONE_TIME_BYTES))
        accounts.reset(name, password)
        with sessions.begin() as session:
            audit(session, operator, "reset-password", name, {})
        if name == operator.name:  # the session has ended with the password; the page is the last it shows
            request.state.operator = None
        return page(request, password=password, of=name)

    @routes.post(PAGE + "/{name}/disable")
    def disable(request: Request, name: str) -> Response:
        return done(request, lambda session, actor: administration.disable(session, actor, name))

    @routes.post(PAGE + "/{name}/enable")
    def enable(request: Request, name: str) -> Response:
        return done(request, lambda session, actor: administration.enable(session, actor, name))

    def done(request: Request, change: Change) -> Response:
        operator = current_operator(request)
        try:
            with sessions.begin() as session:
                change(session, operator)
        except LastAdministratorError:
            return page(request, status=409, wrong="last")
        except RefusedError:
            return page(request, status=409, wrong="gone")
        return RedirectResponse(PAGE, 303)

    return belongs_to(Area.ACCOUNTS, routes)
