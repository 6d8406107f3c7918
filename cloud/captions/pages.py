"""What the public sees: the list of sittings, the live captions, the whole text, and the event stream."""

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from cloud.captions import segments, sittings, wording
from cloud.captions.hub import Event, Viewer
from cloud.captions.run import Captions
from cloud.captions.stream import EventStream
from cloud.database.models.captions import Sitting
from cloud.errors import RefusedError
from cloud.operators.access import public
from cloud.web.pages import render
from cloud.web.problems import ProblemError

SEQUENCE_DIGITS_MAX = 18


class SittingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One sitting in `GET /api/v1/captions`."""

    session: str
    channel: str
    hall: str
    title: str
    lang: str
    state: str


def router(captions: Captions) -> APIRouter:
    """The public routes of the captions."""
    routes = APIRouter()
    routes.add_api_route("/{lang}/captions", _list(captions), methods=["GET"])
    routes.add_api_route("/{lang}/captions/{session}", _live(captions), methods=["GET"])
    routes.add_api_route("/{lang}/captions/{session}/transcript", _transcript(captions), methods=["GET"])
    routes.add_api_route("/api/v1/captions", _sittings(captions), methods=["GET"])
    routes.add_api_route("/api/v1/captions/{session}/{channel}/events", _events(captions), methods=["GET"])
    return routes


def _find(database: Session, session: str) -> Sitting:
    try:
        return sittings.find(database, session)
    except RefusedError as error:
        raise ProblemError(404, str(error), code="not-found") from None


def _list(captions: Captions) -> Callable[..., Any]:
    @public
    def list_sittings(request: Request) -> HTMLResponse:
        with captions.sessions() as database:
            return render(
                request,
                "captions/list.html",
                sittings=sittings.listed(database),
                states=wording.STATES,
                names=wording.LANGUAGES,
            )

    return list_sittings


def _live(captions: Captions) -> Callable[..., Any]:
    @public
    def live(request: Request, session: str) -> HTMLResponse:
        with captions.sessions() as database:
            sitting = _find(database, session)
            rows = segments.shown(database, sitting)
            changes = sittings.changes(database, session)
            return render(
                request,
                "captions/live.html",
                sitting=sitting,
                lines=[segments.line_of(row, sitting) for row in rows],
                last=max((row.sequence for row in rows), default=0),
                silence=captions.silence(database, sitting),
                reason=changes[-1].reason,
                states=wording.STATES,
                silences=wording.SILENCES,
                reasons=wording.REASONS,
                names=wording.LANGUAGES,
            )

    return live


def _transcript(captions: Captions) -> Callable[..., Any]:
    @public
    def transcript(request: Request, session: str) -> HTMLResponse:
        with captions.sessions() as database:
            sitting = _find(database, session)
            return render(
                request,
                "captions/transcript.html",
                sitting=sitting,
                lines=segments.timed(database, sitting),
                states=wording.STATES,
                names=wording.LANGUAGES,
            )

    return transcript


def _sittings(captions: Captions) -> Callable[..., Any]:
    @public
    def list_answer() -> Response:
        """The sittings that hold a hall, then those to come, then those that have ended."""
        with captions.sessions() as database:
            answer = [
                SittingAnswer(
                    session=sitting.session,
                    channel=sitting.channel,
                    hall=sitting.device,
                    title=sitting.title,
                    lang=sitting.lang,
                    state=sitting.state,
                )
                for sitting in sittings.listed(database)
            ]
        return Response(msgspec.json.encode({"items": answer}), media_type="application/json")

    return list_answer


def _events(captions: Captions) -> Callable[..., Any]:
    @public
    async def events(request: Request, session: str, channel: str, after: str = "0") -> Response:
        """Server-sent events `partial`, `final` and `sitting`.

        Finals carry their sequence as id; with `Last-Event-ID` (or `after`) a viewer gets what was stored
        since, at most the last lines that a page shows.
        """
        known = _sequence(request.headers.get("last-event-id") or after)
        viewer = captions.hub.enter(session)
        if viewer is None:
            raise ProblemError(503, "too many viewers; try again soon", headers={"Retry-After": "5"})
        try:
            opening = await run_in_threadpool(_opening, captions, viewer, channel, known)
        except BaseException:
            captions.hub.leave(viewer)
            raise
        return EventStream(viewer, opening, known, captions.hub.leave)

    return events


def _sequence(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > SEQUENCE_DIGITS_MAX:
        raise ProblemError(400, "Last-Event-ID is the id of an event of this stream", code="malformed")
    return int(text)


def _opening(captions: Captions, viewer: Viewer, channel: str, known: int) -> list[Event]:
    with captions.sessions() as database:
        sitting = _find(database, viewer.session)
        if sitting.channel != channel:
            raise ProblemError(404, "the sitting has no such channel", code="not-found")
        rows = sorted(segments.shown(database, sitting, after=known), key=lambda row: row.sequence)
        return [*(segments.event_of(row, sitting) for row in rows), captions.news(database, sitting)]
