"""Who may ask for what: everything is refused to strangers unless its endpoint is marked `@public`."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.database.models.operators import AuditEntry, OperatorSession
from cloud.web.application import put_behind
from cloud.web.problems import ProblemError, respond
from cloud.web.public import is_public
from cloud.web.public import public as public

SESSION_AGE_MAX = timedelta(hours=12)
SESSION_IDLE_MAX = timedelta(minutes=60)
SEEN_EVERY = timedelta(seconds=60)
"""How exactly the last use of a session is kept."""
SIGN_IN_PATH = "/sign-in"
SIGN_OUT_PATH = "/sign-out"
PASSWORD_PATH = "/password"  # noqa: S105 - an address, no password
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"


@dataclass(frozen=True)
class Actor:
    """Somebody who changes something, at a moment."""

    name: str
    at: datetime


@dataclass(frozen=True)
class SignedIn(Actor):
    """The operator behind a request; `csrf` goes into every form as the hidden field `csrf`."""

    id: int
    csrf: str
    must_change_password: bool


def current_operator(request: Request) -> SignedIn:
    """The operator who makes this request.

    Raises:
        ProblemError: 401, nobody is signed in (only on an endpoint that is public).
    """
    operator = getattr(request.state, "operator", None)
    if not isinstance(operator, SignedIn):
        raise ProblemError(401, "sign in first", code="not-signed-in")
    return operator


def audit(session: Session, operator: Actor, action: str, subject: str, details: dict[str, Any]) -> None:
    """Write down, in the caller's transaction, that `operator` did `action` to `subject`.

    `action` is a verb with its object (`create-job`), `subject` an id; `details` must be nothing personal
    and no secret.
    """
    session.add(
        AuditEntry(at=operator.at, actor=operator.name, action=action, subject=subject, details=details)
    )


def cookie_name(secure: bool) -> str:
    """The name of the session cookie; browsers hold `__Host-` cookies to TLS and to this host."""
    return "__Host-session" if secure else "session"


def token_digest(token: str) -> str:
    """What the database keeps of a session's token."""
    return hashlib.sha256(token.encode()).hexdigest()


def csrf_of(token: str) -> str:
    """The CSRF token of a session: from its token there is a way to it, and none back."""
    return hmac.new(token.encode(), b"csrf", "sha256").hexdigest()


def protect(
    app: FastAPI, sessions: sessionmaker[Session], *, now: Callable[[], datetime], secure: bool
) -> None:
    """Put `Guard` before every route of `app`."""
    put_behind(app, Middleware(Guard, sessions=sessions, now=now, secure=secure))


class Guard:
    """Lets strangers through to public endpoints only, and changes through with their CSRF token only."""

    def __init__(
        self,
        app: ASGIApp,
        sessions: sessionmaker[Session],
        now: Callable[[], datetime],
        secure: bool,
    ) -> None:
        self.app = app
        self.sessions = sessions
        self.now = now
        self.cookie = cookie_name(secure)

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
            refusal = respond(request, error.status, error.detail, code=error.code)
            await refusal(scope, receive, send)
        except _RedirectError as redirect:
            await redirect.response(scope, receive, send)
        else:
            await self.app(scope, receive, _uncached(send) if operator else send)

    async def _admit(self, request: Request) -> tuple[Receive, SignedIn | None]:
        changes = request.method not in SAFE_METHODS
        if changes:
            _refuse_foreign(request)
        endpoint = _endpoint(request.scope)
        if endpoint is None or is_public(endpoint):
            return request.receive, None
        token = request.cookies.get(self.cookie, "")
        operator = await run_in_threadpool(self._look_up, token) if token else None
        if operator is None:
            raise _sign_in_first(request)
        request.state.operator = operator
        if operator.must_change_password and request.url.path not in (PASSWORD_PATH, SIGN_OUT_PATH):
            raise _change_password_first(request)
        receive = await _check_csrf(request, operator) if changes else request.receive
        return receive, operator

    def _look_up(self, token: str) -> SignedIn | None:
        now = self.now()
        with self.sessions.begin() as session:
            row = session.get(OperatorSession, token_digest(token))
            if row is None:
                return None
            if now - row.created_at > SESSION_AGE_MAX or now - row.seen_at > SESSION_IDLE_MAX:
                session.delete(row)
                return None
            if now - row.seen_at > SEEN_EVERY:
                row.seen_at = now
            return SignedIn(
                name=row.operator.name,
                at=now,
                id=row.operator_id,
                csrf=csrf_of(token),
                must_change_password=row.operator.must_change_password,
            )


def _endpoint(scope: Scope) -> Any:
    """What would answer; None where nothing would, which is the application's to say."""
    for route in scope["app"].router.routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            return child.get("endpoint", route)
    return None


class _RedirectError(Exception):
    """Carries the redirection that takes the place of an answer."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.response: Response = RedirectResponse(address, 303)


def _sign_in_first(request: Request) -> Exception:
    if request.url.path.startswith("/api/"):
        return ProblemError(401, "sign in first", code="not-signed-in")
    back = f"?next={quote(request.url.path)}" if request.method == "GET" else ""
    return _RedirectError(SIGN_IN_PATH + back)


def _change_password_first(request: Request) -> Exception:
    if request.url.path.startswith("/api/"):
        return ProblemError(403, "change the one-time password first", code="password-change-needed")
    return _RedirectError(PASSWORD_PATH)


def _refuse_foreign(request: Request) -> None:
    """A browser says where a change comes from; another site's is refused even without a session."""
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site") == "cross-site":
        raise ProblemError(403, "this request came from another site", code="foreign-origin")


async def _check_csrf(request: Request, operator: SignedIn) -> Receive:
    """Hold the header, or the form's field, against the session; gives the body again to whoever reads it."""
    given = request.headers.get(CSRF_HEADER)
    receive = request.receive
    if given is None and request.headers.get("content-type", "").startswith(
        "application/x-www-form-urlencoded"
    ):
        body = await request.body()
        given = parse_qs(body.decode("latin-1")).get(CSRF_FIELD, [""])[0]
        receive = _again(body, request.receive)
    if given is None or not hmac.compare_digest(given.encode(), operator.csrf.encode()):
        raise ProblemError(403, "the CSRF token is missing or old; reload the page", code="csrf")
    return receive


def _again(body: bytes, rest: Receive) -> Receive:
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            return await rest()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _uncached(send: Send) -> Send:
    async def send_uncached(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("Cache-Control", "no-store")
        await send(message)

    return send_uncached
