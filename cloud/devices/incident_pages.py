"""The operators' pages of incidents, and of the hours in which sites and devices are expected to be off."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session, sessionmaker
from starlette.exceptions import HTTPException

from cloud.database.engine import for_reading
from cloud.database.models.presence import NOTE_LENGTH_MAX
from cloud.devices import incident_views as views
from cloud.devices import off_hours
from cloud.devices.hours import DAYS, HOURS_MAX, Tolerance, stretch
from cloud.devices.incident_views import POSITION_MAX
from cloud.devices.wording import DAY_NAMES, INCIDENT_CHIPS, INCIDENT_STATES
from cloud.errors import MalformedError
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render

PAGE = "/incidents"
HOURS_PAGE = "/expected-off"
LISTED = 25
Before = Annotated[int | None, Query(ge=1, le=POSITION_MAX)]
WORDS: dict[str, Any] = {"states": INCIDENT_STATES, "chips": INCIDENT_CHIPS}


def router(sessions: sessionmaker[Session], tolerance: Tolerance) -> APIRouter:
    """The pages; `tolerance` is told where hours are set."""
    routes = APIRouter()
    _incidents(routes, sessions)
    _hours(routes, sessions, tolerance)
    return belongs_to(Area.DEVICES, routes)


def _incidents(routes: APIRouter, sessions: sessionmaker[Session]) -> None:
    reading = for_reading(sessions)

    def listed(request: Request, template: str, before: int | None) -> Response:
        with reading() as session:
            going_on = views.going_on(session) if before is None else []
            found = views.closed(session, before=before, limit=LISTED + 1)
        shown = found[:LISTED]
        older = shown[-1].number if len(found) > LISTED else None
        return render(request, template, going_on=going_on, closed=shown, before=before, older=older, **WORDS)

    def one(request: Request, template: str, number: int) -> Response:
        with reading() as session:
            found = views.one(session, number) if 0 < number <= POSITION_MAX else None
        if found is None:
            raise HTTPException(404)
        return render(request, template, incident=found, note_length_max=NOTE_LENGTH_MAX, **WORDS)

    @routes.get(PAGE)
    def show_list(request: Request, before: Before = None) -> Response:
        return listed(request, "devices/incidents.html", before)

    @routes.get(PAGE + "/live")
    def show_list_live(request: Request, before: Before = None) -> Response:
        return listed(request, "devices/incidents_live.html", before)

    @routes.get(PAGE + "/{number}")
    def show_one(request: Request, number: int) -> Response:
        return one(request, "devices/incident.html", number)

    @routes.get(PAGE + "/{number}/live")
    def show_one_live(request: Request, number: int) -> Response:
        return one(request, "devices/incident_live.html", number)

    @routes.post(PAGE + "/{number}/acknowledge")
    def acknowledge(
        request: Request, number: int, note: Annotated[str, Form(max_length=4 * NOTE_LENGTH_MAX)] = ""
    ) -> Response:
        operator = current_operator(request)
        if not 0 < number <= POSITION_MAX:
            raise HTTPException(404)
        with sessions.begin() as session:
            views.acknowledge(session, operator, number, note)
        return RedirectResponse(f"{PAGE}/{number}", 303)


def _hours(routes: APIRouter, sessions: sessionmaker[Session], tolerance: Tolerance) -> None:
    reading = for_reading(sessions)

    @routes.get(HOURS_PAGE)
    def show(request: Request) -> Response:
        with reading() as session:
            sites, devices = views.places(session)
            plans = off_hours.weeks(session)
        return render(
            request,
            "devices/expected_off.html",
            plans=plans,
            sites=sites,
            devices=devices,
            days=DAYS,
            day_names=DAY_NAMES,
            hours_max=HOURS_MAX,
            tolerance=tolerance,
        )

    @routes.post(HOURS_PAGE)
    def add(
        request: Request,
        place: Annotated[str, Form(max_length=130)],
        begins: Annotated[str, Form(max_length=5)],
        ends: Annotated[str, Form(max_length=5)],
        days: Annotated[list[str] | None, Form(max_length=len(DAYS))] = None,
    ) -> Response:
        """`place` is `site:` or `device:` and a name; each of `days` gets the stretch."""
        operator = current_operator(request)
        scope, name = _place(place)
        new = [stretch(day, begins, ends) for day in days or ()]
        if not new:
            raise MalformedError("no day is chosen; choose one or more")
        with sessions.begin() as session:
            off_hours.change(session, operator, scope, name, add=new)
        return RedirectResponse(HOURS_PAGE, 303)

    @routes.post(HOURS_PAGE + "/remove")
    def remove(
        request: Request,
        place: Annotated[str, Form(max_length=130)],
        day: Annotated[str, Form(max_length=12)],
        begins: Annotated[str, Form(max_length=5)],
        ends: Annotated[str, Form(max_length=5)],
    ) -> Response:
        operator = current_operator(request)
        scope, name = _place(place)
        with sessions.begin() as session:
            off_hours.change(session, operator, scope, name, remove=[stretch(day, begins, ends)])
        return RedirectResponse(HOURS_PAGE, 303)


def _place(text: str) -> tuple[off_hours.Scope, str]:
    scope, _, name = text.partition(":")
    if scope == "site" and name:
        return "site", name
    if scope == "device" and name:
        return "device", name
    raise MalformedError(f"{text!r:.130} is neither a site nor a device; choose one from the list")
