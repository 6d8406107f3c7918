"""Updates as staff see them: assign a version, watch it, read why it was taken back, cancel it."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect
from sqlalchemy.orm import sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.operators import Operator, OperatorSession
from cloud.operators import access
from cloud.operators.roles import Role
from cloud.updates.pages import router
from cloud.web import front
from cloud.web.application import build_pages
from cloud.web.pages import LANGUAGE_COOKIE, Pages
from contract.languages import LANGUAGES
from contract.updates import UPDATE, UpdateCode
from tests.browser.conftest import NewPage, Serve
from tests.browser.looking import DESKTOP, PHONE, look_ok
from tests.cloud.conftest import Clock
from tests.cloud.updates.conftest import Plane, control_plane

REFRESHED_MS = 20_000
UNWELL = "firmware 1.3.0 runs and its self-test fails"


@dataclass
class Desk:
    """An application with a control plane behind it, and the session of whoever is signed in."""

    app: FastAPI
    plane: Plane
    token: str

    def open(self, new_page: NewPage, url: str, path: str, lang: str = "en", **options: object) -> Page:
        page = new_page(**options)
        page.context.add_cookies(
            [
                {"name": access.cookie_name(secure=False), "value": self.token, "url": url},
                {"name": LANGUAGE_COOKIE, "value": lang, "url": url},
            ]
        )
        page.goto(url + path)
        return page

    def assign(self, path: str, target: str) -> str:
        """As the form does; the id of the roll-out."""
        operator = access.SignedIn(
            "ana", self.plane.clock.at, 1, "", must_change_password=False, role=Role.ADMINISTRATOR
        )
        with self.plane.sessions.begin() as session:
            return self.plane.updates.assign(
                session, operator, path=path, target=target, downgrade=False, key=secrets.token_hex(8)
            )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    complete().create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    clock, token = Clock(), secrets.token_urlsafe(16)
    plane = control_plane(sessions, clock, tmp_path)
    with sessions.begin() as database:
        operator = Operator(
            name="ana",
            password_hash="",
            role="administrator",
            must_change_password=False,
            created_at=clock.at,
        )
        database.add(operator)
        database.flush()
        digest = access.token_digest(token)
        database.add(
            OperatorSession(
                token_sha256=digest, operator_id=operator.id, created_at=clock.at, seen_at=clock.at
            )
        )
    routers = [front.router({}, secure=False), router(plane.updates)]
    app = build_pages("test", routers, pages=Pages(), secure=False)
    access.protect(app, sessions, now=clock, secure=False)
    yield Desk(app, plane, token)
    engine.dispose()


def assign_by_keyboard(page: Page, version: str, target: str) -> None:
    page.locator("select[name=path]").select_option(label=version)
    page.locator("select[name=target]").select_option(target)
    button = page.locator("main form button").first
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/updates/up-*")


def test_staff_assign_watch_and_cancel(desk: Desk, serve: Serve, new_page: NewPage) -> None:
    page = desk.open(new_page, serve(desk.app).url, "/updates", size=PHONE)
    expect(page.get_by_text("No update has been assigned yet.")).to_be_visible()
    look_ok(page, "updates-nothing-assigned-en")
    assign_by_keyboard(page, "Agent 0.10.0", "kiosk")
    update = page.url.rsplit("/", 1)[1]
    one, other = (page.get_by_role("row", name=f"kiosk-0{number}") for number in (1, 2))
    expect(one).to_contain_text("Assigned")
    desk.plane.news(update, "kiosk-01", state="waiting", revision=4, code="device-busy")
    expect(one).to_contain_text("Waiting for a free device", timeout=REFRESHED_MS)
    expect(one).to_contain_text("The device is in use.")
    desk.plane.news(update, "kiosk-01", state="trial", revision=6)
    expect(one).to_contain_text("On trial", timeout=REFRESHED_MS)
    page.get_by_role("button", name="Cancel what has not been activated").click()
    expect(other).to_contain_text("It was cancelled.")
    expect(one).to_contain_text("On trial")
    expect(page.get_by_role("button", name="Cancel what")).to_have_count(0)
    look_ok(page, "update-cancelled-en")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_language_and_size_is_fit_to_look_at(
    lang: str, desk: Desk, serve: Serve, new_page: NewPage
) -> None:
    """One roll-out for each state, so that every chip and many reasons are on the pages."""
    reasons = dict(zip(UPDATE.states, UpdateCode, strict=False))
    for state in UPDATE.states:
        update = desk.assign("agent/agent-0.10.0.zip", "recorder")
        if state != UPDATE.initial:
            desk.plane.news(update, "hall-01", state=state, revision=5, code=reasons[state])
    back = desk.assign("firmware/io-1.3.0.bin", "all")
    found = {"component": "firmware", "version": "1.3.0", "revision": 9}
    desk.plane.news(back, "kiosk-01", state="rolled_back", code="self-test-failed", detail=UNWELL, **found)
    desk.plane.news(back, "kiosk-02", state="downloading", code="unreachable", attempt=7, **found)
    url = serve(desk.app).url
    page = desk.open(new_page, url, "/updates", lang)
    assert page.locator("html").get_attribute("lang") == lang
    assert page.locator("[data-refresh] tbody tr").count() == len(UPDATE.states) + 1
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        look_ok(page, f"updates-{lang}")
    page.goto(f"{url}/updates/{back}")
    expect(page.locator("td [lang=en]").first).to_have_text(UNWELL)
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        look_ok(page, f"update-{lang}")


def test_a_repository_that_cannot_be_read_is_said(desk: Desk, serve: Serve, new_page: NewPage) -> None:
    (desk.plane.repository / "metadata" / "timestamp.json").write_text("{")
    page = desk.open(new_page, serve(desk.app).url, "/updates", "sq")
    expect(page.locator("section .notice.bad")).to_be_visible()
    expect(page.locator("main form")).to_have_count(0)
    look_ok(page, "updates-no-repository-sq")
