"""Who may ask for what.

Everything is refused to strangers unless its endpoint is marked `@public`; to staff and to programs unless
`cloud.operators.roles` says that it is theirs.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.database.engine import for_reading
from cloud.database.models.operators import Operator, OperatorSession
from cloud.operators import api_tokens
from cloud.operators.actors import SESSION_AGE_MAX as SESSION_AGE_MAX
from cloud.operators.actors import SESSION_IDLE_MAX as SESSION_IDLE_MAX
from cloud.operators.actors import Actor as Actor
from cloud.operators.actors import SignedIn as SignedIn
from cloud.operators.actors import audit as audit
from cloud.operators.actors import token_digest as token_digest
from cloud.operators.csrf import CSRF_HEADER as CSRF_HEADER
from cloud.operators.csrf import check_csrf, csrf_of, refuse_foreign
from cloud.operators.roles import (
    NAMES,
    SAFE_METHODS,
    Area,
    Role,
    allowed,
    area_of,
    roles_for,
    scope,
)
from cloud.web.application import put_behind
from cloud.web.pages import render
from cloud.web.problems import ProblemError, respond
from cloud.web.public import is_public
from cloud.web.public import public as public

SEEN_EVERY = timedelta(seconds=60)
"""How exactly the last use of a session is kept."""
ASKED_MAX = 5
"""Administrators that a refused page names."""
SIGN_IN_PATH = "/sign-in"
SIGN_OUT_PATH = "/sign-out"
PASSWORD_PATH = "/password"  # noqa: S105 - an address, no password
API = "/api/"
CHALLENGE = {"WWW-Authenticate": "Bearer"}


def current_operator(request: Request) -> SignedIn:
    """Who makes this request.

    Raises:
        ProblemError: 401, nobody is signed in (only on an endpoint that is public).
    """
    operator = getattr(request.state, "operator", None)
    if not isinstance(operator, SignedIn):
        raise ProblemError(401, "sign in first", code="not-signed-in")
    return operator


def cookie_name(secure: bool) -> str:
    """The name of the session cookie; browsers hold `__Host-` cookies to TLS and to this host."""
    return "__Host-session" if secure else "session"


def protect(
    app: FastAPI, sessions: sessionmaker[Session], *, now: Callable[[], datetime], secure: bool
) -> None:
    """Put `Guard` before every route of `app`."""
    put_behind(app, Middleware(Guard, sessions=sessions, now=now, secure=secure))


class Guard:
    """Lets through whom the table of roles lets through, and a browser's changes with their token only."""

    def __init__(
        self,
        app: ASGIApp,
        sessions: sessionmaker[Session],
        now: Callable[[], datetime],
        secure: bool,
    ) -> None:
        self.app = app
        self.sessions = sessions
        self.reading = for_reading(sessions)
        self.now = now
        self.cookie = cookie_name(secure)
        self.failures = api_tokens.Failures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or answer in the application's place."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served; add WebSockets to the guard first")
        request = Request(scope, receive)
        try:
            receive, operator = await self._admit(request)
        except HTTPException as error:
            refusal = respond(request, error.status_code, error.detail)
            await refusal(scope, receive, send)
        except ProblemError as error:
            refusal = respond(request, error.status, error.detail, code=error.code, headers=error.headers)
            await refusal(scope, receive, send)
        except _AnswerError as instead:
            await instead.response(scope, receive, send)
        else:
            await self.app(scope, receive, _uncached(send) if operator else send)

    async def _admit(self, request: Request) -> tuple[Receive, SignedIn | None]:
        endpoint = _endpoint(request.scope)
        bearer = _bearer(request)
        if bearer is not None:  # then no cookie is looked at, so that no page can lend its own
            return await self._admit_program(request, endpoint, bearer)
        changes = request.method not in SAFE_METHODS
        if changes:
            refuse_foreign(request)
        if endpoint is None or is_public(endpoint):
            return request.receive, None
        token = request.cookies.get(self.cookie, "")
        operator = await run_in_threadpool(self._look_up, token) if token else None
        if operator is None or operator.role is None:
            raise _sign_in_first(request)
        request.state.operator = operator
        if operator.must_change_password and request.url.path not in (PASSWORD_PATH, SIGN_OUT_PATH):
            raise _change_password_first(request)
        if not allowed(operator.role, area_of(endpoint)):
            raise await run_in_threadpool(self._not_yours, request, area_of(endpoint))
        receive = await check_csrf(request, operator.csrf) if changes else request.receive
        return receive, operator

    async def _admit_program(
        self, request: Request, endpoint: Any, token: str
    ) -> tuple[Receive, SignedIn | None]:
        if not request.url.path.startswith(API):
            raise ProblemError(403, "a token opens no pages; sign in", code="no-pages")
        if endpoint is None or is_public(endpoint):
            return request.receive, None
        operator, scopes = await run_in_threadpool(self._look_up_token, token)
        wanted = scope(area_of(endpoint), request.method)
        if wanted is None:
            raise ProblemError(403, "no token opens this; sign in", code="not-by-token")
        if wanted not in scopes:
            raise ProblemError(403, f"the token lacks the scope {wanted}", code="scope")
        request.state.operator = operator
        return request.receive, operator

    def _look_up(self, token: str) -> SignedIn | None:
        now = self.now()
        digest = token_digest(token)
        with self.reading() as session:
            row = session.get(OperatorSession, digest)
        if row is None or row.operator.disabled_at is not None:
            return None
        this = OperatorSession.token_sha256 == digest
        if now - row.created_at > SESSION_AGE_MAX or now - row.seen_at > SESSION_IDLE_MAX:
            with self.sessions.begin() as session:
                session.execute(sa.delete(OperatorSession).where(this))
            return None
        if now - row.seen_at > SEEN_EVERY:
            with self.sessions.begin() as session:
                session.execute(sa.update(OperatorSession).where(this).values(seen_at=now))
        return SignedIn(
            name=row.operator.name,
            at=now,
            id=row.operator_id,
            csrf=csrf_of(token),
            must_change_password=row.operator.must_change_password,
            role=Role(row.operator.role),
        )

    def _look_up_token(self, token: str) -> tuple[SignedIn, frozenset[str]]:
        now = self.now()
        with self.reading() as session:
            found = api_tokens.look_up(session, token, now)
        if found is None:
            if self.failures.too_many(now):
                wait = {"Retry-After": str(int(api_tokens.FAILURES_WITHIN.total_seconds()))}
                raise ProblemError(
                    429, "too many wrong tokens; wait a minute", code="too-often", headers=wait
                )
            raise ProblemError(
                401, "this token is wrong, was revoked or has expired", code="wrong-token", headers=CHALLENGE
            )
        number, bearer, stale = found
        if stale:
            with self.sessions.begin() as session:
                api_tokens.note_use(session, number, now)
        program = SignedIn(
            name=api_tokens.ACTOR + bearer.name,
            at=now,
            id=number,
            csrf="",
            must_change_password=False,
            role=None,
        )
        return program, bearer.scopes

    def _not_yours(self, request: Request, area: Area | None) -> Exception:
        owners = roles_for(area)
        if request.url.path.startswith(API):
            roles = " or ".join(owners)
            return ProblemError(403, f"this is for the role {roles}; ask an administrator", code="wrong-role")
        working = (Operator.role == Role.ADMINISTRATOR.value, Operator.disabled_at.is_(None))
        with self.reading() as session:
            rows = sa.select(Operator.name).where(*working).order_by(Operator.id).limit(ASKED_MAX)
            asked = list(session.scalars(rows))
        page = render(
            request, "operators/refused.html", status=403, owners=owners, asked=asked, role_names=NAMES
        )
        page.headers["Cache-Control"] = "no-store"
        return _AnswerError(page)


def _bearer(request: Request) -> str | None:
    """The token of an `Authorization: Bearer` header (RFC 6750, section 2.1); None where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _endpoint(scope: Scope) -> Any:
    """What would answer; None where nothing would, which is the application's to say."""
    for route in scope["app"].router.routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            return child.get("endpoint", route)
    return None


class _AnswerError(Exception):
    """Carries the answer that takes the place of the application's."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def _sign_in_first(request: Request) -> Exception:
    if request.url.path.startswith(API):
        return ProblemError(401, "sign in first", code="not-signed-in")
    back = f"?next={quote(request.url.path)}" if request.method == "GET" else ""
    return _AnswerError(RedirectResponse(SIGN_IN_PATH + back, 303))


def _change_password_first(request: Request) -> Exception:
    if request.url.path.startswith(API):
        return ProblemError(403, "change the one-time password first", code="password-change-needed")
    return _AnswerError(RedirectResponse(PASSWORD_PATH, 303))


def _uncached(send: Send) -> Send:
    async def send_uncached(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("Cache-Control", "no-store")
        await send(message)

    return send_uncached
