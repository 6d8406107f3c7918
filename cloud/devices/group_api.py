"""Groups and tags for programs. Each write says how it shall be afterwards, so that it may be repeated."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.devices import Device
from cloud.devices import groups, tags
from cloud.devices.query import KEY_LENGTH_MAX, QUERY_LENGTH_MAX, parse
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.problems import ProblemError

PATH = "/api/v1/groups"
MATCHES_PATH = "/api/v1/device-matches"
TAGS_PATH = "/api/v1/devices/{device}/tags"
LISTED_MAX = 200
MEMBERS_LISTED_MAX = 1000

Cursor = Annotated[str, Query(max_length=63)]
Members = Annotated[int, Query(ge=1, le=MEMBERS_LISTED_MAX)]
Key = Annotated[str, Field(min_length=1, max_length=KEY_LENGTH_MAX)]
Value = Annotated[str, Field(max_length=tags.VALUE_LENGTH_MAX)]


class GroupView(BaseModel):
    """One group; `query` is null where devices were put in by hand."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    title: str
    query: str | None
    created_at: datetime
    created_by: str


class GroupList(BaseModel):
    """By name; `next` is the cursor of the next page, null on the last."""

    groups: list[GroupView]
    next: str | None


class GroupWish(BaseModel):
    """How a group shall be: with a `query`, or with `devices` by hand."""

    title: str = Field(default="", max_length=groups.TITLE_LENGTH_MAX)
    query: str | None = Field(default=None, max_length=QUERY_LENGTH_MAX)
    devices: list[Annotated[str, Field(max_length=63)]] = Field(default=[], max_length=groups.MEMBERS_MAX)


class DeviceIds(BaseModel):
    """`count` devices in all, by id; `next` is the cursor of the next page, null on the last."""

    devices: list[str]
    count: int
    next: str | None


class Tags(BaseModel):
    """All tags of a device: values by key."""

    tags: dict[Key, Value] = Field(max_length=tags.TAGS_MAX)


def router(sessions: sessionmaker[Session]) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    _add_groups(routes, sessions)
    _add_tags(routes, sessions)

    @routes.get(MATCHES_PATH, responses={400: {"description": "It is no query; `detail` says where."}})
    def match_devices(
        query: Annotated[str, Query(max_length=QUERY_LENGTH_MAX)],
        limit: Members = MEMBERS_LISTED_MAX,
        cursor: Cursor = "",
    ) -> DeviceIds:
        """The devices that a query finds now."""
        wanted = parse(query)
        with sessions() as session:
            return _page(groups.matching(session, wanted), cursor, limit)

    return belongs_to(Area.DEVICES, routes)


def _add_groups(routes: APIRouter, sessions: sessionmaker[Session]) -> None:
    @routes.get(PATH)
    def list_groups(limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 50, cursor: Cursor = "") -> GroupList:
        with sessions() as session:
            found = groups.listed(session, after=cursor, limit=limit + 1)
        following = found[limit - 1].name if len(found) > limit else None
        return GroupList(groups=[GroupView.model_validate(each) for each in found[:limit]], next=following)

    @routes.get(PATH + "/{name}")
    def show_group(name: str) -> GroupView:
        with sessions() as session:
            return _found(session, name)

    @routes.put(PATH + "/{name}")
    def put_group(request: Request, name: str, wish: GroupWish) -> GroupView:
        """Make the group, or change it."""
        operator = current_operator(request)
        with sessions.begin() as session:
            known = groups.one(session, name) is not None
            act = groups.change if known else groups.create
            act(session, operator, name, wish.title, wish.query, wish.devices)
        with sessions() as session:
            return _found(session, name)

    @routes.delete(PATH + "/{name}", status_code=204)
    def delete_group(request: Request, name: str) -> None:
        operator = current_operator(request)
        with sessions.begin() as session:
            _found(session, name)
            groups.delete(session, operator, name)

    @routes.get(PATH + "/{name}/devices")
    def list_members(name: str, limit: Members = MEMBERS_LISTED_MAX, cursor: Cursor = "") -> DeviceIds:
        """The devices that are in the group now."""
        with sessions() as session:
            _found(session, name)
            return _page(groups.members(session, name), cursor, limit)


def _add_tags(routes: APIRouter, sessions: sessionmaker[Session]) -> None:
    @routes.get(TAGS_PATH)
    def show_tags(device: str) -> Tags:
        with sessions() as session:
            _check(session, device)
            return Tags(tags=tags.of(session, device))

    @routes.put(TAGS_PATH)
    def set_tags(request: Request, device: str, wish: Tags) -> Tags:
        """Give the device exactly these tags."""
        operator = current_operator(request)
        with sessions.begin() as session:
            _check(session, device)
            tags.put(session, operator, device, wish.tags)
            return Tags(tags=tags.of(session, device))


def _found(session: Session, name: str) -> GroupView:
    group = groups.one(session, name)
    if group is None:
        raise ProblemError(404, f"there is no group {name:.63}", code="not-found")
    return GroupView.model_validate(group)


def _check(session: Session, device: str) -> None:
    if session.get(Device, device) is None:
        raise ProblemError(404, f"there is no device {device:.63}", code="not-found")


def _page(devices: list[str], after: str, limit: int) -> DeviceIds:
    shown = [device for device in devices if device > after]
    following = shown[limit - 1] if len(shown) > limit else None
    return DeviceIds(devices=shown[:limit], count=len(devices), next=following)
