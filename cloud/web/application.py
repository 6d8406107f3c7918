"""Building of the HTTP applications: flat routes, limits, headers, errors."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import sqlalchemy as sa
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.errors import SettingsError
from cloud.web import problems
from cloud.web.pages import STATIC, Pages
from cloud.web.public import public

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 65_536
"""Largest body of a request to pages; the other listeners state their own."""
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
HSTS = "max-age=31536000"
_BYTES_MARK = "_fleet_takes_bytes"

Endpoint = TypeVar("Endpoint")


def build(title: str, routers: Iterable[APIRouter], *, body_bytes_max: int = BODY_BYTES_MAX) -> FastAPI:
    """An application of `routers` without pages: the bootstrap and the device listener.

    Routes are copied flat, so that whatever guards the application can see every one of them.

    Raises:
        SettingsError: a router holds something else than plain routes.
    """
    app = FastAPI(
        title=title,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[Middleware(Failures), Middleware(BodyLimit, bytes_max=body_bytes_max)],
    )
    for router in routers:
        app.router.routes.extend(_flat(router))
    problems.install(app)
    return app


def build_pages(title: str, routers: Sequence[APIRouter], *, pages: Pages, secure: bool) -> FastAPI:
    """The application for people: as `build`, with static files, templates and security headers."""
    app = build(title, routers)
    app.state.pages = pages
    app.mount("/static", public(StaticFiles(directory=STATIC)), name="static")
    app.add_middleware(SecurityHeaders, secure=secure)
    return app


def put_behind(app: FastAPI, guard: Middleware) -> None:
    """Let `guard` see every request first, but behind the limits and the headers, which hold for it too."""
    app.user_middleware.append(guard)


class Failures:
    """Answers 500, and records it, where nothing else has answered an error."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and catch what nobody caught."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:  # the last line of defence: whatever it was, the caller gets an answer
            request = Request(scope)
            log.exception("request_failed", extra={"method": request.method, "route": _route(scope)})
            if begun:
                raise
            away = isinstance(error, sa.exc.OperationalError | sa.exc.TimeoutError)
            answer = problems.unavailable(request) if away else problems.respond(request, 500)
            await answer(scope, receive, send)


class BodyLimit:
    """Refuses a body that is larger than `bytes_max` with 413, wherever it is read."""

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self.app = app
        self.bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        received = 0

        async def counted() -> Message:
            nonlocal received
            if declared.isdigit():
                self._hold(int(declared), scope)
            message = await receive()
            received += len(message.get("body", b""))
            self._hold(received, scope)
            return message

        await self.app(scope, counted, send)

    def _hold(self, size: int, scope: Scope) -> None:
        if size > self.bytes_max:
            bytes_max = max(self.bytes_max, _stated_bytes_max(scope))
            if size > bytes_max:
                raise HTTPException(413, f"at most {bytes_max} bytes are taken")


class SecurityHeaders:
    """Puts the headers on every answer that keep a browser from being turned against its user."""

    def __init__(self, app: ASGIApp, secure: bool) -> None:
        self.app = app
        self.headers = HEADERS | ({"Strict-Transport-Security": HSTS} if secure else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add what is not there yet."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers)


def takes_bytes(bytes_max: int) -> Callable[[Endpoint], Endpoint]:
    """Mark an endpoint that takes larger bodies than its application; stands below the route's decorator."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _BYTES_MARK, bytes_max)
        return endpoint

    return mark


def _stated_bytes_max(scope: Scope) -> int:
    """What the endpoint that this request is for says of itself; 0 where it says nothing."""
    for route in scope["app"].router.routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            return int(getattr(child.get("endpoint"), _BYTES_MARK, 0))
    return 0


def _route(scope: Scope) -> str | None:
    """The route's template; the path itself may hold what does not belong into a log."""
    return getattr(scope.get("route"), "path", None)


def _flat(router: APIRouter) -> list[APIRoute]:
    routes = []
    for route in router.routes:
        if not isinstance(route, APIRoute):
            raise SettingsError(f"{route!r}: routers of the control plane hold plain routes only")
        routes.append(route)
    return routes
