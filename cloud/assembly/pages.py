"""The staff's page of the halls' seats: listed, edited one by one, or imported as a whole."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session, sessionmaker
from starlette.exceptions import HTTPException

from cloud.assembly import roster
from cloud.assembly.problems import SENTENCES, RosterError
from cloud.assembly.roster import Member
from cloud.database.engine import for_reading
from cloud.database.halls import halls
from cloud.database.models.assembly import NAME_LENGTH_MAX, SEAT_LENGTH_MAX
from cloud.operators.access import audit, current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render

PAGE = "/assembly"
FIELD_LENGTH_MAX = 4 * NAME_LENGTH_MAX
"""What a form may carry; longer than a name, so that one that is too long is answered on the page."""
TABLE_LENGTH_MAX = 2 * roster.CSV_CHARACTERS_MAX


@dataclass(frozen=True)
class Typed:
    """What a person wrote; it is shown again when it was not taken."""

    seat: Member
    table: str


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


def _page(
    request: Request,
    database: Session,
    hall: str,
    seat: str = "",
    typed: Typed | None = None,
    problem: RosterError | None = None,
) -> HTMLResponse:
    known = halls(database)
    found = roster.seats(database, hall)
    stored = next((each for each in found if each.seat == seat), None)
    shown = (
        Member(stored.seat, stored.name, stored.group, chair=stored.chair)
        if stored
        else Member("", "", "", chair=False)
    )
    return render(
        request,
        "assembly/seats.html",
        status=400 if problem else 200,
        halls=known,
        hall=hall,
        seats=found,
        edited=stored,
        typed=typed or Typed(shown, ""),
        problem=problem,
        sentences=SENTENCES,
        name_length_max=NAME_LENGTH_MAX,
        seat_length_max=SEAT_LENGTH_MAX,
        csv_characters_max=roster.CSV_CHARACTERS_MAX,
        columns=",".join(roster.COLUMNS),
    )


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
            return _page(request, database, chosen, seat)

    return show


def _put(sessions: sessionmaker[Session]) -> Callable[..., Any]:
    def put(
        request: Request,
        hall: str,
        seat: Annotated[str, Form(max_length=SEAT_LENGTH_MAX)],
        name: Annotated[str, Form(max_length=FIELD_LENGTH_MAX)],
        group: Annotated[str, Form(max_length=FIELD_LENGTH_MAX)] = "",
        chair: Annotated[str, Form()] = "",
    ) -> Response:
        operator = current_operator(request)
        with sessions.begin() as database:
            _hall(database, hall)
            try:
                who = roster.member(seat, name, group, chair=bool(chair))
            except RosterError as error:
                typed = Typed(Member(seat, name, group, chair=bool(chair)), "")
                return _page(request, database, hall, seat, typed, error)
            roster.put(database, hall, who)
            audit(database, operator, "put-seat", hall, {"seat": who.seat, "chair": who.chair})
        return _back(hall)

    return put


def _import(sessions: sessionmaker[Session]) -> Callable[..., Any]:
    def import_seats(
        request: Request, hall: str, table: Annotated[str, Form(max_length=TABLE_LENGTH_MAX)]
    ) -> Response:
        operator = current_operator(request)
        with sessions.begin() as database:
            _hall(database, hall)
            try:
                members = roster.parse(table)
            except RosterError as error:
                typed = Typed(Member("", "", "", chair=False), table)
                return _page(request, database, hall, "", typed, error)
            roster.replace(database, hall, members)
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
