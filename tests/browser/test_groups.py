"""Groups, tags and jobs for them as staff see them: in every language, on a desk and on a phone."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import connect
from cloud.database.models.devices import Device
from cloud.database.models.operators import Operator, OperatorSession
from cloud.devices import group_pages, groups, pages, tags
from cloud.jobs import core, store
from cloud.jobs import pages as job_pages
from cloud.jobs.orders import Groups
from cloud.jobs.requests import Requests
from cloud.jobs.service import Jobs
from cloud.jobs.sweep import Sweep
from cloud.operators import access
from cloud.web import front
from cloud.web.application import build_pages
from cloud.web.pages import LANGUAGE_COOKIE, Pages
from contract.languages import LANGUAGES
from tests.browser.conftest import NewPage, Serve
from tests.browser.looking import DESKTOP, PHONE, look_ok
from tests.cloud.conftest import START, Clock, migrated
from tests.cloud.jobs.conftest import Fleet

SITES = ("Prizren, Qendra", "Prishtina", "Prizren, Stacioni i autobusëve", "Градска кућа")
QUERY = 'kind:kiosk site:"Prizren*"'


@dataclass
class Desk:
    """An application with a fleet behind it, and the session of whoever is signed in."""

    app: FastAPI
    sessions: sessionmaker[Session]
    clock: Clock
    jobs: Jobs
    token: str

    def open(self, new_page: NewPage, url: str, path: str, lang: str = "en", **options: Any) -> Page:
        page = new_page(**options)
        page.context.add_cookies(
            [
                {"name": access.cookie_name(secure=False), "value": self.token, "url": url},
                {"name": LANGUAGE_COOKIE, "value": lang, "url": url},
            ]
        )
        page.goto(url + path)
        return page


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    engine = connect(migrated(tmp_path / "fleet.db"))
    sessions = sessionmaker(engine, expire_on_commit=False)
    clock, token = Clock(), secrets.token_urlsafe(16)
    with sessions.begin() as session:
        for number, site in enumerate(SITES, start=1):
            row = Device(device=f"kiosk-{number:02}", kind="kiosk", site=site, registered_at=START)
            session.add(row)
        operator = Operator(
            name="ana", password_hash="", role="operator", must_change_password=False, created_at=START
        )
        session.add(operator)
        session.flush()
        digest = access.token_digest(token)
        row = OperatorSession(token_sha256=digest, operator_id=operator.id, created_at=START, seen_at=START)
        session.add(row)
        tags.put(session, access.Actor("ana", START), "kiosk-01", {"floor": "2", "way": "hyrja veriore"})
    jobs = Jobs(sessions=sessions, publish=lambda *_: None, clock=clock)
    routers = [
        front.router({}, secure=False),
        pages.router(sessions, []),
        group_pages.router(sessions),
        job_pages.router(sessions, jobs, Groups(groups.names, groups.members)),
    ]
    app = build_pages("test", routers, pages=Pages(), secure=False)
    access.protect(app, sessions, now=clock, secure=False)
    yield Desk(app, sessions, clock, jobs, token)
    engine.dispose()


def test_a_group_is_made_used_and_watched_on_a_phone(desk: Desk, serve: Serve, new_page: NewPage) -> None:
    page = desk.open(new_page, serve(desk.app).url, "/groups", size=PHONE)
    expect(page.get_by_text("There is no group yet.")).to_be_visible()
    page.locator("[name=name]").fill("prizren")
    page.locator("[name=title]").fill("Prizren")
    page.locator("[name=query]").fill("site:Prizren* kind")
    page.get_by_role("button", name="Make a group").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("At character 15: a term is a field")
    page.civic_errors.clear()  # type: ignore[attr-defined] # the browser calls a 400 an error
    look_ok(page, "groups-wrong-query-en")
    page.locator("[name=query]").fill(QUERY)
    page.get_by_role("button", name="Make a group").press("Enter")
    page.wait_for_url("**/groups/prizren")
    expect(page.locator("#members + p")).to_have_text("2 devices")
    page.goto(page.url.replace("/groups/prizren", "/jobs"))
    page.get_by_label("What").select_option("restart-agent")
    page.get_by_label("Where").select_option("group:prizren")
    page.locator("[name=per_minute]").fill("1")
    page.get_by_text("Times and tries").click()
    page.locator("[name=retries]").fill("2")
    look_ok(page, "jobs-order-for-a-group-en")
    page.get_by_role("button", name="Order").press("Enter")
    page.wait_for_url("**/jobs/op-*")
    expect(page.get_by_text("No device has seen it yet.")).to_be_visible()
    Sweep(desk.sessions, desk.jobs)(desk.clock.at)
    expect(page.locator("main")).to_contain_text("Under way", timeout=20_000)
    expect(page.get_by_role("row", name="kiosk-01")).to_contain_text("Waiting")
    page.get_by_role("button", name="Cancel what has not begun").click()
    expect(page.get_by_role("row", name="kiosk-03")).to_contain_text("Cancelled")
    page.get_by_role("button", name="Delete the job").click()
    page.wait_for_url("**/jobs")
    expect(page.get_by_text("Being deleted")).to_be_visible()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_language_and_size_is_fit_to_look_at(
    lang: str, desk: Desk, serve: Serve, new_page: NewPage
) -> None:
    ana = access.Actor("ana", START)
    with desk.sessions.begin() as session:
        groups.create(session, ana, "prizren", "Prizreni", QUERY, [])
        groups.create(session, ana, "lobby", "Hollet", None, ["kiosk-02", "kiosk-04"])
        groups.create(session, ana, "nobody", "Askush", "tag.lift:*", [])
    fleet = FleetOf(desk)
    job = fleet.rolled_out()
    url = serve(desk.app).url
    page = desk.open(new_page, url, "/groups", lang)
    assert page.locator("html").get_attribute("lang") == lang
    for path, name in (
        ("/groups", "groups"),
        ("/groups/prizren", "group"),
        ("/groups/nobody", "group-empty"),
        ("/devices/kiosk-01", "device-tags"),
        ("/devices/kiosk-01/tags", "tags"),
        ("/jobs", "jobs-rate"),
        (f"/jobs/{job}", "job-rolling-out"),
    ):
        page.goto(url + path)
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            look_ok(page, f"{name}-{lang}")


class FleetOf(Fleet):
    """The desk's fleet, spoken to as devices do."""

    def __init__(self, desk: Desk) -> None:
        self.sessions, self.clock, self.told = desk.sessions, desk.clock, []
        self.jobs = desk.jobs
        self.sweep = Sweep(desk.sessions, desk.jobs)
        self.requests = Requests(desk.jobs, self._publish)

    def rolled_out(self) -> str:
        """A job with a device in each of many states; its id."""
        names = [f"kiosk-{number:02}" for number in range(1, len(SITES) + 1)]
        with self.sessions.begin() as session:
            self.jobs.create(
                session,
                "op-0123456789abcdef01234567",
                {"operation": "collect-diagnostics"},
                names,
                in_progress_timeout_s=300,
                queued_expiry_s=86_400,
                retries=1,
                created_by="ana",
                per_minute=2,
                wish={"targets": ["group:prizren", "kiosk-02", "kiosk-04"]},
            )
        for _ in range(2):
            self.sweep(self.clock.at)
            self.clock.forward(30)
        job = "op-0123456789abcdef01234567"
        self.ask("kiosk-01", "job-start-next")
        self.ask("kiosk-02", "job-start-next")
        with self.sessions.begin() as session:
            stored = store.find(session, job, "kiosk-01")
            assert stored is not None
            self.jobs.write(session, stored, core.cancel(stored.execution, self.clock.at, force=True))
        late = {
            "status": "FAILED",
            "executionNumber": 1,
            "statusDetails": {"reason": "stopped in the middle"},
        }
        self.ask("kiosk-01", "job-update", late, job=job)
        return job
