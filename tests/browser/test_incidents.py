"""Incidents, hours off and the broker's figures in a browser: every language, on a phone and at a desk."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker_figures import FIGURES, BrokerFigures
from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.devices import Device
from cloud.database.models.operators import Operator, OperatorSession
from cloud.database.models.presence import (
    ExpectedOff,
    IncidentMember,
    IncidentRow,
    PresenceEars,
    PresenceWords,
)
from cloud.devices import incident_pages
from cloud.devices import pages as device_pages
from cloud.devices.hours import Tolerance
from cloud.operators import access
from cloud.telemetry import pages as telemetry_pages
from cloud.telemetry.fleet import Watch
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.store_memory import MemoryStore
from cloud.web.application import build_pages
from cloud.web.pages import Pages
from tests.browser.conftest import NewPage, Serve, Served
from tests.browser.looking import DESKTOP, PHONE, look_ok

TOKEN = "a-token-of-a-test"
SITES = {
    "kiosk-01": "Biblioteka Kombëtare",
    "kiosk-02": "Biblioteka Kombëtare",
    "kiosk-03": "Градска кућа",
    "kiosk-04": "Stacioni i autobusëve",
}
STATES = {"kiosk-01": "offline", "kiosk-02": "offline", "kiosk-03": "degraded", "kiosk-04": "offline"}


def now() -> datetime:
    return datetime.now(UTC)


def fill(sessions: sessionmaker[Session]) -> int:
    """Two devices that are away together, one that flaps, one that is off as expected."""
    with sessions.begin() as session:
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
        for device, site in SITES.items():
            session.add(
                Device(
                    device=device, kind="kiosk", site=site, registered_at=now(), presence=STATES[device],
                    presence_at=now() - timedelta(minutes=9), boot="b",
                )
            )  # fmt: skip
        session.flush()
        for device, cause in {"kiosk-01": "ended", "kiosk-03": "flapping", "kiosk-04": "ended"}.items():
            until = now() + timedelta(hours=9) if device == "kiosk-04" else None
            session.add(
                PresenceWords(
                    device=device, cause=cause, boot="b", connection=1, comings=[], expected_until=until
                )
            )
        past = IncidentRow(
            site="Градска кућа", state="closed", opened_at=now() - timedelta(days=1), over_at=now(),
            closed_at=now(), acknowledged_by="ana", acknowledged_at=now(), note="Siguresa u ndërrua.",
        )  # fmt: skip
        going_on = IncidentRow(
            site="Biblioteka Kombëtare", state="open", opened_at=now() - timedelta(minutes=8)
        )
        session.add_all([past, going_on])
        session.flush()
        for device in ("kiosk-01", "kiosk-02"):
            session.add(IncidentMember(incident=going_on.id, device=device, gone_at=now(), times=2))
        session.add(
            IncidentMember(incident=past.id, device="kiosk-03", gone_at=now(), back_at=now(), times=1)
        )
        session.add(PresenceEars(name="svc-ingest", since=now(), at=now() + timedelta(hours=1)))
        for day in range(5):
            session.add(
                ExpectedOff(scope="site", name="Stacioni i autobusëve", day=day, begins=1020, ends=450)
            )
        return going_on.id


@pytest.fixture
def city(tmp_path: Path, serve: Serve) -> Iterator[tuple[Served, int]]:
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    complete().create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    ledger = Ledger(tmp_path / "telemetry.db")
    figures = BrokerFigures(connections_max=20)
    for moment in (now(), now()):
        for number, topic in enumerate(FIGURES):
            figures.take(topic, b"%d" % (17 + number), moment)
    figures.take("$SYS/broker/publish/messages/dropped", b"40", now())
    watch = Watch(sessions, MemoryStore(), ledger, now, figures)
    routers = [
        telemetry_pages.router(watch),
        device_pages.router(sessions, []),
        incident_pages.router(sessions, Tolerance()),
    ]
    app = build_pages("test", routers, pages=Pages(), secure=False)
    access.protect(app, sessions, now=now, secure=False)
    yield serve(app), fill(sessions)
    ledger.close()
    engine.dispose()


def cookies(served: Served, language: str) -> list[dict[str, str]]:
    return [
        {"name": name, "value": value, "url": served.url}
        for name, value in {"language": language, access.cookie_name(secure=False): TOKEN}.items()
    ]


@pytest.mark.parametrize("language", ["sq", "sr-Cyrl"])
def test_the_pages_are_for_everybody(city: tuple[Served, int], new_page: NewPage, language: str) -> None:
    served, number = city
    paths = {
        "incidents": "/incidents",
        "incident": f"/incidents/{number}",
        "expected-off": "/expected-off",
        "device-flapping": "/devices/kiosk-03",
        "status-broker": "/status",
    }
    for size in (PHONE, DESKTOP) if language == "sq" else (PHONE,):
        page = new_page(size)
        page.context.add_cookies(cookies(served, language))  # type: ignore[arg-type] # plain dicts do
        for name, path in paths.items():
            page.goto(served.url + path)
            look_ok(page, f"{name}-{language}")


def test_somebody_says_that_they_have_seen_it(city: tuple[Served, int], new_page: NewPage) -> None:
    served, number = city
    page = new_page(PHONE)
    page.context.add_cookies(cookies(served, "en"))  # type: ignore[arg-type] # plain dicts do
    page.goto(f"{served.url}/incidents")
    page.get_by_role("link", name="Biblioteka Kombëtare").click()
    page.get_by_label("Note").fill("The caretaker is on the way.")
    page.get_by_role("button", name="I have seen it").click()
    expect(page).to_have_url(f"{served.url}/incidents/{number}")
    expect(page.get_by_text("ana has seen it")).to_be_visible()
    page.goto(f"{served.url}/expected-off")
    page.get_by_label("Place or device").select_option("device:kiosk-03")
    page.get_by_label("Saturday").check()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("button", name="Remove kiosk-03, Saturday 17:00")).to_be_visible()
