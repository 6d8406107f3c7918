"""The ledger's pages, its JSON, and its OpenMetrics text, which a real VictoriaMetrics reads."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.link import Sighting
from cloud.devices import pages as device_pages
from cloud.link import api, pages, series
from cloud.link.books import Books
from cloud.operators.roles import Role
from cloud.telemetry.ledger import Ledger
from contract.link import Why
from contract.telemetry import LEDGER_METRICS
from tests.cloud.conftest import Clock, Staff
from tests.cloud.fleet_link import wait_for
from tests.cloud.link.conftest import Register
from tests.cloud.link.test_ledger import come, declare, dropped, measure, sample
from tests.cloud.telemetry.victoria import Victoria


@pytest.fixture
def app(
    books: Books,
    telemetry: Ledger,
    sessions: sessionmaker[Session],
    register: Register,
    clock: Clock,
    pages_app: Callable[..., FastAPI],
) -> FastAPI:
    """One device with gaps, drops and a copy, one that is well, one that has never sent anything."""
    register("kiosk-01", "kiosk-02", "kiosk-03")
    measure(
        telemetry,
        clock.at,
        *(("kiosk-02", sample(seq)) for seq in (1, 4, 5, 7)),
        ("kiosk-02", b"garbage"),
        ("kiosk-02", sample(12, boot="boot-2", kept_from=12)),
        ("kiosk-01", sample(1)),
    )
    with sessions.begin() as session:
        come(session, "kiosk-02", 1, clock.at)
        declare(session, "kiosk-02", clock.at, dropped(1, 9, boot="boot-2", why=Why.DISK))
        session.add(Sighting(device="kiosk-02", seen=[], returns=3, returned_at=clock.at))
    section = partial(pages.device_section, books)
    return pages_app(pages.router(books), api.router(books), device_pages.router(sessions, [section]))


def words(html: str) -> str:
    """What is read, without tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_the_page_says_what_is_missing_first(app: FastAPI, sign_in: Callable[..., Staff]) -> None:
    client = sign_in(app).client
    page = client.get("/ledger").text
    assert "1 device has something that has not come yet" in page
    assert "Two machines use the identity of 1 device" in page
    rows = re.findall(r'<th scope="row"><a href="/devices/([^"]+)"', page)
    assert rows == ["kiosk-02", "kiosk-01", "kiosk-03"]
    assert "11" in words(page)
    assert client.get("/ledger/live").status_code == 200
    assert "kiosk-02" not in client.get("/ledger?after=0.kiosk-02").text.split("<tbody>")[1]
    assert client.get("/ledger?after=nonsense!").status_code == 422


def test_a_devices_page_shows_its_boots_gaps_and_reasons(app: FastAPI, sign_in: Callable[..., Staff]) -> None:
    page = words(sign_in(app).client.get("/devices/kiosk-02").text)
    assert "Two machines use this identity." in page
    assert "9: the device's disk was full" in page.replace("&#39;", "'")
    assert "2 dropped, not declared" in page
    assert "3: 2–3, 6" in page
    assert "1 not in the agreed form" in page
    well = words(sign_in(app, name="bora").client.get("/devices/kiosk-03").text)
    assert "Two machines" not in well
    assert "not known yet" in well


def test_programs_read_the_same(app: FastAPI, sign_in: Callable[..., Staff]) -> None:
    client = sign_in(app).client
    first = client.get("/api/v1/ledger?limit=2").json()
    assert [each["device"] for each in first["devices"]] == ["kiosk-02", "kiosk-01"]
    assert (first["devices_with_missing"], first["identities_shared"]) == (1, 1)
    assert first["numbers"] == {
        "stored": 7,
        "refused": 0,
        "missing": 3,
        "dropped": 11,
        "undeclared": 2,
        "lost": 0,
        "repeated": 0,
    }
    rest = client.get(f"/api/v1/ledger?limit=2&cursor={first['next']}").json()
    assert ([each["device"] for each in rest["devices"]], rest["next"]) == (["kiosk-03"], None)
    one = client.get("/api/v1/devices/kiosk-02/ledger").json()
    assert one["numbers"] == first["devices"][0]["numbers"]
    assert one["dropped_by_reason"] == {"disk": 9}
    assert one["refused_by_reason"] == {"not-an-envelope": 1}
    (boot,) = (each for each in one["boots"] if each["boot"] == "boot-1" and each["lane"] == "telemetry")
    assert boot["gaps"] == [{"from_seq": 2, "to_seq": 3}, {"from_seq": 6, "to_seq": 6}]
    assert (one["identity_shared"], one["identity_returns"]) == (True, 3)
    missing = client.get("/api/v1/devices/ghost-01/ledger")
    assert (missing.status_code, missing.json()["code"]) == (404, "not-found")
    assert client.get("/api/v1/ledger?cursor=x").status_code == 422


