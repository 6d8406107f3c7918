"""Status, devices and jobs in a browser: every language, three sizes, kept fresh without a reload."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session, sessionmaker

from cloud import arrivals
from cloud.broker import Received
from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.devices import Device
from cloud.database.models.operators import Operator, OperatorSession
from cloud.devices import groups
from cloud.devices import pages as device_pages
from cloud.jobs import api as job_api
from cloud.jobs import pages as job_pages
from cloud.jobs.diagnostics import Bundles
from cloud.jobs.orders import Groups
from cloud.jobs.requests import Requests
from cloud.jobs.service import Jobs
from cloud.operators import access
from cloud.refusals import Reason, refusal
from cloud.telemetry import pages as telemetry_pages
from cloud.telemetry.core import Sorted
from cloud.telemetry.fleet import Watch
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.store import Point
from cloud.telemetry.store_memory import MemoryStore
from cloud.twin import pages as twin_pages
from cloud.twin.requests import Requests as TwinRequests
from cloud.twin.service import Twins
from cloud.web.application import build_pages
from cloud.web.pages import Pages
from contract.languages import LANGUAGES
from tests.browser.conftest import NewPage, Serve, Served
from tests.browser.looking import DESKTOP, SIZES, look_ok

TOKEN = "a-token-of-a-test"


TWIN = b"""{"state": {
    "desired": {"telemetry": {"interval_s": 5}, "log": {"level": "debug"}},
    "reported": {"telemetry": {"interval_s": 10}, "log": {"level": "debug"}, "refused": {
        "telemetry.interval_s": "telemetry.interval_s is a whole number from 10 to 3600 s"}}}}"""
"""One setting in force, and one that the device did not take."""


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class City:
    """Seven devices, of which three need attention and one never came, behind a server."""

    served: Served
    sessions: sessionmaker[Session]
    store: MemoryStore
    jobs: Jobs
    requests: Requests
    twins: TwinRequests

    def sample(self, device: str, *, ago_s: float = 0, **values: float) -> None:
        well = {
            "cpu_pct": 20 + ago_s % 37,
            "memory_pct": 41.5,
            "disk_pct": 20.0,
            "temperature_c": 48 + ago_s % 5,
        }
        well |= {"clock_skew_ms": 120, "outbox_waiting": 0}
        at = int((now() - timedelta(seconds=ago_s)).timestamp() * 1000)
        self.store.write([Point(device, "Prishtina", "kiosk", at, tuple((well | values).items()))])

    def ask(self, device: str, handler: Callable[[Received], None], payload: bytes, **ids: str) -> None:
        with self.sessions.begin() as session:
            handler(Received(device, {"device": device, **ids}, payload, None, now(), session))


@pytest.fixture
def city(tmp_path: Path, serve: Serve) -> Iterator[City]:
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    complete().create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    store, ledger = MemoryStore(), Ledger(tmp_path / "telemetry.db")
    jobs = Jobs(sessions=sessions, publish=lambda *_: None, clock=now)
    bundles = Bundles(tmp_path / "objects", sessions, now, lambda: "01900000-0000-7000-8000-000000000001")
    watch = Watch(sessions, store, ledger, now, ending=lambda _now: 2)
    twins = Twins(sessions=sessions, publish=lambda *_: None, clock=now)
    sections = [
        partial(telemetry_pages.device_section, watch),
        partial(twin_pages.device_section, twins),
        partial(job_pages.device_section, sessions),
    ]
    routers = [
        telemetry_pages.router(watch),
        device_pages.router(sessions, sections),
        twin_pages.router(sessions, twins),
        job_pages.router(sessions, jobs, Groups(groups.names, groups.members)),
        job_api.router(sessions, jobs, Groups(groups.names, groups.members), bundles),
    ]
    app = build_pages("test", routers, pages=Pages(), secure=False)
    access.protect(app, sessions, now=now, secure=False)
    city = City(
        serve(app),
        sessions,
        store,
        jobs,
        Requests(jobs, lambda *_: None),
        TwinRequests(twins, lambda *_: None),
    )
    _fill(city, ledger)
    bundles.receive("kiosk-01", b'{"job": "op-0"}')
    yield city
    ledger.close()
    engine.dispose()


def _fill(city: City, ledger: Ledger) -> None:
    with city.sessions.begin() as session:
        operator = Operator(
            name="ana", password_hash="", role="administrator", must_change_password=False, created_at=now()
        )
        session.add(operator)
        session.flush()
        session.add(
            OperatorSession(
                token_sha256=access.token_digest(TOKEN),
                operator_id=operator.id,
                created_at=now(),
                seen_at=now(),
            )
        )
        for name, site in (
            ("kiosk-01", "Biblioteka Kombëtare"),
            ("kiosk-02", "Sheshi Nëna Terezë"),
            ("kiosk-03", "Градска кућа"),
            ("kiosk-04", "Stacioni i autobusëve"),
            ("kiosk-05", "Rruga B"),
            ("recorder-01", "Salla e Kuvendit"),
            ("recorder-02", "Salla e vogël"),
        ):
            session.add(
                Device(
                    device=name,
                    kind=name[:-3],
                    site=site,
                    registered_at=now() - timedelta(days=3),
                    enrolled_at=now() - timedelta(days=3) if name != "kiosk-05" else None,
                    presence="offline" if name in ("kiosk-04", "kiosk-05") else "online",
                    presence_at=now() - timedelta(minutes=12),
                    agent="0.1.0",
                )
            )
        session.flush()
        for _ in range(3):
            arrivals.quarantine(session, refusal("kiosk-02", "evidence", Reason.MALFORMED, b"x"), now())
    for ago in range(0, 900, 10):
        city.sample("kiosk-01", ago_s=ago, printer_ready=1, printer_toner_pct=77.0)
        city.sample("kiosk-02", ago_s=ago, printer_ready=0, printer_paper_empty=1, printer_toner_pct=40.0)
        city.sample("kiosk-03", ago_s=ago, printer_ready=0, printer_jammed=1, disk_pct=93.0)
        city.sample("recorder-01", ago_s=ago, microphone_level_dbfs=-25.5 - ago % 7)
        city.sample("recorder-02", ago_s=ago, microphone_level_dbfs=-60.0)
    foreign = refusal("", "telemetry", Reason.FOREIGN, b"x")
    minute = now().replace(second=0, microsecond=0) - timedelta(minutes=1)
    ledger.record(Sorted(refused=[foreign], messages=30, samples=30, values=240), minute)
    for number in range(3):
        with city.sessions.begin() as session:
            city.jobs.create(
                session,
                f"op-{number}",
                {"operation": "collect-diagnostics"},
                ["kiosk-01", "kiosk-02", "recorder-01"],
                in_progress_timeout_s=60,
                queued_expiry_s=600,
                created_by="ana",
            )
    done = b'{"status": "SUCCEEDED", "statusDetails": {"bundle": "01900000-0000-7000-8000-000000000001"}}'
    city.ask("kiosk-01", city.requests.update, done, job="op-0")
    city.ask("kiosk-01", city.twins.update, TWIN)


@pytest.fixture
def open_page(city: City, new_page: NewPage) -> Callable[..., Page]:
    """`open_page(address, size, lang)`: a page of a signed-in operator."""

    def open_(address: str, size: object = DESKTOP, lang: str = "en") -> Page:
        page = new_page(size)
        url = city.served.url
        page.context.add_cookies(
            [
                {"name": access.cookie_name(secure=False), "value": TOKEN, "url": url},
                {"name": "language", "value": lang, "url": url},
            ]
        )
        page.goto(url + address)
        return page

    return open_


ADDRESSES = {
    "status": "/status",
    "devices": "/devices",
    "device": "/devices/kiosk-01",
    "settings": "/devices/kiosk-01/settings",
    "jobs": "/jobs",
    "job": "/jobs/op-0",
}


@pytest.mark.parametrize("name", list(ADDRESSES))
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_each_page_is_good_to_look_at(open_page: Callable[..., Page], name: str, size: str) -> None:
    page = open_page(ADDRESSES[name], SIZES[size])
    look_ok(page, f"{name}-en")


@pytest.mark.parametrize("lang", [lang for lang in LANGUAGES if lang != "en"])
def test_each_page_speaks_each_language(open_page: Callable[..., Page], lang: str) -> None:
    page = open_page("/status", SIZES["phone"], lang)
    for name, address in ADDRESSES.items():
        page.goto(page.url.split("/", 3)[0] + "//" + page.url.split("/", 3)[2] + address)
        assert page.locator("html").get_attribute("lang") == lang
        look_ok(page, f"{name}-{lang}")


def test_the_status_page_stays_fresh_without_a_reload(open_page: Callable[..., Page], city: City) -> None:
    page = open_page("/status")
    expect(page.locator("main")).to_contain_text("3 devices need attention.")
    link = page.locator("a[href='/devices/kiosk-03']")
    link.focus()
    for name in ("kiosk-02", "kiosk-03"):
        city.sample(name, printer_ready=1, printer_paper_empty=0, printer_jammed=0, disk_pct=20.0)
    expect(page.locator("main")).to_contain_text("1 device needs attention.", timeout=20_000)
    expect(link).to_be_focused()
    city.served.stop()
    lost = page.get_by_text("The connection is lost.")
    expect(lost).to_be_visible(timeout=20_000)
    page.civic_errors.clear()  # type: ignore[attr-defined] # the browser reports the failed request


def test_updating_can_be_paused(open_page: Callable[..., Page], city: City) -> None:
    page = open_page("/jobs/op-1")
    page.get_by_role("button", name="Pause updating").click()
    expect(page.get_by_role("button", name="Go on updating")).to_be_visible()
    city.ask("kiosk-02", city.requests.update, b'{"status": "IN_PROGRESS"}', job="op-1")
    page.get_by_role("button", name="Go on updating").click()
    expect(page.locator("main")).to_contain_text("In progress", timeout=20_000)


def test_an_operator_orders_a_job_by_keyboard_and_sees_it_end(
    open_page: Callable[..., Page], city: City
) -> None:
    page = open_page("/jobs")
    page.get_by_label("What").select_option("restart-agent")
    page.get_by_label("Where").select_option("kiosk-03")
    page.get_by_role("button", name="Order").press("Enter")
    page.wait_for_url("**/jobs/op-*")
    expect(page.locator("main")).to_contain_text("Waiting")
    job = page.url.rsplit("/", 1)[1]
    done = b'{"status": "SUCCEEDED", "statusDetails": {"restarted": "true"}}'
    city.ask("kiosk-03", city.requests.update, done, job=job)
    expect(page.locator("main")).to_contain_text("The agent has restarted.", timeout=20_000)


def test_the_values_of_a_chart_can_be_read_as_a_table(open_page: Callable[..., Page]) -> None:
    page = open_page("/devices/kiosk-01")
    chart = page.get_by_role("img", name="Temperature, 15 minutes")
    expect(chart).to_be_visible()
    page.locator("#values-temperature_c summary").click()
    expect(page.locator("#values-temperature_c tbody tr").first).to_contain_text("4")
    page.get_by_role("link", name="1 hour").click()
    expect(page.get_by_role("img", name="Temperature, 1 hour")).to_be_visible()


def test_a_setting_is_changed_by_keyboard_and_a_mistake_is_said_beside_it(
    open_page: Callable[..., Page],
) -> None:
    page = open_page("/devices/kiosk-01", SIZES["phone"])
    page.get_by_role("heading", name="Settings").scroll_into_view_if_needed()
    look_ok(page, "device-settings-en")
    page.get_by_role("link", name="Change settings").click()
    field = page.get_by_label("Time between two samples of health")
    field.fill("7")
    page.get_by_role("button", name="Save").press("Enter")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Enter a whole number from 10 to 3,600.")
    page.civic_errors.clear()  # type: ignore[attr-defined] # the browser reports the refused form
    look_ok(page, "settings-wrong-en")
    field.fill("60")
    page.get_by_role("button", name="Save").press("Enter")
    page.wait_for_url("**/devices/kiosk-01")
    expect(page.get_by_role("region", name="Settings")).to_contain_text("60 s")
