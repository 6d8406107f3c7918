"""The staff's pages of recordings: the list, the draft with its sound in step, and the downloads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from obstore.store import ObjectStore
from sqlalchemy.orm import Session, sessionmaker
from starlette.exceptions import HTTPException

from cloud.database.engine import for_reading
from cloud.database.models.captions import Sitting
from cloud.database.models.recordings import Recording
from cloud.operators.access import audit, current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.recordings import listening, runs, views, webvtt, wording
from cloud.recordings.cards import Card
from cloud.recordings.orders import Orders
from cloud.web.pages import render

PAGE = "/recordings"
ONE = PAGE + "/{recording}"
PROGRESS_EVERY_S = 5


@dataclass(frozen=True)
class Desk:
    """What the pages stand on; `card` is that of the model which writes drafts."""

    sessions: sessionmaker[Session]
    store: ObjectStore
    orders: Orders
    card: Card

    def find(self, database: Session, recording: str) -> tuple[Recording, Sitting]:
        """A recording and its sitting.

        Raises:
            HTTPException: 404, there is none.
        """
        found = views.find(database, recording)
        if found is None:
            raise HTTPException(404)
        return found

    def copy(self, database: Session, recording: str) -> str:
        """The key of the copy in which nothing is heard that is to be cut out now."""
        return listening.listen_key(recording, runs.audible(database, recording).signature)

    def draft(self, database: Session, recording: str) -> tuple[views.Draft, Sitting]:
        """The newest draft of a recording.

        Raises:
            HTTPException: 404, there is none.
        """
        row, sitting = self.find(database, recording)
        found = views.draft(database, row, sitting.opened_at or row.created_at)
        if found is None:
            raise HTTPException(404)
        return found, sitting


def router(desk: Desk) -> APIRouter:
    """The staff's routes of the recordings."""
    routes = APIRouter()
    routes.add_api_route(PAGE, _list(desk), methods=["GET"])
    routes.add_api_route(ONE, _show(desk), methods=["GET"])
    routes.add_api_route(ONE + "/progress", _progress(desk), methods=["GET"])
    routes.add_api_route(ONE + "/sound.ogg", _sound(desk), methods=["GET"])
    routes.add_api_route(ONE + "/transcript.vtt", _vtt(desk), methods=["GET"])
    routes.add_api_route(ONE + "/speaking.csv", _csv(desk), methods=["GET"])
    routes.add_api_route(ONE + "/transcribe", _again(desk), methods=["POST"])
    return belongs_to(Area.RECORDINGS, routes)


def _list(desk: Desk) -> Callable[..., Any]:
    reading = for_reading(desk.sessions)

    def list_recordings(request: Request) -> HTMLResponse:
        with reading() as database:
            return render(
                request,
                "recordings/list.html",
                entries=views.listed(database),
                states=wording.STATES,
                chips=wording.CHIPS,
                names=wording.LANGUAGES,
                runs=wording.RUNS,
            )

    return list_recordings


def _show(desk: Desk) -> Callable[..., Any]:
    reading = for_reading(desk.sessions)

    def show(request: Request, recording: str) -> HTMLResponse:
        with reading() as database:
            row, sitting = desk.find(database, recording)
            state = views.progress(database, recording)
            return render(
                request,
                "recordings/recording.html",
                recording=row,
                sitting=sitting,
                draft=views.draft(database, row, sitting.opened_at or row.created_at),
                progress=state,
                may_ask=views.may_ask(row, state),
                sound=listening.size_of(desk.store, desk.copy(database, recording)) is not None,
                measured=desk.card.languages.get(row.lang),
                materials=wording.MATERIALS,
                card=desk.card,
                every_s=PROGRESS_EVERY_S,
                doubts=wording.DOUBTS,
                roles=wording.ROLES,
                states=wording.STATES,
                chips=wording.CHIPS,
                names=wording.LANGUAGES,
                runs=wording.RUNS,
                reasons=wording.REASONS,
            )

    return show


def _progress(desk: Desk) -> Callable[..., Any]:
    reading = for_reading(desk.sessions)

    def progress(request: Request, recording: str) -> HTMLResponse:
        with reading() as database:
            row, _ = desk.find(database, recording)
            return render(
                request,
                "recordings/progress.html",
                recording=row,
                progress=views.progress(database, recording),
                runs=wording.RUNS,
                reasons=wording.REASONS,
            )

    return progress


def _sound(desk: Desk) -> Callable[..., Any]:
    reading = for_reading(desk.sessions)

    def sound(request: Request, recording: str) -> Response:
        """The copy to listen to (Ogg/Opus); ranges are answered with at most 1 MiB (206)."""
        with reading() as database:
            desk.find(database, recording)
            key = desk.copy(database, recording)
        size = listening.size_of(desk.store, key)
        if size is None:
            raise HTTPException(404)
        headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
        try:
            part = listening.part_of(request.headers.get("range"), size)
        except listening.OutOfRangeError:
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
        if part is None:
            whole = listening.pieces(desk.store, key, size)
            return StreamingResponse(
                whole, media_type="audio/ogg", headers=headers | {"Content-Length": str(size)}
            )
        return Response(
            listening.read(desk.store, key, part),
            206,
            headers | {"Content-Range": f"bytes {part.start}-{part.end - 1}/{size}"},
            "audio/ogg",
        )

    return sound


def _vtt(desk: Desk) -> Callable[..., Any]:
    reading = for_reading(desk.sessions)

    def vtt(recording: str) -> Response:
        """The draft as WebVTT; times are those of the copy to listen to."""
        with reading() as database:
            found, _ = desk.draft(database, recording)
            text = webvtt.write(views.cues(found.lines), found.transcript.language)
        return _download(text, "text/vtt; charset=utf-8", f"{recording}.vtt")

    return vtt


def _csv(desk: Desk) -> Callable[..., Any]:
    reading = for_reading(desk.sessions)

    def speaking(recording: str) -> Response:
        """Speaking times as CSV."""
        with reading() as database:
            found, sitting = desk.draft(database, recording)
            text = views.speaking_csv(found, sitting.opened_at or found.transcript.created_at)
        return _download(text, "text/csv; charset=utf-8", f"{recording}-speaking.csv")

    return speaking


def _download(text: str, media_type: str, name: str) -> Response:
    return Response(
        text, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _again(desk: Desk) -> Callable[..., Any]:
    def transcribe(request: Request, recording: str) -> RedirectResponse:
        operator = current_operator(request)
        with desk.sessions.begin() as database:
            desk.find(database, recording)
            attempt = desk.orders.again(database, recording)
            audit(database, operator, "transcribe-recording", recording, {"attempt": attempt})
        desk.orders.asked(recording, attempt)
        return RedirectResponse(f"{PAGE}/{recording}", 303)

    return transcribe
