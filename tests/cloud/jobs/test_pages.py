"""Operators order jobs and watch them; each change is in the audit; programs do the same by JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from cloud.database.models.devices import Device
from cloud.database.models.operators import AuditEntry
from cloud.devices import groups
from cloud.jobs import api, pages
from cloud.jobs.diagnostics import BYTES_MAX, KEPT_MAX, Bundles
from cloud.jobs.orders import Groups
from cloud.operators.access import Actor
from tests.cloud.conftest import Staff
from tests.cloud.jobs.conftest import Fleet

GROUPS = Groups(groups.names, groups.members)


@pytest.fixture
def bundles(fleet: Fleet, tmp_path: Path) -> Bundles:
    numbers = iter(range(1, 1000))
    return Bundles(
        tmp_path / "objects",
        fleet.sessions,
        fleet.clock,
        lambda: f"00000000-0000-7000-8000-{next(numbers):012}",
    )


@pytest.fixture
def app(fleet: Fleet, bundles: Bundles, pages_app: Callable[..., FastAPI]) -> FastAPI:
    return pages_app(
        pages.router(fleet.sessions, fleet.jobs, GROUPS),
        api.router(fleet.sessions, fleet.jobs, GROUPS, bundles),
    )


@pytest.fixture
def staff(app: FastAPI, sign_in: Callable[..., Staff]) -> Staff:
    return sign_in(app)


def audited(fleet: Fleet) -> list[tuple[str, str, str]]:
    with fleet.sessions() as session:
        rows = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id))
        return [(row.actor, row.action, row.details.get("operation", "")) for row in rows]


def order(
    staff: Staff, operation: str = "restart-agent", target: str = "all", key: str = "k1", **more: str
) -> str:
    form = {"csrf": staff.csrf, "operation": operation, "target": target, "key": key, **more}
    answer = staff.client.post("/jobs", data=form)
    assert answer.status_code == 303
    return answer.headers["location"]


def test_a_job_on_all_devices_is_ordered_watched_and_cancelled(staff: Staff, fleet: Fleet) -> None:
    address = order(staff)
    fleet.ask("kiosk-01", "job-start-next")
    page = staff.client.get(address).text
    assert "Restart the agent" in page
    assert page.count("Waiting") >= 2
    assert "In progress" in page
    fleet.ask("kiosk-01", "job-update", {"status": "SUCCEEDED"}, job=address.removeprefix("/jobs/"))
    assert "Succeeded" in staff.client.get(f"{address}/live").text
    assert staff.client.post(f"{address}/cancel", data={"csrf": staff.csrf}).status_code == 303
    page = staff.client.get(address).text
    assert "Cancel what has not begun" not in page
    assert [entry[1:] for entry in audited(fleet)] == [
        ("create-job", "restart-agent"),
        ("cancel-job", ""),
    ]


def test_the_button_pressed_twice_orders_once(staff: Staff, fleet: Fleet) -> None:
    assert order(staff) == order(staff)
    assert len(audited(fleet)) == 1
    assert order(staff, key="k2") != order(staff)


def test_one_device_is_chosen_and_a_foreign_one_refused(staff: Staff, fleet: Fleet) -> None:
    address = order(staff, "collect-diagnostics", "kiosk-02")
    page = staff.client.get(address).text
    assert "kiosk-02" in page
    assert "kiosk-01" not in page
    form = {"csrf": staff.csrf, "operation": "restart-agent", "target": "ghost-01", "key": "k9"}
    assert staff.client.post("/jobs", data=form).status_code == 409
    form |= {"operation": "print-document", "target": "all"}
    assert staff.client.post("/jobs", data=form).status_code == 400
    assert len(audited(fleet)) == 1


def test_a_way_of_the_control_plane_cancels_its_own_jobs(staff: Staff, fleet: Fleet) -> None:
    fleet.create("print-1", "kiosk-01")
    page = staff.client.get("/jobs/print-1")
    assert page.status_code == 200
    assert "the control plane" in page.text
    assert "Cancel what has not begun" not in page.text
    assert staff.client.post("/jobs/print-1/cancel", data={"csrf": staff.csrf}).status_code == 409


def test_the_list_has_pages(staff: Staff, fleet: Fleet) -> None:
    assert "No job has been ordered yet" in staff.client.get("/jobs").text
    for number in range(pages.LISTED + 1):
        order(staff, "collect-diagnostics", "kiosk-01", f"k{number}")
    first = staff.client.get("/jobs").text
    assert "Older" in first
    assert staff.client.get("/jobs/live").text.count("<tr>") == pages.LISTED + 1
    assert staff.client.get("/jobs?before=2").text.count("/jobs/op-") == 1
    assert staff.client.get("/jobs/none-such").status_code == 404
    assert staff.client.get("/jobs/none-such/live").status_code == 404


@pytest.mark.parametrize("lang", ["sq", "sr-Latn", "sr-Cyrl"])
def test_the_pages_speak_every_language(staff: Staff, lang: str) -> None:
    address = order(staff)
    staff.client.cookies.set("language", lang)
    wanted = {"sq": "Rinis agjentin", "sr-Latn": "Ponovo pokreni agent", "sr-Cyrl": "Поново покрени агент"}
    for page in ("/jobs", address):
        text = staff.client.get(page).text
        assert wanted[lang] in text
        assert "Restart" not in text


def test_programs_do_the_same_by_json(staff: Staff, fleet: Fleet) -> None:
    body = {"operation": "collect-diagnostics", "targets": ["kiosk-01", "recorder-01"]}
    assert staff.client.post("/api/v1/jobs", json=body, headers=staff.headers).status_code == 422
    headers = staff.headers | {"Idempotency-Key": "one"}
    made = staff.client.post("/api/v1/jobs", json=body, headers=headers)
    assert made.status_code == 201
    job = made.json()["job"]
    assert made.json()["devices"] == {"QUEUED": 2}
    assert staff.client.post("/api/v1/jobs", json=body, headers=headers).json()["job"] == job
    other = staff.client.post("/api/v1/jobs", json=body | {"operation": "restart-agent"}, headers=headers)
    assert (other.status_code, other.headers["content-type"]) == (409, "application/problem+json")
    assert [each["device"] for each in staff.client.get(f"/api/v1/jobs/{job}").json()["executions"]] == [
        "kiosk-01",
        "recorder-01",
    ]
    cancelled = staff.client.post(f"/api/v1/jobs/{job}/cancel", headers=staff.headers)
    assert cancelled.json()["devices"] == {"CANCELED": 2}
    assert staff.client.get("/api/v1/jobs/none").status_code == 404
    order(staff)
    listed = staff.client.get("/api/v1/jobs?limit=1").json()
    assert len(listed["jobs"]) == 1
    assert staff.client.get(f"/api/v1/jobs?cursor={listed['next']}").json()["jobs"][0]["job"] == job


def group(fleet: Fleet, name: str, query: str) -> None:
    with fleet.sessions.begin() as session:
        groups.create(session, Actor("ana", fleet.clock.at), name, "The kiosks", query, [])


def test_a_job_for_a_group_is_for_those_who_are_in_it_now(staff: Staff, fleet: Fleet) -> None:
    group(fleet, "kiosks", "kind:kiosk")
    assert "The kiosks" in staff.client.get("/jobs").text
    address = order(staff, target="group:kiosks")
    with fleet.sessions.begin() as session:
        session.add(Device(device="kiosk-03", kind="kiosk", site="x", registered_at=fleet.clock.at))
    page = staff.client.get(address).text
    assert page.count("Waiting") >= 2
    assert "recorder-01" not in page
    assert "kiosk-03" not in page
    assert 'href="/groups/kiosks"' in page
    form = {"csrf": staff.csrf, "operation": "restart-agent", "target": "group:none", "key": "k7"}
    assert staff.client.post("/jobs", data=form).status_code == 409
    group(fleet, "empty", "kind:boat")
    assert staff.client.post("/jobs", data=form | {"target": "group:empty"}).status_code == 409


def test_a_job_is_shown_at_the_rate_that_was_asked_for(staff: Staff, fleet: Fleet) -> None:
    address = order(staff, per_minute="1", queued_minutes="90", in_progress_minutes="7", retries="2")
    page = staff.client.get(address).text
    assert "Not begun yet" in page
    assert "No device has seen it yet." in page
    assert "90 minutes" in page
    assert "7 minutes" in page
    fleet.sweep(fleet.clock.at)
    page = staff.client.get(f"{address}/live").text
    assert "Under way" in page
    assert "Not its turn yet" in page
    assert "kiosk-01" in page
    assert "kiosk-02" not in page
    for wrong in ({"per_minute": "fast"}, {"per_minute": "0"}, {"retries": "11"}, {"queued_minutes": "0"}):
        form = {"csrf": staff.csrf, "operation": "restart-agent", "target": "all", "key": "k9"}
        assert staff.client.post("/jobs", data=form | wrong).status_code == 400


def test_what_has_begun_is_cancelled_by_a_second_word(staff: Staff, fleet: Fleet) -> None:
    address = order(staff, target="kiosk-01")
    fleet.ask("kiosk-01", "job-start-next")
    staff.client.post(f"{address}/cancel", data={"csrf": staff.csrf})
    page = staff.client.get(address).text
    assert "In progress" in page
    assert "Cancel what has not begun" not in page
    assert "Delete the job" not in page
    staff.client.post(f"{address}/cancel", data={"csrf": staff.csrf, "force": "true"})
    job = address.removeprefix("/jobs/")
    done = {"status": "SUCCEEDED", "executionNumber": 1, "statusDetails": {"restarted": "true"}}
    fleet.ask("kiosk-01", "job-update", done, job=job)
    page = staff.client.get(address).text
    assert "The device reported afterwards: Succeeded" in " ".join(page.split()).replace("</span>", "")
    assert staff.client.post(f"{address}/delete", data={"csrf": staff.csrf}).headers["location"] == "/jobs"
    fleet.sweep(fleet.clock.at)
    assert staff.client.get(address).status_code == 404
    assert [entry[1] for entry in audited(fleet)] == ["create-job", "cancel-job", "cancel-job", "delete-job"]


def test_the_devices_of_a_job_have_pages(staff: Staff, fleet: Fleet) -> None:
    with fleet.sessions.begin() as session:
        for number in range(pages.EXECUTIONS_LISTED):
            session.add(Device(device=f"a-{number:03}", kind="kiosk", site="x", registered_at=fleet.clock.at))
    address = order(staff)
    first = staff.client.get(address).text
    assert f"{address}?after=a-099" in first
    assert "kiosk-01" not in first
    assert "kiosk-01" in staff.client.get(f"{address}?after=a-099").text
    job = address.removeprefix("/jobs/")
    told = staff.client.get(f"/api/v1/jobs/{job}").json()
    assert (len(told["executions"]), told["next"]) == (100, "a-099")
    rest = staff.client.get(f"/api/v1/jobs/{job}/executions?cursor=a-099").json()
    assert ([each["device"] for each in rest["executions"]], rest["next"]) == (
        ["kiosk-01", "kiosk-02", "recorder-01"],
        None,
    )


def test_programs_order_at_a_rate_for_groups_cancel_and_delete(staff: Staff, fleet: Fleet) -> None:
    group(fleet, "kiosks", "kind:kiosk")
    body = {
        "operation": "restart-agent",
        "targets": ["group:kiosks", "recorder-01"],
        "maximum_per_minute": 1,
        "retries": 3,
        "in_progress_minutes": 10,
    }
    headers = staff.headers | {"Idempotency-Key": "one"}
    made = staff.client.post("/api/v1/jobs", json=body, headers=headers).json()
    job = made["job"]
    assert (made["state"], made["targets"], made["waiting"], made["devices"]) == ("SCHEDULED", 3, 3, {})
    assert made["targets_asked"] == ["group:kiosks", "recorder-01"]
    assert (made["maximum_per_minute"], made["retries"], made["in_progress_timeout_s"]) == (1, 3, 600)
    assert staff.client.post("/api/v1/jobs", json=body, headers=headers).json()["job"] == job
    for other in ({"retries": 2}, {"targets": ["kiosk-01"]}, {"maximum_per_minute": None}):
        refused = staff.client.post("/api/v1/jobs", json=body | other, headers=headers)
        assert refused.status_code == 409, "the key stands for another order"
    for wrong in ({"maximum_per_minute": 1001}, {"retries": 11}, {"in_progress_minutes": 0}):
        assert staff.client.post("/api/v1/jobs", json=body | wrong, headers=headers).status_code == 422
    fleet.sweep(fleet.clock.at)
    fleet.ask("kiosk-01", "job-start-next")
    listed = staff.client.get("/api/v1/jobs?state=IN_PROGRESS").json()["jobs"]
    assert [each["job"] for each in listed] == [job]
    assert staff.client.get("/api/v1/jobs?state=COMPLETED").json()["jobs"] == []
    plain = staff.client.post(f"/api/v1/jobs/{job}/cancel", headers=staff.headers).json()
    assert (plain["state"], plain["devices"]) == ("CANCELED", {"IN_PROGRESS": 1, "CANCELED": 2})
    running = staff.client.get(f"/api/v1/jobs/{job}/executions?status=IN_PROGRESS").json()
    assert [each["device"] for each in running["executions"]] == ["kiosk-01"]
    assert staff.client.delete(f"/api/v1/jobs/{job}", headers=staff.headers).status_code == 409
    forced = staff.client.post(f"/api/v1/jobs/{job}/cancel?force=true", headers=staff.headers).json()
    assert forced["devices"] == {"CANCELED": 3}
    gone = staff.client.delete(f"/api/v1/jobs/{job}", headers=staff.headers)
    assert (gone.status_code, gone.json()["state"]) == (202, "DELETION_IN_PROGRESS")
    fleet.sweep(fleet.clock.at)
    assert staff.client.get(f"/api/v1/jobs/{job}").status_code == 404
    assert staff.client.get(f"/api/v1/jobs/{job}/executions").status_code == 404


def test_strangers_see_nothing(app: FastAPI) -> None:
    stranger = TestClient(app, follow_redirects=False)
    assert stranger.get("/jobs").status_code == 303
    assert stranger.get("/api/v1/jobs").status_code == 401
    assert stranger.get("/api/v1/diagnostics/x").status_code == 401


def device(device_app: Callable[..., FastAPI], router: APIRouter, name: str) -> TestClient:
    return TestClient(device_app(router, device=name))


def test_a_bundle_is_handed_in_and_downloaded(
    staff: Staff, bundles: Bundles, device_app: Callable[..., FastAPI]
) -> None:
    kiosk = device(device_app, api.device_router(bundles), "kiosk-01")
    answer = kiosk.post("/api/v1/diagnostics", content=b'{"job": "op-1", "cpus": 2}')
    assert answer.status_code == 201
    again = kiosk.post("/api/v1/diagnostics", content=b'{"job": "op-1", "cpus": 4}')
    assert again.json() == answer.json()
    got = staff.client.get(f"/api/v1/diagnostics/{answer.json()['id']}")
    assert got.json() == {"job": "op-1", "cpus": 4}
    assert "attachment" in got.headers["content-disposition"]
    assert staff.client.get("/api/v1/diagnostics/..%2f..%2fsecret").status_code == 404


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff", b'{"job": 7}'])
def test_what_is_no_bundle_is_refused(
    bundles: Bundles, device_app: Callable[..., FastAPI], body: bytes
) -> None:
    kiosk = device(device_app, api.device_router(bundles), "kiosk-01")
    answer = kiosk.post("/api/v1/diagnostics", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


def test_a_bundle_has_a_bound_and_the_oldest_goes(bundles: Bundles, fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="262144"):
        bundles.receive("kiosk-01", b" " * (BYTES_MAX + 1))
    for number in range(KEPT_MAX + 3):
        fleet.clock.forward(1)
        bundles.receive("kiosk-01", json.dumps({"job": f"job-{number}"}).encode())
    assert len(list((tmp_path / "objects").iterdir())) == KEPT_MAX
    assert json.loads(bundles.path("00000000-0000-7000-8000-000000000023").read_bytes())["job"] == "job-22"


@pytest.mark.parametrize("address", ["/jobs?before={}", "/jobs/live?before={}", "/api/v1/jobs?cursor={}"])
def test_a_cursor_that_no_database_takes_is_refused(staff: Staff, address: str) -> None:
    for number in (0, 2**63, 10**30):
        assert staff.client.get(address.format(number)).status_code == 422
    assert staff.client.get(address.format(2**63 - 1)).status_code == 200
