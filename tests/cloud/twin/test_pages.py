"""Settings of a device on its page and by JSON."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cloud.devices import pages as device_pages
from cloud.operators.roles import Role
from cloud.twin import api, pages
from tests.cloud.conftest import Staff
from tests.cloud.twin.conftest import Fleet

FORM = "/devices/kiosk-01/settings"
TWIN = "/api/v1/devices/kiosk-01/twin"


@pytest.fixture
def app(fleet: Fleet, pages_app: Callable[..., FastAPI]) -> FastAPI:
    section = lambda request, device: pages.device_section(fleet.twins, request, device)  # noqa: E731
    return pages_app(
        device_pages.router(fleet.sessions, [section]),
        pages.router(fleet.sessions, fleet.twins),
        api.router(fleet.sessions, fleet.twins),
    )


@pytest.fixture
def staff(app: FastAPI, sign_in: Callable[..., Staff]) -> Staff:
    return sign_in(app)


def enter(staff: Staff, interval: str, level: str, was: tuple[str, str] = ("", "")):  # type: ignore[no-untyped-def] # httpx's answer
    data = {"csrf": staff.csrf, "entered": [interval, level], "was": list(was)}
    return staff.client.post(FORM, data=data)


def test_the_page_tells_each_setting_in_words(fleet: Fleet, staff: Staff) -> None:
    assert "has not told its settings yet" in staff.client.get("/devices/kiosk-01").text
    fleet.report(
        telemetry={"interval_s": 15},
        log={"level": "info"},
        refused={"telemetry.interval_s": "it is <too> fast"},
    )
    fleet.ask(
        fleet.requests.update,
        {"state": {"desired": {"telemetry": {"interval_s": 5}, "log": {"level": "debug"}, "fan": [1]}}},
    )
    page = staff.client.get("/devices/kiosk-01").text
    for words in (
        "15 s",
        "5 s",
        "Everything, for looking for a fault",
        "the device did not take it",
        "it is &lt;too&gt; fast",
        "not in force yet",
        '<code lang="en">fan</code>',
    ):
        assert words in page, words
    fleet.report(log={"level": "debug"})
    assert "in force</span>" in staff.client.get("/devices/kiosk-01/live").text


def test_values_that_nobody_expects_break_no_page(fleet: Fleet, staff: Staff) -> None:
    values: list[object] = [{"x": {}}, [1], "x" * 4000, True, 1e300, -0.5]
    for value in values:
        fleet.clock.forward(10)
        fleet.ask(
            fleet.requests.update,
            {
                "state": {
                    "desired": {"log": {"level": value}, "telemetry": value},
                    "reported": {"refused": value},
                }
            },
        )
        assert staff.client.get("/devices/kiosk-01").status_code == 200
        assert staff.client.get(FORM).status_code == 200


def test_a_change_is_entered_and_told_to_the_device(fleet: Fleet, staff: Staff) -> None:
    assert staff.client.get(FORM).status_code == 200
    done = enter(staff, "60", "")
    assert (done.status_code, done.headers["location"]) == (303, "/devices/kiosk-01")
    assert fleet.twins.get("kiosk-01").desired == {"telemetry": {"interval_s": 60}}
    assert [name for _, name, _ in fleet.told] == ["twin-documents", "twin-delta"]
    assert 'value="60"' in staff.client.get(FORM).text
    assert enter(staff, "", "error", was=("60", "")).status_code == 303
    assert fleet.twins.get("kiosk-01").desired == {"log": {"level": "error"}}
    version = fleet.twins.get("kiosk-01").version
    assert enter(staff, "", "error", was=("", "error")).status_code == 303
    assert fleet.twins.get("kiosk-01").version == version, "nothing was changed"


@pytest.mark.parametrize(
    ("interval", "level", "said"),
    [
        ("5", "", "Enter a whole number from 10 to 3,600."),
        ("sixty", "", "Enter a whole number"),
        ("60.5", "", "Enter a whole number"),
        ("٦٠", "", "Enter a whole number"),
        ("60", "loud", 'aria-invalid="true"'),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(
    fleet: Fleet, staff: Staff, interval: str, level: str, said: str
) -> None:
    answer = enter(staff, interval, level)
    assert answer.status_code == 422
    assert said in answer.text
    assert f'value="{interval}"' in answer.text, "what was entered is still there"
    assert not fleet.twins.get("kiosk-01").exists


def test_a_change_of_somebody_else_is_shown_and_not_overwritten(fleet: Fleet, staff: Staff) -> None:
    fleet.twins.desire("kiosk-01", {"telemetry": {"interval_s": 120}}, fleet.ana)
    answer = enter(staff, "60", "")
    assert answer.status_code == 409
    assert "Somebody has changed these settings meanwhile." in answer.text
    assert 'value="120"' in answer.text
    fleet.report(a=1)
    assert enter(staff, "60", "", was=("120", "")).status_code == 303, "the device's reports are no conflict"


def test_forms_that_no_page_has_are_refused(staff: Staff) -> None:
    for data in (
        {"entered": ["60"], "was": [""]},
        {"entered": ["60", "", ""], "was": ["", "", ""]},
        {"entered": ["6" * 99, ""], "was": ["", ""]},
        {},
    ):
        assert staff.client.post(FORM, data={"csrf": staff.csrf} | data).status_code in (400, 422)
    assert staff.client.get("/devices/ghost-01/settings").status_code == 404


def test_programs_read_and_change_the_twin(fleet: Fleet, staff: Staff) -> None:
    missing = staff.client.get(TWIN)
    assert (missing.status_code, missing.json()["code"]) == (404, "no-twin")
    fleet.report(telemetry={"interval_s": 15})
    wish = {"state": {"desired": {"telemetry": {"interval_s": 60}}}, "version": 1}
    changed = staff.client.patch(TWIN, json=wish, headers=staff.headers)
    assert changed.status_code == 200
    body = staff.client.get(TWIN).json()
    assert body == changed.json()
    assert (body["version"], body["state"]["delta"]) == (2, {"telemetry": {"interval_s": 60}})
    again = staff.client.patch(TWIN, json=wish, headers=staff.headers)
    assert (again.status_code, again.json()["code"]) == (409, "version-conflict")


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"state": {}},
        {"state": {"desired": {}}},
        {"state": {"desired": {"telemetry": {"interval_s": 5}}}},
        {"state": {"desired": {"fan": 1}}},
        {"state": {"desired": {"log": {"level": "info"}}, "reported": {"a": 1}}},
        {"state": {"desired": {"log": {"level": "info"}}}, "version": -1},
    ],
)
def test_what_programs_may_not_ask_for_is_a_problem(fleet: Fleet, staff: Staff, wish: object) -> None:
    answer = staff.client.patch(TWIN, json=wish, headers=staff.headers)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert not fleet.twins.get("kiosk-01").exists


def test_programs_delete_the_twin_that_they_have_seen(fleet: Fleet, staff: Staff) -> None:
    fleet.report(a=1)
    stale = staff.client.delete(f"{TWIN}?version=7", headers=staff.headers)
    assert (stale.status_code, stale.json()["code"]) == (409, "version-conflict")
    assert staff.client.delete(f"{TWIN}?version=1", headers=staff.headers).status_code == 204
    assert staff.client.delete(TWIN, headers=staff.headers).status_code == 404
    assert staff.client.get("/api/v1/devices/ghost-01/twin").status_code == 404


def test_settings_are_for_those_who_have_the_devices(app: FastAPI, sign_in: Callable[..., Staff]) -> None:
    assert TestClient(app, follow_redirects=False).get(FORM).status_code == 303
    clerk = sign_in(app, "besa", Role.CLERK)
    assert clerk.client.get(FORM).status_code == 403
    assert clerk.client.get(TWIN).status_code == 403
    assert sign_in(app, "dren", Role.OPERATOR).client.get(FORM).status_code == 200
