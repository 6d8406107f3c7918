"""The guard of the device listener, and what a device says there of its certificate."""

from collections.abc import Callable
from datetime import datetime

from cryptography import x509
from fastapi import APIRouter, FastAPI, Request, Response
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from cloud.enrolment import members
from cloud.enrolment.causes import Cause
from cloud.enrolment.refusals import EnrolmentRefusedError, count
from cloud.web.application import put_behind
from cloud.web.listener import certificate as shown_certificate
from cloud.web.problems import ProblemError, respond
from contract.enrolment import PROVEN_PATH


def protect(app: FastAPI, sessions: sessionmaker[Session], *, now: Callable[[], datetime]) -> None:
    """Put `DeviceGuard` before every route of the device listener's `app`."""
    put_behind(app, Middleware(DeviceGuard, sessions=sessions, now=now))


class DeviceGuard:
    """Lets only devices of this fleet through, and says to the application which one it is.

    `cloud.web.listener.peer` gives the name to the endpoints. The database is asked at every request, so
    that a revoked device is refused on the connection that it has open.
    """

    def __init__(self, app: ASGIApp, sessions: sessionmaker[Session], now: Callable[[], datetime]) -> None:
        self.app = app
        self.sessions = sessions
        self.now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or answer 403 in the application's place."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served; add WebSockets to the guard first")
        request = Request(scope, receive)
        try:
            request.state.device = await run_in_threadpool(self._admit, request)
        except ProblemError as error:
            await respond(request, error.status, error.detail, code=error.code)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _admit(self, request: Request) -> str:
        now = self.now()
        try:
            shown = _shown(request)
            with self.sessions.begin() as session:
                return members.admit(session, shown, now).device
        except EnrolmentRefusedError as error:
            raise _counted(self.sessions, error, now) from error


def device_router(sessions: sessionmaker[Session], *, now: Callable[[], datetime]) -> APIRouter:
    """The one thing that a device says of its certificate."""
    routes = APIRouter()

    @routes.post(PROVEN_PATH, status_code=204)
    def proven(request: Request) -> Response:
        """The certificate of this connection has carried a link; the device's others end now."""
        at = now()
        try:
            shown = _shown(request)
            with sessions.begin() as session:
                members.prove(session, shown, at)
        except EnrolmentRefusedError as error:
            raise _counted(sessions, error, at) from error
        return Response(status_code=204)

    return routes


def _shown(request: Request) -> x509.Certificate:
    shown = shown_certificate(request)
    if shown is None:
        raise EnrolmentRefusedError(Cause.NO_CERTIFICATE, "show the certificate of an enrolled device")
    return shown


def _counted(sessions: sessionmaker[Session], error: EnrolmentRefusedError, now: datetime) -> ProblemError:
    count(sessions, error.cause, now)
    return ProblemError(error.status, str(error), code=error.cause)
