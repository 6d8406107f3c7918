"""Incidents and hours off on pages and in JSON: read, acknowledged and set by staff, with an audit."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.operators import AuditEntry
from cloud.database.models.presence import NOTE_LENGTH_MAX, IncidentMember, IncidentRow
from cloud.devices import incident_api, incident_pages
from cloud.devices.hours import HOURS_MAX, Tolerance
from cloud.operators.roles import Role
from tests.cloud.conftest import Clock, Staff
from tests.cloud.devices.fleet import register

SITES = {"kiosk-1": "Veternik", "kiosk-2": "Veternik", "kiosk-3": "Objekti 1/2"}
PAST = 30


@pytest.fixture
def app(sessions: sessionmaker[Session], clock: Clock, pages_app: Callable[..., FastAPI]) -> FastAPI:
    register(sessions, clock.at, SITES)
    with sessions.begin() as session:
        for _ in range(PAST):
            ended = {"over_at": clock.at, "closed_at": clock.at}
            session.add(IncidentRow(site="Ulpiana", state="closed", opened_at=clock.at, **ended))
        session.flush()
        going_on = IncidentRow(site="Veternik", state="open", opened_at=clock.at - timedelta(minutes=7))
        session.add(going_on)
        session.flush()
        for device in ("kiosk-1", "kiosk-2"):
            session.add(IncidentMember(incident=going_on.id, device=device, gone_at=clock.at, times=1))
    return pages_app(incident_pages.router(sessions, Tolerance()), incident_api.router(sessions))


@pytest.fixture
def staff(app: FastAPI, sign_in: Callable[..., Staff]) -> Staff:
    return sign_in(app)


def audited(sessions: sessionmaker[Session]) -> list[tuple[str, str]]:
    with sessions() as session:
        return [(each.action, each.subject) for each in session.scalars(sa.select(AuditEntry))]


def test_what_goes_on_stands_before_what_is_over_and_the_past_has_pages(staff: Staff) -> None:
    page = staff.client.get("/incidents").text
    assert page.index("2 devices are away") < page.index("Past incidents")
    assert page.count("Ulpiana") == 25
    older = re.search(r'href="(/incidents\?before=\d+)"', page)
    assert older is not None
    second = staff.client.get(older[1]).text
    assert (second.count("Ulpiana"), "2 devices are away" in second) == (PAST - 25, False)
    assert staff.client.get("/incidents/live").text.count("Ulpiana") == 25


def test_an_incident_shows_its_devices_and_what_to_do(staff: Staff) -> None:
    number = staff.client.get("/api/v1/incidents").json()["incidents"][0]["number"]
    page = staff.client.get(f"/incidents/{number}").text
    for words in ("kiosk-1", "kiosk-2", "Several devices at once", "Going on"):
        assert words in page
    assert staff.client.get("/incidents/999999").status_code == 404
    assert staff.client.get("/incidents/99999999999999999999999").status_code == 404


def test_somebody_acknowledges_with_a_note_and_it_is_audited(
    staff: Staff, sessions: sessionmaker[Session]
) -> None:
    number = staff.client.get("/api/v1/incidents").json()["incidents"][0]["number"]
    form = {"csrf": staff.csrf, "note": "  The <b>fuse</b> again; the caretaker is on the way.  "}
    assert staff.client.post(f"/incidents/{number}/acknowledge", data=form).status_code == 303
    page = staff.client.get(f"/incidents/{number}").text
    assert "ana has seen it" in page
    assert "The &lt;b&gt;fuse&lt;/b&gt; again" in page
    assert audited(sessions) == [("acknowledge-incident", str(number))]
    with sessions() as session:
        entry = session.scalars(sa.select(AuditEntry)).one()
        assert "fuse" not in str(entry.details), "what people write stays with the incident"
    form["note"] = "x" * (NOTE_LENGTH_MAX + 1)
    assert staff.client.post(f"/incidents/{number}/acknowledge", data=form).status_code == 400
    nobody = {"csrf": staff.csrf, "note": ""}
    assert staff.client.post("/incidents/999999/acknowledge", data=nobody).status_code == 409


def test_programs_read_by_cursor_and_acknowledge(staff: Staff) -> None:
    first = staff.client.get("/api/v1/incidents?limit=20").json()
    rest = staff.client.get(f"/api/v1/incidents?limit=20&cursor={first['next']}").json()
    assert (len(first["incidents"]), len(rest["incidents"]), rest["next"]) == (20, PAST + 1 - 20, None)
    one = first["incidents"][0]
    assert [member["device"] for member in one["members"]] == ["kiosk-1", "kiosk-2"]
    path = f"/api/v1/incidents/{one['number']}/acknowledgement"
    seen = staff.client.put(path, json={"note": "on the way"}, headers=staff.headers).json()
    assert (seen["acknowledged_by"], seen["note"]) == ("ana", "on the way")
    missing = "/api/v1/incidents/999999"
    assert staff.client.get(missing).status_code == 404
    assert staff.client.put(f"{missing}/acknowledgement", json={}, headers=staff.headers).status_code == 404


def test_hours_are_added_and_removed_on_the_page(staff: Staff, sessions: sessionmaker[Session]) -> None:
    assert "every device that is off is an incident" in staff.client.get("/expected-off").text
    form = {"csrf": staff.csrf, "place": "site:Objekti 1/2", "begins": "17:00", "ends": "07:30"}
    days = {"days": ["monday", "friday"]}
    assert staff.client.post("/expected-off", data=form | days).status_code == 303
    page = staff.client.get("/expected-off").text
    assert page.count("on the next day") == 2 + 1
    gone = form | {"day": "monday"}
    assert staff.client.post("/expected-off/remove", data=gone).status_code == 303
    plans = staff.client.get("/api/v1/expected-off").json()["plans"]
    assert [each["stretches"] for each in plans] == [[{"day": "friday", "begins": "17:00", "ends": "07:30"}]]
    assert audited(sessions) == [("set-expected-off", "Objekti 1/2")] * 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"days": []}, 400),
        ({"days": ["someday"]}, 400),
        ({"begins": "25:00"}, 400),
        ({"place": "city:Prishtina"}, 400),
        ({"place": "site:Nowhere"}, 409),
        ({"place": "device:kiosk-99"}, 409),
        ({"days": ["monday"] * 8}, 422),
    ],
)
def test_hours_that_are_none_are_refused(staff: Staff, change: dict[str, object], status: int) -> None:
    form = {"csrf": staff.csrf, "place": "site:Veternik", "begins": "17:00", "ends": "07:30"}
    answer = staff.client.post("/expected-off", data=form | {"days": ["monday"]} | change)
    assert answer.status_code == status
    assert staff.client.get("/api/v1/expected-off").json()["plans"] == []


def test_programs_set_the_whole_plan(staff: Staff, sessions: sessionmaker[Session]) -> None:
    week = [{"day": "sunday", "begins": "00:00", "ends": "00:00"}]
    where = "/api/v1/expected-off/site?name=Objekti%201/2"
    for _ in range(2):
        plan = staff.client.put(where, json={"stretches": week}, headers=staff.headers).json()
        assert plan == {"scope": "site", "name": "Objekti 1/2", "stretches": week}
    assert staff.client.get(where).json() == plan
    assert audited(sessions) == [("set-expected-off", "Objekti 1/2")], "the same again is no change"
    assert staff.client.put(where, json={"stretches": []}, headers=staff.headers).json()["stretches"] == []
    assert staff.client.get("/api/v1/expected-off/device?name=nobody").status_code == 404
    many = {"stretches": week * (HOURS_MAX + 1)}
    assert staff.client.put(where, json=many, headers=staff.headers).status_code == 422


def test_clerks_of_the_assembly_see_none_of_it(app: FastAPI, sign_in: Callable[..., Staff]) -> None:
    clerk = sign_in(app, "clara", Role.CLERK)
    for path in ("/incidents", "/expected-off", "/api/v1/incidents", "/api/v1/expected-off"):
        assert clerk.client.get(path).status_code == 403
