"""Planned maintenance of the broker, for staff and for programs: begin a delay, see it, end it."""

import secrets
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Header, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from cloud.database.models.link import ToldDelay
from cloud.link.delays import KEY_LENGTH_MAX, LISTED, Delays, listed, sites
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render
from cloud.web.problems import ProblemError
from contract.link import DELAY_S_MAX, VALID_S_MAX

PAGE = "/maintenance"
PATH = "/api/v1/delays"
LISTED_MAX = 200
KEY_BYTES = 16
ID_LENGTH_MAX = 64
SITE_LENGTH_MAX = 120
MINUTE_S = 60
WAIT_MINUTES_MAX = int(DELAY_S_MAX) // MINUTE_S
VALID_MINUTES_MAX = int(VALID_S_MAX) // MINUTE_S


class DelayJson(BaseModel):
    """A delay: whoever of `site` ('' is the fleet) loses the broker until `until` waits so many seconds.

    `ended_at` is set where somebody took it back before.
    """

    model_config = ConfigDict(from_attributes=True)

    delay: str
    site: str
    min_s: int
    max_s: int
    created_at: datetime
    created_by: str
    until: datetime
    ended_at: datetime | None
    ended_by: str


class NewDelay(BaseModel):
    """`site` '' is the whole fleet; all in seconds."""

    site: str = Field(default="", max_length=SITE_LENGTH_MAX)
    min_s: int = Field(ge=0, le=int(DELAY_S_MAX))
    max_s: int = Field(ge=0, le=int(DELAY_S_MAX))
    valid_s: int = Field(ge=1, le=int(VALID_S_MAX))


class DelayList(BaseModel):
    """Newest first; `next` is the cursor of the next page, null on the last."""

    delays: list[DelayJson]
    next: str | None


def router(delays: Delays) -> APIRouter:
    """The page."""
    routes = APIRouter()

    def minutes(low: int, high: int) -> Any:
        return Form(ge=low, le=high)

    @routes.get(PAGE)
    def show(request: Request, before: Annotated[str, Query(max_length=ID_LENGTH_MAX)] = "") -> Response:
        with delays.sessions() as session:
            rows = listed(session, before or None, LISTED + 1)
            places = sites(session)
        now = delays.clock()
        return render(
            request,
            "link/maintenance.html",
            rows=rows[:LISTED],
            valid=[row for row in rows if is_valid(row, now)],
            following=rows[LISTED - 1].delay if len(rows) > LISTED else None,
            before=before,
            sites=places,
            key=secrets.token_hex(KEY_BYTES),
            wait_max=WAIT_MINUTES_MAX,
            valid_max=VALID_MINUTES_MAX,
            is_valid=lambda row: is_valid(row, now),
        )

    @routes.post(PAGE)
    def tell(
        request: Request,
        key: Annotated[str, Form(max_length=KEY_LENGTH_MAX)],
        min_minutes: Annotated[int, minutes(0, WAIT_MINUTES_MAX)],
        max_minutes: Annotated[int, minutes(0, WAIT_MINUTES_MAX)],
        valid_minutes: Annotated[int, minutes(1, VALID_MINUTES_MAX)],
        site: Annotated[str, Form(max_length=SITE_LENGTH_MAX)] = "",
    ) -> Response:
        operator = current_operator(request)
        with delays.sessions.begin() as session:
            delays.tell(
                session,
                operator,
                site=site,
                min_s=min_minutes * MINUTE_S,
                max_s=max_minutes * MINUTE_S,
                valid_s=valid_minutes * MINUTE_S,
                key=key,
            )
        return RedirectResponse(PAGE, 303)

    @routes.post(PAGE + "/{delay}/end")
    def end(request: Request, delay: str) -> Response:
        if not _end(delays, request, delay):
            raise HTTPException(404)
        return RedirectResponse(PAGE, 303)

    return belongs_to(Area.DEVICES, routes)


def api_router(delays: Delays) -> APIRouter:
    """The same for programs."""
    routes = APIRouter()

    def one(delay: str) -> DelayJson:
        with delays.sessions() as session:
            row = session.get(ToldDelay, delay)
        if row is None:
            raise ProblemError(404, f"there is no delay {delay:.64}", code="not-found")
        return DelayJson.model_validate(row)

    @routes.get(PATH)
    def list_delays(
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = LISTED,
        cursor: Annotated[str, Query(max_length=ID_LENGTH_MAX)] = "",
    ) -> DelayList:
        with delays.sessions() as session:
            rows = listed(session, cursor or None, limit + 1)
        following = rows[limit - 1].delay if len(rows) > limit else None
        return DelayList(delays=[DelayJson.model_validate(row) for row in rows[:limit]], next=following)

    @routes.post(PATH, status_code=201)
    def create_delay(
        request: Request, new: NewDelay, idempotency_key: Annotated[str, Header(max_length=KEY_LENGTH_MAX)]
    ) -> DelayJson:
        operator = current_operator(request)
        with delays.sessions.begin() as session:
            delay = delays.tell(session, operator, **new.model_dump(), key=idempotency_key)
        return one(delay)

    @routes.get(PATH + "/{delay}")
    def show_delay(delay: str) -> DelayJson:
        return one(delay)

    @routes.post(PATH + "/{delay}/end")
    def end_delay(request: Request, delay: str) -> DelayJson:
        if not _end(delays, request, delay):
            raise ProblemError(404, f"there is no delay {delay:.64}", code="not-found")
        return one(delay)

    return belongs_to(Area.DEVICES, routes)


def is_valid(row: ToldDelay, now: datetime) -> bool:
    """Whether devices still wait because of it."""
    return row.ended_at is None and row.until > now


def _end(delays: Delays, request: Request, delay: str) -> bool:
    operator = current_operator(request)
    with delays.sessions.begin() as session:
        if session.get(ToldDelay, delay) is None:
            return False
        delays.end(session, operator, delay)
    return True
