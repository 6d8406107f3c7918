"""The ledger, a device's part of it and planned maintenance in a browser: every language, two sizes."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.devices import Device
from cloud.database.models.link import Sighting, SkewRow
from cloud.database.models.operators import Operator, OperatorSession
from cloud.devices import pages as device_pages
from cloud.link import delay_pages
from cloud.link import pages as link_pages
from cloud.link.books import Books
from cloud.link.delays import Delays
from cloud.operators import access
from cloud.telemetry.ledger import Ledger
from cloud.web.application import build_pages
from cloud.web.pages import Pages
from contract.languages import LANGUAGES
from contract.link import Why
from contract.messages import Lane
from tests.browser.conftest import NewPage, Serve, Served
from tests.browser.looking import DESKTOP, SIZES, look_ok
from tests.cloud.link.test_ledger import come, declare, dropped, measure, replace_range, sample

TOKEN = "a-token-of-a-test"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def served(tmp_path: Path, serve: Serve) -> Iterator[Served]:
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    complete().create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    telemetry = Ledger(tmp_path / "telemetry.db")
    books = Books(sessions, telemetry.sessions, now)
    delays = Delays(sessions, lambda *_arguments, **_named: None, lambda: True, now)
    routers = [
        link_pages.router(books),
        delay_pages.router(delays),
        device_pages.router(sessions, [partial(link_pages.device_section, books)]),
    ]
    app = build_pages("test", routers, pages=Pages(), secure=False)
    access.protect(app, sessions, now=now, secure=False)
    _fill(sessions, telemetry)
    yield serve(app)
    telemetry.close()
    engine.dispose()


def _fill(sessions: sessionmaker[Session], telemetry: Ledger) -> None:
    with sessions.begin() as session:
        operator = Operator(
            name="ana", password_hash="", role="operator", must_change_password=False, created_at=now()
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
        for number, site in enumerate(("Biblioteka Kombëtare", "Градска кућа", "Sheshi Nëna Terezë"), 1):
            session.add(
                Device(
                    device=f"kiosk-0{number}",
                    kind="kiosk",
                    site=site,
                    registered_at=now() - timedelta(days=3),
                    presence="online",
                    presence_at=now(),
                    agent="0.1.0",
                )
            )
        session.flush()
        for seq in range(1, 40):
            come(session, "kiosk-02", seq, now(), refused=seq == 7)
        uncaptioned = replace_range(dropped(0, 0, why=Why.CLOCK), lane=Lane.LIVE)
        lost = (dropped(1, 9_999, boot="boot-2"), dropped(2, 3, why=Why.CLOCK), uncaptioned)
        declare(session, "kiosk-02", now(), *lost)
        session.add(Sighting(device="kiosk-02", seen=[], returns=3, returned_at=now()))
    messages = [("kiosk-02", sample(seq)) for seq in (1, 4, 5, 9)]
    measure(telemetry, now(), *messages, ("kiosk-02", b"garbage"), ("kiosk-01", sample(1)))
    with telemetry.sessions.begin() as session:
        session.add(SkewRow(device="kiosk-02", skew_ms=-20_300, changed_at=now()))
        session.add(SkewRow(device="kiosk-01", skew_ms=14, changed_at=now()))


@pytest.fixture
def open_page(served: Served, new_page: NewPage) -> Callable[..., Page]:
    """`open_page(address, size, lang)`: a page of a signed-in operator."""

    def open_(address: str, size: object = DESKTOP, lang: str = "en") -> Page:
        page = new_page(size)
        page.context.add_cookies(
            [
                {"name": access.cookie_name(secure=False), "value": TOKEN, "url": served.url},
                {"name": "language", "value": lang, "url": served.url},
            ]
        )
        page.goto(served.url + address)
        return page

    return open_


def open_all(page: Page) -> None:
    for summary in page.locator("summary").all():
        summary.click()


@pytest.mark.parametrize(("lang", "size"), [("en", "desktop"), *((lang, "phone") for lang in LANGUAGES)])
def test_each_page_is_good_to_look_at(open_page: Callable[..., Page], lang: str, size: str) -> None:
    page = open_page("/ledger", SIZES[size], lang)
    assert page.locator("html").get_attribute("lang") == lang
    look_ok(page, f"ledger-{lang}")
    page.goto(page.url.replace("/ledger", "/devices/kiosk-02"))
    open_all(page)
    look_ok(page, f"ledger-device-{lang}")
    page.goto(page.url.replace("/devices/kiosk-02", "/maintenance"))
    look_ok(page, f"maintenance-{lang}")


def test_an_operator_tells_the_fleet_to_wait_and_ends_it(open_page: Callable[..., Page]) -> None:
    page = open_page("/ledger")
    page.get_by_role("link", name="Planned maintenance").click()
    page.get_by_label("Whom").select_option("Градска кућа")
    page.get_by_label("Wait at most (minutes)").fill("10")
    page.get_by_role("button", name="Tell the devices").press("Enter")
    expect(page.locator("main")).to_contain_text("1.0 to 10.0 min")
    look_ok(page, "maintenance-told")
    page.get_by_role("button", name="End it now").click()
    expect(page.locator("main")).to_contain_text("ended by ana")
