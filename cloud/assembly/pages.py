"""The staff's page of the halls' seats: listed, edited one by one, or imported as a whole."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session, sessionmaker
from starlette.exceptions import HTTPException

from cloud.assembly import roster
from cloud.database.engine import for_reading
from cloud.database.halls import halls
from cloud.database.models.assembly import NAME_LENGTH_MAX, SEAT_LENGTH_MAX
from cloud.operators.access import audit, current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render

PAGE = "/assembly"


def router(sessions: sessionmaker[Session]) -> APIRouter:
    """The staff's routes of the assembly."""
    routes = APIRouter()
    routes.add_api_route(PAGE, _show(sessions), methods=["GET"])
    routes.add_api_route(PAGE + "/{hall}/seats", _put(sessions), methods=["POST"])
    routes.add_api_route(PAGE + "/{hall}/import", _import(sessions), methods=["POST"])
    routes.add_api_route(PAGE + "/{hall}/seats/{seat}/remove", _remove(sessions), methods=["POST"])
    return belongs_to(Area.ASSEMBLY, routes)


def _hall(database: Session, hall: str) -> str:
    if hall not in halls(database):
        raise HTTPException(404)
    return hall


def _back(hall: str) -> RedirectResponse:
    return RedirectResponse(f"{PAGE}?hall={hall}", 303)


def _show(sessions: sessionmaker[Session]) -> Callable[..., Any]:
    reading = for_reading(sessions)

    def show(
        request: Request,
        hall: Annotated[str, Query(max_length=63)] = "",
        seat: Annotated[str, Query(max_length=SEAT_LENGTH_MAX)] = "",
    ) -> HTMLResponse:
        with reading() as database:
            known = halls(database)
            chosen = _hall(database, hall) if hall else (known[0] if known else "")
            found = roster.seats(database, chosen)
            return render(
                request,
                "assembly/seats.html",
                halls=known,
                hall=chosen,
                seats=found,
                edited=next((each for each in found if each.seat == seat), None),
                name_length_max=NAME_LENGTH_MAX,
                seat_length_max=SEAT_LENGTH_MAX,
                csv_characters_max=roster.CSV_CHARACTERS_MAX,
                columns=",".join(roster.COLUMNS),
            )

    return show


def _put(sessions: sessionmaker[Session]) -> Callable[..., Any]:
    def put(
        request: Request,
        hall: str,
        seat: Annotated[str, Form()],
        name: Annotated[str, Form()],
        group: Annotated[str, Form()] = "",
        chair: Annotated[str, Form()] = "",
    ) -> RedirectResponse:
        operator = current_operator(request)
        who = roster.member(seat, name, group, chair=bool(chair))
        with sessions.begin() as database:
            roster.put(database, _hall(database, hall), who)
            audit(database, operator, "put-seat", hall, {"seat": who.seat, "chair": who.chair})
        return _back(hall)

    return put


def _import(sessions: sessionmaker[Session]) -> Callable[..., Any]:
    def import_seats(request: Request, hall: str, table: Annotated[str, Form()]) -> RedirectResponse:
        operator = current_operator(request)
        members = roster.parse(table)
        with sessions.begin() as database:
            roster.replace(database, _hall(database, hall), members)
            audit(database, operator, "import-seats", hall, {"seats": len(members)})
        return _back(hall)

    return import_seats


def _remove(sessions: sessionmaker[Session]) -> Callable[..., Any]:
    def remove(request: Request, hall: str, seat: str) -> RedirectResponse:
        operator = current_operator(request)
        with sessions.begin() as database:
            roster.remove(database, _hall(database, hall), seat)
            audit(database, operator, "remove-seat", hall, {"seat": seat})
        return _back(hall)

    return remove
