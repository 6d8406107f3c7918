"""The clerk's page: sittings are planned, opened, paused, closed to the public, resumed and ended here."""

from collections.abc import Callable
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from cloud.captions import sittings, wording
from cloud.captions.run import Captions
from cloud.database.halls import halls
from cloud.database.models.captions import NOTE_LENGTH_MAX, TITLE_LENGTH_MAX, Sitting
from cloud.database.models.recordings import Recording
from cloud.operators.access import audit, current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render
from contract.captions import LANGUAGES, SITTING

PAGE = "/sittings"


def router(captions: Captions) -> APIRouter:
    """The staff routes of the captions."""
    routes = APIRouter()
    routes.add_api_route(PAGE, _page(captions), methods=["GET"])
    routes.add_api_route(PAGE, _create(captions), methods=["POST"])
    routes.add_api_route(PAGE + "/{session}/{event}", _change(captions), methods=["POST"])
    return belongs_to(Area.CAPTIONS, routes)


def _page(captions: Captions) -> Callable[..., Any]:
    def page(request: Request) -> HTMLResponse:
        with captions.sessions() as database:
            listed = sittings.listed(database)
            return render(
                request,
                "captions/sittings.html",
                sittings=listed,
                online={device: sittings.hall_online(database, device) for device in _devices(listed)},
                actions={sitting.session: list(SITTING.edges[sitting.state]) for sitting in listed},
                recordings=_recordings(database, listed),
                halls=halls(database),
                languages=LANGUAGES,
                names=wording.LANGUAGES,
                states=wording.STATES,
                events=wording.EVENTS,
                resume=wording.RESUME,
                reasons=wording.REASONS,
                recogniser=wording.RECOGNISER,
                title_length_max=TITLE_LENGTH_MAX,
                note_length_max=NOTE_LENGTH_MAX,
            )

    return page


def _recordings(database: Session, listed: list[Sitting]) -> dict[str, str]:
    """The recording of each sitting that has one."""
    rows = database.execute(
        sa.select(Recording.session, Recording.recording).where(
            Recording.session.in_([sitting.session for sitting in listed])
        )
    )
    return {row.session: row.recording for row in rows}


def _devices(listed: list[Any]) -> set[str]:
    return {sitting.device for sitting in listed}


def _create(captions: Captions) -> Callable[..., Any]:
    def create(
        request: Request,
        device: Annotated[str, Form()],
        title: Annotated[str, Form()],
        lang: Annotated[str, Form()],
    ) -> RedirectResponse:
        operator = current_operator(request)
        with captions.sessions.begin() as database:
            sitting = captions.create(database, device=device, title=title, lang=lang)
            audit(database, operator, "create-sitting", sitting.session, {"device": device, "lang": lang})
        return RedirectResponse(PAGE, 303)

    return create


def _change(captions: Captions) -> Callable[..., Any]:
    def change(
        request: Request,
        session: str,
        event: str,
        reason: Annotated[str, Form()] = "",
        note: Annotated[str, Form()] = "",
    ) -> RedirectResponse:
        operator = current_operator(request)
        with captions.sessions.begin() as database:
            sitting = captions.change(database, session, event, reason=reason, note=note)
            details = {"version": sitting.version, "state": sitting.state, "reason": reason}
            audit(database, operator, f"{event}-sitting", session, details)
        captions.changed(session)
        return RedirectResponse(PAGE, 303)

    return change
