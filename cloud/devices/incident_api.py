"""Incidents and expected hours for staff's programs."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import for_reading
from cloud.database.models.presence import NOTE_LENGTH_MAX
from cloud.devices import incident_views as views
from cloud.devices import off_hours
from cloud.devices.hours import DAYS, HOURS_MAX, Off, stretch
from cloud.devices.incident_views import POSITION_MAX, View
from cloud.errors import RefusedError
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.problems import ProblemError

PATH = "/api/v1/incidents"
HOURS_PATH = "/api/v1/expected-off"
LISTED_MAX = 100
PLANS_MAX = 200
Number = Annotated[int, Path(ge=1, le=POSITION_MAX)]
Name = Annotated[str, Query(min_length=1, max_length=120)]
Clock = Annotated[str, Field(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class MemberJson(BaseModel):
    """One device: when it went first, when it came back (null while it is away), how often it went."""

    model_config = ConfigDict(from_attributes=True)

    device: str
    gone_at: datetime
    back_at: datetime | None
    times: int


class IncidentJson(BaseModel):
    """Devices of one site that went off together. `over_at` is when the last of them came back; some minutes
    later it is closed."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    site: str
    state: Literal["open", "recovering", "closed"]
    opened_at: datetime
    over_at: datetime | None
    closed_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    note: str
    members: list[MemberJson]


class IncidentList(BaseModel):
    """Newest first; `next` is the cursor of the next page, null on the last."""

    incidents: list[IncidentJson]
    next: int | None


class Acknowledgement(BaseModel):
    """That somebody has seen it, and what they say to it."""

    note: str = Field(default="", max_length=NOTE_LENGTH_MAX)


class StretchJson(BaseModel):
    """One stretch a week, in the city's civil time; one that does not end later than it begins ends on the
    next day."""

    day: Day
    begins: Clock
    ends: Clock


class PlanJson(BaseModel):
    """When a site or a device is expected to be off; a device with a plan of its own goes by that alone."""

    scope: Literal["site", "device"]
    name: str
    stretches: list[StretchJson]


class PlanList(BaseModel):
    """By scope and name; `next` is the cursor of the next page, null on the last."""

    plans: list[PlanJson]
    next: str | None


class NewPlan(BaseModel):
    """The whole plan; an empty one takes it away."""

    stretches: list[StretchJson] = Field(max_length=HOURS_MAX)


def router(sessions: sessionmaker[Session]) -> APIRouter:
    """The routes for staff's programs."""
    routes = APIRouter()
    _incidents(routes, sessions)
    _hours(routes, sessions)
    return belongs_to(Area.DEVICES, routes)


def _incidents(routes: APIRouter, sessions: sessionmaker[Session]) -> None:
    reading = for_reading(sessions)

    def found(number: int) -> IncidentJson:
        with reading() as session:
            view = views.one(session, number)
        if view is None:
            raise ProblemError(404, f"there is no incident {number}", code="not-found")
        return _incident(view)

    @routes.get(PATH)
    def list_incidents(
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 50,
        cursor: Annotated[int | None, Query(ge=1, le=POSITION_MAX)] = None,
    ) -> IncidentList:
        with reading() as session:
            rows = views.listed(session, before=cursor, limit=limit + 1)
        following = rows[limit - 1].number if len(rows) > limit else None
        return IncidentList(incidents=[_incident(each) for each in rows[:limit]], next=following)

    @routes.get(PATH + "/{number}")
    def show_incident(number: Number) -> IncidentJson:
        return found(number)

    @routes.put(PATH + "/{number}/acknowledgement")
    def acknowledge_incident(request: Request, number: Number, new: Acknowledgement) -> IncidentJson:
        operator = current_operator(request)
        found(number)
        with sessions.begin() as session:
            views.acknowledge(session, operator, number, new.note)
        return found(number)


def _hours(routes: APIRouter, sessions: sessionmaker[Session]) -> None:
    reading = for_reading(sessions)

    @routes.get(HOURS_PATH)
    def list_expected_off(
        limit: Annotated[int, Query(ge=1, le=PLANS_MAX)] = 50,
        cursor: Annotated[str, Query(max_length=130)] = "",
    ) -> PlanList:
        with reading() as session:
            plans = off_hours.weeks(session)
        rest = [(scope, name) for scope, name in plans if f"{scope}:{name}" > cursor]
        shown = rest[:limit]
        following = "{}:{}".format(*shown[-1]) if len(rest) > limit else None
        return PlanList(plans=[_plan(*key, plans[key]) for key in shown], next=following)

    @routes.get(HOURS_PATH + "/{scope}")
    def show_expected_off(scope: Literal["site", "device"], name: Name) -> PlanJson:
        try:
            with reading() as session:
                return _plan(scope, name, off_hours.week(session, scope, name))
        except RefusedError as error:
            raise ProblemError(404, str(error), code="not-found") from error

    @routes.put(HOURS_PATH + "/{scope}")
    def set_expected_off(
        request: Request, scope: Literal["site", "device"], name: Name, new: NewPlan
    ) -> PlanJson:
        operator = current_operator(request)
        wanted = [stretch(each.day, each.begins, each.ends) for each in new.stretches]
        with sessions.begin() as session:
            return _plan(scope, name, off_hours.put(session, operator, scope, name, wanted))


def _incident(view: View) -> IncidentJson:
    return IncidentJson.model_validate(view)


def _plan(scope: str, name: str, week: tuple[Off, ...]) -> PlanJson:
    return PlanJson.model_validate(
        {
            "scope": scope,
            "name": name,
            "stretches": [
                {"day": DAYS[each.day], "begins": f"{each.begins:%H:%M}", "ends": f"{each.ends:%H:%M}"}
                for each in week
            ],
        }
    )
