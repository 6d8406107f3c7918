"""The status page answers at once whether the fleet is well."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker

from cloud import arrivals
from cloud.database.models.devices import Device
from cloud.database.models.presence import PresenceWords
from cloud.devices import pages as device_pages
from cloud.enrolment import tokens
from cloud.errors import UnavailableError
from cloud.refusals import Reason, refusal
from cloud.telemetry import pages
from cloud.telemetry.core import Sorted
from cloud.telemetry.fleet import Watch
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.store import Point
from cloud.telemetry.store_memory import MemoryStore
from tests.cloud.conftest import Clock, Staff

WELL = (
    ("cpu_pct", 12.5),
    ("memory_pct", 40.0),
    ("disk_pct", 20.0),
    ("clock_skew_ms", 300),
    ("outbox_waiting", 2),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "telemetry.db")
    yield made
    made.close()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def staff(
    sessions: sessionmaker[Session],
    clock: Clock,
    store: MemoryStore,
    ledger: Ledger,
    pages_app: Callable[..., FastAPI],
    sign_in: Callable[..., Staff],
) -> Staff:
    watch = Watch(sessions, store, ledger, clock)
    sections = [partial(pages.device_section, watch)]
    return sign_in(pages_app(pages.router(watch), device_pages.router(sessions, sections)))


@pytest.fixture
def add(sessions: sessionmaker[Session], clock: Clock, store: MemoryStore) -> Callable[..., None]:
    def make(name: str, *, online: bool = True, enrolled: bool = True, **values: float) -> None:
        with sessions.begin() as session:
            session.add(
                Device(
                    device=name,
                    kind=name[:-3],
                    site="Prishtina",
                    registered_at=clock.at,
                    enrolled_at=clock.at if enrolled else None,
                    presence="online" if online else "offline",
                    presence_at=clock.at,
                )
            )
        for back in range(6):
            at = int((clock.at - timedelta(seconds=10 * back)).timestamp() * 1000)
            store.write([Point(name, "Prishtina", "kiosk", at, (*WELL, *values.items()))])

    return make


def test_a_fleet_that_is_well(staff: Staff, add: Callable[..., None]) -> None:
    add("kiosk-01", printer_ready=1.0, printer_toner_pct=80.0)
    add("recorder-01", microphone_level_dbfs=-20.0)
    page = staff.client.get("/status").text
    assert "All devices are connected and well." in page
    for words in ("2 / 2", "12 %", "printer ready", "-20 dBFS", "0.3 s"):
        assert words in page
    assert page.count("<polyline") == 2


def test_faults_are_named_and_counted(
    staff: Staff,
    add: Callable[..., None],
    ledger: Ledger,
    sessions: sessionmaker[Session],
    clock: Clock,
) -> None:
    add("kiosk-01", printer_ready=0.0, printer_paper_empty=1.0)
    add("kiosk-02", online=False)
    add("kiosk-03")
    foreign = refusal("", "telemetry", Reason.FOREIGN, b"x")
    ledger.record(Sorted(refused=[foreign, foreign], messages=6, samples=60, values=600), clock.at)
    with sessions.begin() as session:
        arrivals.quarantine(session, refusal("kiosk-01", "evidence", Reason.MALFORMED, b"x"), clock.at)
    clock.forward(60)
    page = staff.client.get("/status").text
    assert "3 devices need attention." in page
    assert "The paper is empty: refill it" in page
    assert "2 from a device that is not registered" in page
    assert staff.client.get("/api/v1/fleet").json() == {
        "devices": 3,
        "online": 2,
        "degraded": 0,
        "offline": 1,
        "off_as_expected": 0,
        "ending": 0,
        "awaited": 0,
        "tokenless": 0,
        "open_incidents": 0,
        "ingest_deaf_s": 60.0,
        "broker": None,
        "broker_drops": 0,
        "needing_attention": 3,
        "telemetry_points": 600,
        "samples_per_minute": 60,
        "outbox_waiting": 6,
        "refused": {"foreign": 2, "malformed": 1},
    }


def test_who_prepares_devices_early_sees_no_alarm_but_their_tokens(
    staff: Staff, add: Callable[..., None], sessions: sessionmaker[Session], clock: Clock
) -> None:
    def told() -> tuple[int, int, int, int]:
        clock.forward(2)
        found = staff.client.get("/api/v1/fleet").json()
        return found["devices"], found["needing_attention"], found["awaited"], found["tokenless"]

    add("recorder-01")
    for number in range(16):
        add(f"kiosk-{number:02}", online=False, enrolled=False)
        with sessions.begin() as session:
            tokens.issue(session, f"kiosk-{number:02}", "kiosk", clock.at, number.to_bytes(16))
    with sessions.begin() as session:
        until = clock.at + timedelta(hours=9)
        session.add(
            PresenceWords(
                device="kiosk-05", cause="never", boot="", connection=0, comings=[], expected_until=until
            )
        )
    assert told() == (17, 0, 16, 0)
    assert staff.client.get("/api/v1/fleet").json()["off_as_expected"] == 0, "each device is one thing"
    page = staff.client.get("/status").text
    assert "All devices that should be there are connected and well." in page
    assert "16 awaited" in page
    assert "not connected" not in page.lower()
    assert "its token is open" in staff.client.get("/devices/kiosk-00").text
    with sessions.begin() as session:
        session.get_one(Device, "kiosk-00").presence = "online"
        session.get_one(Device, "kiosk-01").enrolled_at = clock.at
    assert told() == (17, 1, 14, 0), "one came, one is away although it was enrolled"
    with sessions.begin() as session:
        for number in range(16):
            tokens.end(session, f"kiosk-{number:02}", clock.at)
    assert told() == (17, 1, 0, 14)
    page = staff.client.get("/status").text
    assert "14 devices were never enrolled and have no open token." in page
    assert "1 device needs attention." in page
    assert "has no open token" in staff.client.get("/devices/kiosk-02").text


@pytest.mark.parametrize(
    ("ending", "words"),
    [(0, None), (1, "1 certificate or list on which"), (3, "3 certificates or lists on which")],
)
def test_that_the_fleets_trust_ends_is_said_where_everybody_looks(
    sessions: sessionmaker[Session],
    clock: Clock,
    store: MemoryStore,
    ledger: Ledger,
    pages_app: Callable[..., FastAPI],
    sign_in: Callable[..., Staff],
    ending: int,
    words: str | None,
) -> None:
    watch = Watch(sessions, store, ledger, clock, ending=lambda _now: ending)
    client = sign_in(pages_app(pages.router(watch))).client
    page = client.get("/status").text
    assert ("all connections depend" in page) is (words is not None)
    assert (words or "Status") in page
    assert client.get("/api/v1/fleet").json()["ending"] == ending


def test_a_figure_is_at_most_two_seconds_old(staff: Staff, add: Callable[..., None], clock: Clock) -> None:
    assert staff.client.get("/api/v1/fleet").json()["devices"] == 0
    add("kiosk-01")
    assert staff.client.get("/api/v1/fleet").json()["devices"] == 0
    clock.forward(2)
    assert staff.client.get("/api/v1/fleet").json()["devices"] == 1


def test_the_table_has_pages(staff: Staff, add: Callable[..., None]) -> None:
    for number in range(pages.LISTED + 1):
        add(f"kiosk-{number:02}")
    first = staff.client.get("/status").text
    assert "kiosk-49" in first
    assert "kiosk-50" not in first
    assert "kiosk-50" in staff.client.get("/status?after=kiosk-49").text
    assert staff.client.get("/status/live?after=kiosk-49").text.count('<th scope="row">') == 1


@pytest.mark.parametrize("span", ["15m", "1h", "24h", "for-ever"])
def test_a_devices_page_has_charts_with_words_and_a_table(
    staff: Staff, add: Callable[..., None], span: str
) -> None:
    add("kiosk-01", temperature_c=51.0)
    page = staff.client.get(f"/devices/kiosk-01?range={span}").text
    assert page.count('<svg class="chart"') == 6
    assert "Temperature" in page
    assert page.count("<caption") == 6
    assert 'aria-label="Processor, ' in page
    assert staff.client.get(f"/devices/kiosk-01/live?range={span}").text.count('<svg class="chart"') == 6
    assert staff.client.get("/devices/ghost-01").status_code == 404


def test_before_anything_is_there_the_pages_say_what_to_do(staff: Staff, add: Callable[..., None]) -> None:
    assert "No device is registered yet" in staff.client.get("/status").text
    assert "No device is registered yet" in staff.client.get("/devices").text


@pytest.mark.parametrize("lang", ["sq", "sr-Latn", "sr-Cyrl"])
def test_the_pages_speak_every_language(staff: Staff, add: Callable[..., None], lang: str) -> None:
    add("kiosk-01", disk_pct=99.0)
    staff.client.cookies.set("language", lang)
    wanted = {"sq": "Disku është gati plot", "sr-Latn": "Disk je skoro pun", "sr-Cyrl": "Диск је скоро пун"}
    for page in ("/status", "/devices/kiosk-01"):
        assert wanted[lang] in staff.client.get(page).text
    assert staff.client.get("/devices").status_code == 200


def test_a_store_that_is_away_is_said_so(
    staff: Staff, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise UnavailableError("the store is away")

    monkeypatch.setattr(store, "latest", away)
    assert staff.client.get("/status").status_code == 503
    assert staff.client.get("/api/v1/fleet").json()["status"] == 503