def test_an_identity_is_shared_for_a_while_after_the_last_sign(
    app: FastAPI, sign_in: Callable[..., Staff], clock: Clock
) -> None:
    clock.at += timedelta(seconds=3700)
    client = sign_in(app).client
    told = client.get("/api/v1/devices/kiosk-02/ledger").json()
    assert (told["identity_shared"], told["identity_returns"]) == (False, 3)
    assert client.get("/api/v1/ledger").json()["identities_shared"] == 0


def test_it_is_the_operators_and_not_the_clerks(app: FastAPI, sign_in: Callable[..., Staff]) -> None:
    assert sign_in(app, name="op", role=Role.OPERATOR).client.get("/ledger").status_code == 200
    clerk = sign_in(app, name="clerk", role=Role.CLERK).client
    assert clerk.get("/ledger").status_code == clerk.get("/api/v1/ledger").status_code == 403
    assert TestClient(app, follow_redirects=False).get("/api/v1/metrics").status_code == 401


def test_without_a_device_the_page_says_what_to_do(
    books: Books, pages_app: Callable[..., FastAPI], sign_in: Callable[..., Staff]
) -> None:
    page = sign_in(pages_app(pages.router(books))).client.get("/ledger").text
    assert "Register one and give it its enrolment token" in page


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Victoria]:
    server = Victoria(tmp_path / "victoria")
    server.start()
    yield server
    server.kill()


def test_the_text_of_the_metrics_is_read_by_a_real_store(
    app: FastAPI, sign_in: Callable[..., Staff], victoria: Victoria
) -> None:
    answer = sign_in(app).client.get("/api/v1/metrics")
    assert answer.headers["content-type"] == series.CONTENT_TYPE
    assert answer.text.endswith("# EOF\n")
    families = re.findall(r"^# TYPE (\S+)", answer.text, re.MULTILINE)
    assert len(families) == len(set(families))
    httpx.post(f"{victoria.url}/api/v1/import/prometheus", content=answer.text).raise_for_status()
    values: dict[tuple[str, str], float] = {}

    def shown() -> bool:
        victoria.show()
        found = httpx.get(f"{victoria.url}/api/v1/export", params={"match[]": '{__name__=~"fleet_link_.+"}'})
        for line in found.text.splitlines():
            row = json.loads(line)
            values[row["metric"]["__name__"], row["metric"].get("reason", "")] = row["values"][-1]
        return len(values) >= 10

    wait_for(shown, "the store shows what it has read")
    assert values == {
        ("fleet_link_messages_stored_total", ""): 7,
        ("fleet_link_messages_dropped_total", ""): 11,
        ("fleet_link_messages_lost_total", ""): 0,
        ("fleet_link_messages_repeated_total", ""): 0,
        ("fleet_link_messages_refused_total", "not-an-envelope"): 1,
        ("fleet_link_identity_returns_total", ""): 3,
        ("fleet_link_messages_missing", ""): 3,
        ("fleet_link_messages_undeclared", ""): 2,
        ("fleet_link_devices_missing", ""): 1,
        ("fleet_link_identities_shared", ""): 1,
    }


def test_the_series_have_exactly_what_the_contract_lists(app: FastAPI, books: Books) -> None:
    assert app.title
    names = {metric.name for metric in LEDGER_METRICS}
    for account in books.ledger().accounts:
        told = {name for name, _ in series.values(account)}
        assert told == names - ({"skew_estimate_ms"} if account.skew_ms is None else set())
