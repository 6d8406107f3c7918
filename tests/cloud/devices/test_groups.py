"""Groups and tags: made, changed, used for jobs and taken away, by staff and by programs."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.devices import Device
from cloud.database.models.operators import AuditEntry
from cloud.devices import group_api, group_pages, groups, pages, tags
from cloud.devices.problems import DeniedError, Problem, WrongError
from cloud.devices.query import parse
from cloud.operators.access import Actor
from cloud.operators.roles import Role
from tests.cloud.conftest import Clock, Staff

Sessions = sessionmaker[Session]


@pytest.fixture
def fleet(sessions: Sessions, clock: Clock) -> Sessions:
    with sessions.begin() as session:
        for name, kind, site in (
            ("kiosk-01", "kiosk", "Prizren, Qendra"),
            ("kiosk-02", "kiosk", "Prishtina"),
            ("kiosk-03", "kiosk", "Prizren, Stacioni"),
            ("hall-01", "recorder", "Prizren, Qendra"),
        ):
            session.add(Device(device=name, kind=kind, site=site, registered_at=clock.at))
    return sessions


@pytest.fixture
def app(fleet: Sessions, pages_app: Callable[..., FastAPI]) -> FastAPI:
    return pages_app(pages.router(fleet, []), group_pages.router(fleet), group_api.router(fleet))


@pytest.fixture
def staff(app: FastAPI, sign_in: Callable[..., Staff]) -> Staff:
    return sign_in(app)


@pytest.fixture
def ana(clock: Clock) -> Actor:
    return Actor("ana", clock.at)


def found(fleet: Sessions, query: str) -> list[str]:
    with fleet() as session:
        return groups.matching(session, parse(query))


def audited(fleet: Sessions) -> list[tuple[str, str]]:
    with fleet() as session:
        rows = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id))
        return [(row.action, row.subject) for row in rows]


def test_a_query_is_asked_anew_each_time(fleet: Sessions, ana: Actor, clock: Clock) -> None:
    with fleet.begin() as session:
        tags.put(session, ana, "kiosk-01", {"floor": "2"})
        tags.put(session, ana, "hall-01", {"floor": "2"})
        groups.create(session, ana, "prizren-2", "", "kind:kiosk site:Prizren* tag.floor:2", [])
        assert groups.members(session, "prizren-2") == ["kiosk-01"]
        tags.put(session, ana, "kiosk-03", {"floor": "2"})
        assert groups.members(session, "prizren-2") == ["kiosk-01", "kiosk-03"]
        session.get_one(Device, "kiosk-01").decommissioned_at = clock.at
        session.flush()
        assert groups.members(session, "prizren-2") == ["kiosk-03"]
    assert found(fleet, "kind:kiosk") == ["kiosk-02", "kiosk-03"]


def test_devices_in_a_group_by_hand_leave_it_when_they_leave_the_fleet(
    fleet: Sessions, ana: Actor, clock: Clock
) -> None:
    with fleet.begin() as session:
        groups.create(session, ana, "lobby", "Lobby", None, ["kiosk-02", "kiosk-01", "kiosk-01"])
        assert groups.members(session, "lobby") == ["kiosk-01", "kiosk-02"]
        session.get_one(Device, "kiosk-01").decommissioned_at = clock.at
        session.flush()
        assert groups.members(session, "lobby") == ["kiosk-02"]
        groups.change(session, ana, "lobby", "Lobby", "kind:recorder", [])
        assert groups.members(session, "lobby") == ["hall-01"]
        groups.delete(session, ana, "lobby")
        with pytest.raises(DeniedError, match="no group lobby"):
            groups.members(session, "lobby")


def test_the_same_group_made_twice_is_one_and_another_is_refused(fleet: Sessions, ana: Actor) -> None:
    with fleet.begin() as session:
        assert groups.create(session, ana, "lobby", "", None, ["kiosk-01"])
        assert not groups.create(session, ana, "lobby", "", None, ["kiosk-01"])
        with pytest.raises(DeniedError) as refused:
            groups.create(session, ana, "lobby", "", None, ["kiosk-02"])
    assert refused.value.problem is Problem.GROUP_THERE
    assert audited(fleet) == [("create-group", "lobby")]


@pytest.mark.parametrize(
    ("name", "query", "devices", "problem"),
    [
        ("Lobby", None, [], Problem.GROUP_NAME),
        ("-", None, [], Problem.GROUP_NAME),
        ("x" * 64, None, [], Problem.GROUP_NAME),
        ("lobby", "kiosk", [], Problem.NO_TERM),
        ("lobby", "kind:kiosk", ["kiosk-01"], Problem.GROUP_BOTH),
        ("lobby", None, ["ghost-01"], Problem.NO_DEVICE),
    ],
)
def test_what_is_no_group_is_refused(
    fleet: Sessions, ana: Actor, name: str, query: str | None, devices: list[str], problem: Problem
) -> None:
    with pytest.raises((WrongError, DeniedError)) as refused, fleet.begin() as session:
        groups.create(session, ana, name, "", query, devices)
    assert refused.value.problem is problem
    assert audited(fleet) == []


@pytest.mark.parametrize(
    ("wished", "problem"),
    [
        ({"": "x"}, Problem.TAG_KEY),
        ({"a b": "x"}, Problem.TAG_KEY),
        ({"a:b": "x"}, Problem.TAG_KEY),
        ({"k" * 129: "x"}, Problem.TAG_KEY),
        ({"floor": "x" * 257}, Problem.TAG_VALUE),
        ({"floor": "a\nb"}, Problem.TAG_VALUE),
        ({f"k{number}": "" for number in range(51)}, Problem.TAGS_MAX),
    ],
)
def test_tags_have_bounds(fleet: Sessions, ana: Actor, wished: dict[str, str], problem: Problem) -> None:
    with pytest.raises(WrongError) as refused, fleet.begin() as session:
        tags.put(session, ana, "kiosk-01", wished)
    assert refused.value.problem is problem


def test_tags_are_read_as_people_write_them() -> None:
    assert tags.read_lines("\nfloor: 2\n way :north: by the door \n") == {
        "floor": "2",
        "way": "north: by the door",
    }
    assert tags.read_lines(tags.lines({"floor": "2", "empty": ""})) == {"floor": "2", "empty": ""}
    for text, problem in (("floor 2", Problem.TAG_COLON), ("a: 1\na: 2", Problem.TAG_TWICE)):
        with pytest.raises(WrongError) as refused:
            tags.read_lines(text)
        assert refused.value.problem is problem


# --- pages ---


def post(staff: Staff, path: str, **form: str) -> Any:
    return staff.client.post(path, data={"csrf": staff.csrf, **form})


def test_staff_make_change_and_delete_a_group(staff: Staff, fleet: Sessions) -> None:
    assert "There is no group yet" in staff.client.get("/groups").text
    made = post(staff, "/groups", name="prizren", title="Prizren", query="site:Prizren*")
    assert (made.status_code, made.headers["location"]) == (303, "/groups/prizren")
    page = staff.client.get("/groups/prizren").text
    assert "3 devices" in page
    assert "kiosk-03" in page
    assert "kiosk-02" not in page
    assert post(staff, "/groups/prizren", title="P", query="", devices="kiosk-02\nhall-01").status_code == 303
    assert "2 devices" in staff.client.get("/groups/prizren").text
    assert "chosen by hand" in staff.client.get("/groups").text
    assert post(staff, "/groups/prizren/delete").headers["location"] == "/groups"
    assert staff.client.get("/groups/prizren").status_code == 404
    assert audited(fleet) == [
        ("create-group", "prizren"),
        ("change-group", "prizren"),
        ("delete-group", "prizren"),
    ]


def test_what_was_typed_is_shown_again_with_what_was_wrong(staff: Staff) -> None:
    page = post(staff, "/groups", name="prizren", title="Prizren", query="site:")
    assert page.status_code == 400
    assert "At character 6: a value is missing" in page.text
    assert 'value="site:"' in page.text
    staff.client.cookies.set("language", "sq")
    told = post(staff, "/groups", name="prizren", query="color:red").text
    assert "Te shenja 1: nuk ka fushë color." in told
    assert "there is no field" not in told


def test_staff_set_the_tags_of_a_device(staff: Staff, fleet: Sessions) -> None:
    assert post(staff, "/devices/kiosk-01/tags", lines="floor: 2\nway: north").status_code == 303
    page = staff.client.get("/devices/kiosk-01").text
    assert "floor: 2" in page
    assert "/devices/kiosk-01/tags" in page
    assert "way: north" in staff.client.get("/devices/kiosk-01/tags").text
    wrong = post(staff, "/devices/kiosk-01/tags", lines="floor 2")
    assert wrong.status_code == 400
    assert "Line 1: a tag is a key, a colon and a value" in wrong.text
    assert post(staff, "/devices/ghost-01/tags", lines="").status_code == 404
    assert audited(fleet) == [("set-tags", "kiosk-01")]


def test_long_lists_have_pages(staff: Staff, fleet: Sessions, ana: Actor, clock: Clock) -> None:
    with fleet.begin() as session:
        for number in range(group_pages.LISTED + 1):
            groups.create(session, ana, f"group-{number:02}", "", "kind:kiosk", [])
            session.add(Device(device=f"k-{number:02}", kind="kiosk", site="x", registered_at=clock.at))
    assert "/groups?after=group-49" in staff.client.get("/groups").text
    assert "group-50" in staff.client.get("/groups?after=group-49").text
    assert "?after=k-49" in staff.client.get("/groups/group-00").text
    assert "kiosk-01" in staff.client.get("/groups/group-00?after=k-49").text


def test_groups_belong_to_those_who_look_after_devices(
    app: FastAPI, staff: Staff, sign_in: Callable[..., Staff]
) -> None:
    clerk = sign_in(app, name="besa", role=Role.CLERK)
    operator = sign_in(app, name="oda", role=Role.OPERATOR)
    for path in ("/groups", "/devices/kiosk-01/tags", "/api/v1/groups"):
        assert clerk.client.get(path).status_code == 403
        assert operator.client.get(path).status_code == 200
    assert TestClient(app).get("/api/v1/groups").status_code == 401


# --- programs ---


def test_programs_do_the_same_by_json(staff: Staff, fleet: Sessions) -> None:
    call = staff.client
    tagged = call.put("/api/v1/devices/kiosk-01/tags", json={"tags": {"floor": "2"}}, headers=staff.headers)
    assert tagged.json() == {"tags": {"floor": "2"}} == call.get("/api/v1/devices/kiosk-01/tags").json()
    wish = {"title": "Second floors", "query": "tag.floor:2"}
    for _ in range(2):  # a program that got no answer asks again
        made = call.put("/api/v1/groups/second", json=wish, headers=staff.headers)
        assert (made.status_code, made.json()["query"]) == (200, "tag.floor:2")
    assert call.get("/api/v1/groups/second/devices").json() == {
        "devices": ["kiosk-01"],
        "count": 1,
        "next": None,
    }
    by_hand = {"devices": ["kiosk-01", "kiosk-02", "kiosk-03"]}
    assert call.put("/api/v1/groups/three", json=by_hand, headers=staff.headers).json()["title"] == "three"
    page = call.get("/api/v1/groups/three/devices?limit=2").json()
    assert (page["devices"], page["count"], page["next"]) == (["kiosk-01", "kiosk-02"], 3, "kiosk-02")
    rest = call.get("/api/v1/groups/three/devices?limit=2&cursor=kiosk-02").json()
    assert (rest["devices"], rest["next"]) == (["kiosk-03"], None)
    listed = call.get("/api/v1/groups?limit=1").json()
    assert ([each["name"] for each in listed["groups"]], listed["next"]) == (["second"], "second")
    matched = call.get("/api/v1/device-matches", params={"query": "kind:recorder"}).json()
    assert matched["devices"] == ["hall-01"]
    assert call.delete("/api/v1/groups/three", headers=staff.headers).status_code == 204
    assert call.get("/api/v1/groups/three").status_code == 404
    assert audited(fleet) == [
        ("set-tags", "kiosk-01"),
        ("create-group", "second"),
        ("create-group", "three"),
        ("delete-group", "three"),
    ]


def test_programs_are_told_what_is_wrong(staff: Staff) -> None:
    told = staff.client.get("/api/v1/device-matches", params={"query": "color:red"})
    assert (told.status_code, told.json()["code"]) == (400, "malformed")
    assert "At character 1: there is no field color." in told.json()["detail"]
    gone = staff.client.put("/api/v1/devices/ghost/tags", json={"tags": {}}, headers=staff.headers)
    assert gone.status_code == 404
    refused = staff.client.put("/api/v1/groups/x", json={"devices": ["ghost"]}, headers=staff.headers)
    assert refused.status_code == 409
