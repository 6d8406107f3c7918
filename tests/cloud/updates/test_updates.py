"""Assigning, news, cancelling: through the pages and the API that staff use."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from cloud.database.models.jobs import Job
from cloud.database.models.operators import AuditEntry
from cloud.devices import groups
from cloud.errors import MalformedError, RefusedError, SettingsError, UnavailableError
from cloud.jobs.sweep import Sweep
from cloud.operators.access import Actor
from cloud.updates import api, core, pages, tuf_files
from cloud.updates.catalogue import Catalogue
from contract.updates import UPDATE, UpdateNews
from tests.cloud.updates.conftest import AGENT, BOARD, OLDER, Plane


@pytest.fixture
def staff(plane: Plane, pages_app, sign_in):  # type: ignore[no-untyped-def]
    return sign_in(pages_app(pages.router(plane.updates), api.router(plane.updates)))


def assigned(staff, path: str = AGENT, target: str = "kiosk-01", **more: str) -> str:  # type: ignore[no-untyped-def]
    form = {"csrf": staff.csrf, "key": "k-1", "path": path, "target": target, **more}
    answer = staff.client.post("/updates", data=form)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"].rsplit("/", 1)[1])


def standing(staff, update: str, device: str = "kiosk-01") -> dict[str, object]:  # type: ignore[no-untyped-def]
    told = staff.client.get(f"/api/v1/updates/{update}").json()
    return next(each for each in told["assignments"] if each["device"] == device)


def test_the_page_lists_what_is_published_the_newest_first(staff) -> None:  # type: ignore[no-untyped-def]
    page = staff.client.get("/updates").text
    assert page.index("Agent 0.10.0") < page.index("Agent 0.9.0")
    assert "Firmware of the I/O board 1.3.0" in page
    told = staff.client.get("/api/v1/update-targets").json()["targets"]
    assert {each["path"] for each in told} == {AGENT, OLDER, BOARD}
    assert [each["size"] for each in told] == [len(path) * 100 for path in (AGENT, OLDER, BOARD)]


def test_an_assignment_is_a_job_an_audit_entry_and_a_row_for_each_device(staff, plane: Plane) -> None:  # type: ignore[no-untyped-def]
    update = assigned(staff, target="kiosk")
    with plane.sessions() as session:
        job = session.scalars(sa.select(Job)).one()
        audit = session.scalars(sa.select(AuditEntry)).one()
    assert job.document == {
        "operation": "apply-update",
        "update": update,
        "component": "agent",
        "path": AGENT,
        "version": "0.10.0",
        "downgrade": False,
    }
    assert (audit.actor, audit.action, audit.subject) == ("ana", "assign-update", update)
    told = staff.client.get(f"/api/v1/updates/{update}").json()
    assert told["counts"] == {"assigned": 2}
    assert assigned(staff, target="kiosk") == update, "the same key is the same roll-out"


@pytest.mark.parametrize(
    ("path", "target", "devices"),
    [(AGENT, "all", 3), (AGENT, "recorder", 1), (BOARD, "all", 2), (BOARD, "kiosk-02", 1)],
)
def test_a_target_goes_to_those_who_have_the_part(  # type: ignore[no-untyped-def]
    staff, path: str, target: str, devices: int
) -> None:
    told = staff.client.get(f"/api/v1/updates/{assigned(staff, path, target)}").json()
    assert len(told["assignments"]) == devices


@pytest.mark.parametrize(
    ("path", "target"),
    [("agent/none.zip", "all"), (AGENT, "kiosk-99"), (BOARD, "hall-01"), (BOARD, "recorder")],
)
def test_what_is_not_there_is_refused(staff, path: str, target: str) -> None:  # type: ignore[no-untyped-def]
    answer = staff.client.post(
        "/api/v1/updates",
        json={"path": path, "target": target},
        headers=staff.headers | {"Idempotency-Key": "k"},
    )
    assert answer.status_code == 409
    assert "list" in answer.json()["detail"]


def test_the_highest_revision_counts_however_late_the_others_come(staff, plane: Plane) -> None:  # type: ignore[no-untyped-def]
    update = assigned(staff)
    plane.news(update, "kiosk-01", revision=5, state="trial")
    plane.news(update, "kiosk-01", revision=3, state="staged")
    assert standing(staff, update)["state"] == "trial"
    plane.news(
        update, "kiosk-01", revision=6, state="rolled_back", code="self-test-failed", detail="no printer"
    )
    page = staff.client.get(f"/updates/{update}/live").text
    assert "Rolled back" in page
    assert "self-test failed, so the version before runs again" in page
    assert '<span class="muted" lang="en">no printer</span>' in page


def test_a_code_of_a_newer_agent_is_shown_as_it_is(staff, plane: Plane) -> None:  # type: ignore[no-untyped-def]
    update = assigned(staff)
    plane.news(update, "kiosk-01", state="failed", code="eaten-by-a-dog")
    assert "eaten-by-a-dog" in staff.client.get(f"/updates/{update}").text


def test_the_page_speaks_the_readers_language(staff, plane: Plane) -> None:  # type: ignore[no-untyped-def]
    update = assigned(staff)
    plane.news(update, "kiosk-01", state="failed", code="metadata-expired")
    for language, said in (("sq", "kanë skaduar"), ("sr-Cyrl", "су истекли"), ("sr-Latn", "su istekli")):
        page = staff.client.get(f"/updates/{update}", headers={"Accept-Language": language}).text
        assert said in page, language


@pytest.mark.parametrize(
    "said",
    [
        {"state": "eaten"},
        {"revision": 0},
        {"revision": 2**40},
        {"attempt": -1},
        {"detail": "x" * 301},
        {"topic": "up-0"},
    ],
)
def test_news_that_makes_no_sense_is_malformed(staff, plane: Plane, said: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    update = assigned(staff)
    with pytest.raises(MalformedError):
        plane.news(update, "kiosk-01", **said)
    assert standing(staff, update)["state"] == "assigned"


def test_news_of_a_device_that_was_not_assigned_is_refused(staff, plane: Plane) -> None:  # type: ignore[no-untyped-def]
    update = assigned(staff)
    with pytest.raises(RefusedError):
        plane.news(update, "kiosk-02")
    with pytest.raises(RefusedError):
        plane.news("up-nothing", "kiosk-01")


def test_cancelling_takes_back_what_has_not_been_activated(staff, plane: Plane) -> None:  # type: ignore[no-untyped-def]
    update = assigned(staff, target="kiosk")
    plane.news(update, "kiosk-01", state="trial", revision=6)
    answer = staff.client.post(f"/updates/{update}/cancel", data={"csrf": staff.csrf})
    assert answer.status_code == 303
    assert standing(staff, update, "kiosk-01")["state"] == "trial"
    told = standing(staff, update, "kiosk-02")
    assert (told["state"], told["code"]) == ("failed", "cancelled")
    with plane.sessions() as session:
        documents = [job.document for job in session.scalars(sa.select(Job).order_by(Job.id))]
    assert documents[1] == {"operation": "cancel-update", "update": update}
    assert "Cancelled." in staff.client.get(f"/updates/{update}").text
    assert staff.client.post(f"/updates/{update}/cancel", data={"csrf": staff.csrf}).status_code == 303


def test_what_is_activated_everywhere_cannot_be_cancelled(staff, plane: Plane) -> None:  # type: ignore[no-untyped-def]
    update = assigned(staff)
    plane.news(update, "kiosk-01", state="committed", revision=7)
    answer = staff.client.post(f"/api/v1/updates/{update}/cancel", headers=staff.headers)
    assert answer.status_code == 409


def test_an_assignment_that_nobody_takes_in_time_has_failed(staff, plane: Plane) -> None:  # type: ignore[no-untyped-def]
    update = assigned(staff)
    plane.clock.forward(700)
    Sweep(plane.sessions, plane.jobs)(plane.clock.at)
    told = standing(staff, update)
    assert (told["state"], told["code"]) == ("failed", "not-taken")
    plane.news(update, "kiosk-01", revision=1, state="downloading")
    assert standing(staff, update)["state"] == "downloading", "the device's own word counts more"


def test_a_roll_out_goes_to_a_group_at_a_rate_and_a_cancel_tells_everybody(staff, plane: Plane) -> None:  # type: ignore[no-untyped-def]
    with plane.sessions.begin() as session:
        by_hand = ["kiosk-01", "kiosk-02"]
        groups.create(session, Actor("ana", plane.clock.at), "two", "Two of them", None, by_hand)
    assert "Two of them" in staff.client.get("/updates").text
    update = assigned(staff, target="group:two", per_minute="1")
    assert 'href="/groups/two"' in staff.client.get(f"/updates/{update}").text
    sweep = Sweep(plane.sessions, plane.jobs)
    sweep(plane.clock.at)
    with plane.sessions() as session:
        assert plane.jobs.waiting(session, "kiosk-01") == [f"apply-{update}"]
        assert plane.jobs.waiting(session, "kiosk-02") == []
    staff.client.post(f"/updates/{update}/cancel", data={"csrf": staff.csrf})
    sweep(plane.clock.at)
    for device in by_hand:
        told = standing(staff, update, device)
        assert (told["state"], told["code"]) == ("failed", "cancelled")
    form = {"csrf": staff.csrf, "key": "k-2", "path": AGENT, "target": "group:none"}
    assert staff.client.post("/updates", data=form).status_code == 409


def test_unknown_roll_outs_are_not_found(staff) -> None:  # type: ignore[no-untyped-def]
    assert staff.client.get("/updates/up-1").status_code == 404
    assert staff.client.get("/api/v1/updates/up-1").status_code == 404


def test_lists_are_paged(staff) -> None:  # type: ignore[no-untyped-def]
    made = [assigned(staff, key=f"k-{number}") for number in range(3)]
    first = staff.client.get("/api/v1/updates?limit=2").json()
    assert [each["update"] for each in first["updates"]] == made[:0:-1]
    second = staff.client.get(f"/api/v1/updates?limit=2&cursor={first['next']}").json()
    assert [each["update"] for each in second["updates"]] == made[:1]
    assert second["next"] is None


def test_a_damaged_repository_is_said_and_nothing_else_suffers(staff, plane: Plane) -> None:  # type: ignore[no-untyped-def]
    update = assigned(staff)
    (plane.repository / "metadata" / "1.agent.json").write_bytes(b"{}")
    assert "cannot be read" in staff.client.get("/updates").text
    assert staff.client.get("/api/v1/update-targets").status_code == 503
    assert staff.client.get(f"/updates/{update}").status_code == 200


def test_without_a_repository_the_page_says_what_to_do(plane: Plane, pages_app, sign_in) -> None:  # type: ignore[no-untyped-def]
    plane.updates.catalogue = Catalogue(None, None)
    staff = sign_in(pages_app(pages.router(plane.updates)))
    assert "Nothing is published yet" in staff.client.get("/updates").text
    assert plane.updates.catalogue.renew_timestamp(plane.clock.at) is None


# The repository's files.


def test_devices_get_the_files_and_nothing_beside_them(plane: Plane, device_app) -> None:  # type: ignore[no-untyped-def]
    client = TestClient(device_app(tuf_files.router(plane.catalogue), device="kiosk-01"))
    stamp = client.get("/tuf/metadata/timestamp.json")
    assert (stamp.status_code, stamp.headers["cache-control"]) == (200, "no-cache")
    root = client.get("/tuf/metadata/1.root.json")
    assert root.content == (plane.repository / "metadata" / "1.root.json").read_bytes()
    assert "immutable" in root.headers["cache-control"]
    (stored,) = (plane.repository / "targets" / "firmware").iterdir()
    whole = client.get(f"/tuf/targets/firmware/{stored.name}")
    assert whole.content == stored.read_bytes()
    part = client.get(f"/tuf/targets/firmware/{stored.name}", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, stored.read_bytes()[5:10])


@pytest.mark.parametrize(
    "path",
    [
        "/tuf/metadata/2.root.json",
        "/tuf/metadata/.lock",
        "/tuf/metadata/..%2F..%2Fkeys%2Froot-1.pem",
        "/tuf/metadata/root.json",
        "/tuf/targets/agent/..%2F..%2Fmetadata%2Ftimestamp.json",
        "/tuf/targets/metadata/timestamp.json",
        "/tuf/targets/keys/root-1.pem",
    ],
)
def test_no_path_leads_out_of_the_repository(plane: Plane, device_app, path: str) -> None:  # type: ignore[no-untyped-def]
    (plane.repository / "metadata" / ".lock").touch()
    client = TestClient(device_app(tuf_files.router(plane.catalogue), device="kiosk-01"))
    assert client.get(path).status_code == 404


def test_a_link_in_the_repository_is_not_followed(plane: Plane, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (plane.repository / "metadata" / "9.root.json").symlink_to(secret)
    assert plane.catalogue.metadata_file("9.root.json") is None


def test_the_timestamp_is_renewed_before_it_ends_and_not_sooner(plane: Plane) -> None:
    at = plane.clock.at
    assert plane.catalogue.renew_timestamp(at + timedelta(days=2)) is None
    expires = plane.catalogue.renew_timestamp(at + timedelta(days=4))
    assert expires == at + timedelta(days=11)
    assert plane.catalogue.renew_timestamp(at + timedelta(days=4)) is None
    assert len(plane.catalogue.targets()) == 3


def test_a_timestamp_key_that_others_can_read_is_not_used(plane: Plane, tmp_path: Path) -> None:
    key = tmp_path / "keys" / "timestamp-1.pem"
    key.chmod(0o644)
    with pytest.raises(SettingsError, match="0600"):
        plane.catalogue.renew_timestamp(plane.clock.at + timedelta(days=5))
    key.chmod(0o600)
    key.write_text("no key")
    with pytest.raises(SettingsError, match="timestamp's key"):
        plane.catalogue.renew_timestamp(plane.clock.at + timedelta(days=5))
    (plane.repository / "metadata" / "timestamp.json").write_text("{}")
    with pytest.raises(UnavailableError):
        plane.catalogue.renew_timestamp(plane.clock.at)


# The decision alone.


def test_no_order_of_arrival_changes_where_an_update_stands() -> None:
    news = [
        UpdateNews(update="u", component="agent", version="1", revision=number + 1, state=state)  # type: ignore[arg-type]
        for number, state in enumerate(UPDATE.states)
    ]
    for turn in range(len(news)):
        known = core.BEGIN
        for one in [*news[turn:], *news[:turn]]:
            known = core.take(known, one)
        assert (known.revision, known.state) == (len(news), news[-1].state)
