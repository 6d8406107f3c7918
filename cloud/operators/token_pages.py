"""The administrators' page of tokens for programs, and the same as an API; no token opens either."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Path, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session, sessionmaker

from cloud.errors import MalformedError, RefusedError
from cloud.operators import api_tokens
from cloud.operators.access import audit, current_operator
from cloud.operators.api_tokens import DAYS_MAX, NAME_LENGTH_MAX, SECRET_BYTES
from cloud.operators.roles import Area, belongs_to, scopes_of
from cloud.operators.wording import scope_words
from cloud.web.pages import render
from cloud.web.problems import ProblemError

PAGE = "/tokens"
PATH = "/api/v1/tokens"
DAYS = (30, 90, 365)
"""Lives that the page offers, in days."""
SCOPES_MAX = 50
NUMBER_MAX = 2**31 - 1

Number = Annotated[int, Path(ge=1, le=NUMBER_MAX)]


class NewToken(BaseModel):
    """A token to be made; `days` is how long it lives."""

    name: str = Field(min_length=1, max_length=NAME_LENGTH_MAX)
    scopes: list[str] = Field(min_length=1, max_length=SCOPES_MAX)
    days: int = Field(ge=1, le=DAYS_MAX)


class TokenView(BaseModel):
    """A token, but for its secret: `prefix` is how it begins."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    prefix: str
    scopes: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


class TokenList(BaseModel):
    """The newest first."""

    tokens: list[TokenView]


class MadeToken(BaseModel):
    """The token itself: it is told this once."""

    token: str


def router(sessions: sessionmaker[Session]) -> APIRouter:
    """The page and the API."""
    routes = APIRouter()
    make, end = _maker(sessions), _ender(sessions)
    _add_page(routes, sessions, make, end)
    _add_api(routes, sessions, make, end)
    return belongs_to(Area.ACCOUNTS, routes)


Make = Callable[[Request, str, list[str], int], str]
End = Callable[[Request, int], None]


def _maker(sessions: sessionmaker[Session]) -> Make:
    def make(request: Request, name: str, scopes: list[str], days: int) -> str:
        operator = current_operator(request)
        random = secrets.token_urlsafe(SECRET_BYTES)
        offered = scopes_of(request.app.router.routes)
        with sessions.begin() as session:
            token = api_tokens.create(
                session, name, scopes, days, offered=offered, by=operator.name, now=operator.at, random=random
            )
            audit(
                session,
                operator,
                "create-token",
                name.strip(),
                {"scopes": sorted(set(scopes)), "days": days},
            )
        return token

    return make


def _ender(sessions: sessionmaker[Session]) -> End:
    def end(request: Request, number: int) -> None:
        operator = current_operator(request)
        with sessions.begin() as session:
            name = api_tokens.revoke(session, number, operator.at)
            audit(session, operator, "revoke-token", name, {})

    return end


def _add_page(routes: APIRouter, sessions: sessionmaker[Session], make: Make, end: End) -> None:
    def page(request: Request, *, status: int = 200, **more: str) -> Response:
        with sessions() as session:
            rows = api_tokens.listed(session)
        known = {"token": "", "wrong": "", "name": ""} | more
        return render(
            request,
            "operators/tokens.html",
            status=status,
            tokens=rows,
            scopes=scopes_of(request.app.router.routes),
            words=scope_words,
            lives=DAYS,
            now=current_operator(request).at,
            **known,
        )

    @routes.get(PAGE)
    def show(request: Request) -> Response:
        return page(request)

    @routes.post(PAGE)
    def create(
        request: Request,
        name: Annotated[str, Form(max_length=NAME_LENGTH_MAX)],
        days: Annotated[int, Form(ge=1, le=DAYS_MAX)],
        scopes: Annotated[list[str] | None, Form(max_length=SCOPES_MAX)] = None,
    ) -> Response:
        try:
            token = make(request, name, scopes or [], days)
        except MalformedError:
            return page(request, status=422, wrong="form", name=name)
        except RefusedError:
            return page(request, status=409, wrong="taken", name=name)
        return page(request, token=token, name=name.strip())

    @routes.post(PAGE + "/{number}/revoke")
    def revoke(request: Request, number: Number) -> Response:
        end(request, number)
        return RedirectResponse(PAGE, 303)


def _add_api(routes: APIRouter, sessions: sessionmaker[Session], make: Make, end: End) -> None:
    @routes.get(PATH)
    def list_tokens() -> TokenList:
        with sessions() as session:
            return TokenList(tokens=[TokenView.model_validate(row) for row in api_tokens.listed(session)])

    @routes.post(PATH, status_code=201)
    def create_token(request: Request, new: NewToken, response: Response) -> MadeToken:
        response.headers["Cache-Control"] = "no-store"
        return MadeToken(token=make(request, new.name, new.scopes, new.days))

    @routes.delete(PATH + "/{number}", status_code=204)
    def revoke_token(request: Request, number: Number) -> None:
        try:
            end(request, number)
        except RefusedError as error:
            raise ProblemError(404, str(error), code="not-found") from error
