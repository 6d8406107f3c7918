"""The registry for staff: a list, a page for each device with what other ways know of it, and JSON."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session, sessionmaker
from starlette.exceptions import HTTPException

from cloud.devices import tags, views
from cloud.devices.wording import CAUSES, KINDS, PRESENCE_CHIPS, PRESENCES
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render
from cloud.web.problems import ProblemError

PAGE = "/devices"
LISTED = 50
LISTED_MAX = 200

WORDS: dict[str, Any] = {"kinds": KINDS, "presences": PRESENCES, "presence_chips": PRESENCE_CHIPS}

Section = Callable[[Request, str], Response]
"""Gives the part of a device's page that another way knows, as HTML without a frame."""


class DeviceJson(BaseModel):
    """One device of the registry; `presence` is `online`, `degraded` or `offline`.

    `presence_cause` says why: `never`, `well`, `late`, `flapping`, `ended` or `silent`. `expected_until` is
    set while the device is off as expected.
    """

    model_config = ConfigDict(from_attributes=True)

    device: str
    kind: str
    site: str
    registered_at: datetime
    enrolled_at: datetime | None
    decommissioned_at: datetime | None
    presence: str
    presence_at: datetime | None
    presence_cause: str
    expected_until: datetime | None
    agent: str
    last_seen_at: datetime | None


class DeviceList(BaseModel):
    """By id; `next` is the cursor of the next page, null on the last."""

    devices: list[DeviceJson]
    next: str | None


def router(sessions: sessionmaker[Session], sections: Sequence[Section]) -> APIRouter:
    """The routes; `sections` follow one another on a device's page."""
    routes = APIRouter()

    def found(device: str) -> views.DeviceView | None:
        with sessions() as session:
            return views.one(session, device)

    def live(request: Request, device: str) -> Markup:
        parts = [bytes(section(request, device).body).decode() for section in sections]
        return Markup("\n".join(parts))  # noqa: S704 - each part is a rendered template

    @routes.get(PAGE)
    def show_list(request: Request, after: Annotated[str, Query(max_length=63)] = "") -> Response:
        with sessions() as session:
            rows = views.listed(session, after=after, limit=LISTED + 1)
        following = rows[LISTED - 1].device if len(rows) > LISTED else None
        return render(
            request, "devices/list.html", devices=rows[:LISTED], after=after, following=following, **WORDS
        )

    @routes.get(PAGE + "/{device}")
    def show_one(request: Request, device: str) -> Response:
        row = found(device)
        if row is None:
            raise HTTPException(404)
        query = f"?{request.url.query}" if request.url.query else ""
        with sessions() as session:
            tagged = tags.of(session, device)
        return render(
            request,
            "devices/device.html",
            row=row,
            causes=CAUSES,
            tags=tagged,
            query=query,
            inner=live(request, device),
            **WORDS,
        )

    @routes.get(PAGE + "/{device}/live")
    def show_one_live(request: Request, device: str) -> Response:
        if found(device) is None:
            raise HTTPException(404)
        return HTMLResponse(live(request, device))

    @routes.get("/api/v1/devices")
    def list_devices(
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = LISTED,
        cursor: Annotated[str, Query(max_length=63)] = "",
    ) -> DeviceList:
        with sessions() as session:
            rows = views.listed(session, after=cursor, limit=limit + 1)
        following = rows[limit - 1].device if len(rows) > limit else None
        return DeviceList(devices=[DeviceJson.model_validate(row) for row in rows[:limit]], next=following)

    @routes.get("/api/v1/devices/{device}")
    def show_device(device: str) -> DeviceJson:
        row = found(device)
        if row is None:
            raise ProblemError(404, f"there is no device {device:.63}", code="not-found")
        return DeviceJson.model_validate(row)

    return belongs_to(Area.DEVICES, routes)
