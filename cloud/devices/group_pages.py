"""The pages of groups and tags: who belongs together, and what is said of a device."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session, sessionmaker
from starlette.exceptions import HTTPException

from cloud.database.models.devices import Device
from cloud.devices import groups, tags
from cloud.devices.problems import EXAMPLES, SENTENCES, DeniedError, WrongError
from cloud.devices.query import QUERY_LENGTH_MAX
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render

WORDS: dict[str, Any] = {
    "sentences": SENTENCES,
    "example": 'kind:kiosk site:"Prizren*" tag.floor:2',
    "fields_known": EXAMPLES["fields"],
    "tag": EXAMPLES["tag"],
    "limit": tags.TAGS_MAX,
}
Wrong = DeniedError | WrongError | None
PAGE = "/groups"
LISTED = 50
LINES_LENGTH_MAX = 25_000
DEVICES_LENGTH_MAX = 640_000
"""A group's devices as typed: 10,000 ids of 63 characters, a line each."""


@dataclass(frozen=True)
class Typed:
    """What somebody has typed, to be shown again with what was wrong with it."""

    name: str = ""
    title: str = ""
    query: str = ""
    devices: str = ""

    @property
    def wanted(self) -> str | None:
        """The query, if there is one."""
        return self.query.strip() or None


def router(sessions: sessionmaker[Session]) -> APIRouter:
    """The pages."""
    routes = APIRouter()
    _add_list(routes, sessions)
    _add_one(routes, sessions)
    _add_tags(routes, sessions)
    return belongs_to(Area.DEVICES, routes)


def _add_list(routes: APIRouter, sessions: sessionmaker[Session]) -> None:
    def page(request: Request, after: str, typed: Typed, problem: Wrong = None) -> Response:
        with sessions() as session:
            found = groups.listed(session, after=after, limit=LISTED + 1)
        return render(
            request,
            "devices/groups.html",
            status=400 if problem else 200,
            groups=found[:LISTED],
            after=after,
            following=found[LISTED - 1].name if len(found) > LISTED else None,
            typed=typed,
            problem=problem,
            **WORDS,
        )

    @routes.get(PAGE)
    def show_groups(request: Request, after: Annotated[str, Query(max_length=63)] = "") -> Response:
        return page(request, after, Typed())

    @routes.post(PAGE)
    def make_group(
        request: Request,
        name: Annotated[str, Form(max_length=63)],
        title: Annotated[str, Form(max_length=groups.TITLE_LENGTH_MAX)] = "",
        query: Annotated[str, Form(max_length=QUERY_LENGTH_MAX)] = "",
        devices: Annotated[str, Form(max_length=DEVICES_LENGTH_MAX)] = "",
    ) -> Response:
        operator = current_operator(request)
        typed = Typed(name.strip(), title, query, devices)
        try:
            with sessions.begin() as session:
                groups.create(session, operator, typed.name, title, typed.wanted, devices.split())
        except (DeniedError, WrongError) as error:
            return page(request, "", typed, error)
        return RedirectResponse(f"{PAGE}/{typed.name}", 303)


def _add_one(routes: APIRouter, sessions: sessionmaker[Session]) -> None:
    def page(request: Request, name: str, after: str, typed: Typed | None, problem: Wrong = None) -> Response:
        with sessions() as session:
            group = groups.one(session, name)
            if group is None:
                raise HTTPException(404)
            members = groups.members(session, name)
            by_hand = groups.by_hand(session, name)
        shown = [device for device in members if device > after]
        return render(
            request,
            "devices/group.html",
            status=400 if problem else 200,
            group=group,
            count=len(members),
            members=shown[:LISTED],
            after=after,
            following=shown[LISTED - 1] if len(shown) > LISTED else None,
            typed=typed or Typed(name, group.title, group.query or "", "\n".join(by_hand)),
            problem=problem,
            **WORDS,
        )

    @routes.get(PAGE + "/{name}")
    def show_group(request: Request, name: str, after: Annotated[str, Query(max_length=63)] = "") -> Response:
        return page(request, name, after, None)

    @routes.post(PAGE + "/{name}")
    def change_group(
        request: Request,
        name: str,
        title: Annotated[str, Form(max_length=groups.TITLE_LENGTH_MAX)] = "",
        query: Annotated[str, Form(max_length=QUERY_LENGTH_MAX)] = "",
        devices: Annotated[str, Form(max_length=DEVICES_LENGTH_MAX)] = "",
    ) -> Response:
        operator = current_operator(request)
        typed = Typed(name, title, query, devices)
        try:
            with sessions.begin() as session:
                groups.change(session, operator, name, title, typed.wanted, devices.split())
        except (DeniedError, WrongError) as error:
            return page(request, name, "", typed, error)
        return RedirectResponse(f"{PAGE}/{name}", 303)

    @routes.post(PAGE + "/{name}/delete")
    def delete_group(request: Request, name: str) -> Response:
        operator = current_operator(request)
        with sessions.begin() as session:
            groups.delete(session, operator, name)
        return RedirectResponse(PAGE, 303)


def _add_tags(routes: APIRouter, sessions: sessionmaker[Session]) -> None:
    def page(request: Request, device: str, lines: str | None, problem: Wrong = None) -> Response:
        with sessions() as session:
            if session.get(Device, device) is None:
                raise HTTPException(404)
            if lines is None:
                lines = tags.lines(tags.of(session, device))
        return render(
            request,
            "devices/tags.html",
            status=400 if problem else 200,
            device=device,
            lines=lines,
            problem=problem,
            **WORDS,
        )

    @routes.get("/devices/{device}/tags")
    def show_tags(request: Request, device: str) -> Response:
        return page(request, device, None)

    @routes.post("/devices/{device}/tags")
    def set_tags(
        request: Request, device: str, lines: Annotated[str, Form(max_length=LINES_LENGTH_MAX)] = ""
    ) -> Response:
        operator = current_operator(request)
        try:
            with sessions.begin() as session:
                tags.put(session, operator, device, tags.read_lines(lines))
        except (DeniedError, WrongError) as error:
            return page(request, device, lines, error)
        return RedirectResponse(f"/devices/{device}", 303)
