"""Captions as a person reads them: partial to final, a lost server, no script, large text, a phone."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session, sessionmaker
from starlette.types import Receive, Scope, Send

from cloud.captions import pages, staff
from cloud.captions.hub import Hub
from cloud.captions.run import Captions
from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.devices import Device
from cloud.database.models.operators import Operator, OperatorSession
from cloud.operators import access
from cloud.web.application import build_pages
from cloud.web.pages import Pages
from contract.captions import SetSitting
from contract.languages import LANGUAGES
from tests.browser.conftest import NewPage, Serve
from tests.browser.looking import DESKTOP, KIOSK, PHONE, SIZES, look_ok
from tests.cloud.captions.conftest import Clerk, Recorder

TOKEN = "a-token-of-this-test"


def _no_jobs(_database: Session, _job: str, _device: str, _document: SetSitting) -> None:
    pass


@dataclass
class City:
    """An application over a database, a clerk and the recorder of hall-01."""

    captions: Captions
    app: FastAPI
    clerk: Clerk
    recorder: Recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, whose viewers belong to the loop that serves it."""
        if scope["type"] == "lifespan":
            self.captions.hub.attach(asyncio.get_running_loop())
        await self.app(scope, receive, send)


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    complete().create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    now = datetime.now(UTC)
    with sessions.begin() as database:
        database.add(
            Device(device="hall-01", kind="recorder", site="x", registered_at=now, presence="online")
        )
        operator = Operator(
            name="ana", password_hash="", role="administrator", must_change_password=False, created_at=now
        )
        database.add(operator)
        database.flush()
        database.add(
            OperatorSession(
                token_sha256=access.token_digest(TOKEN),
                operator_id=operator.id,
                created_at=now,
                seen_at=now,
            )
        )
    captions = Captions(sessions, _no_jobs, Hub())
    app = build_pages("test", [pages.router(captions), staff.router(captions)], pages=Pages(), secure=False)
    access.protect(app, sessions, now=lambda: datetime.now(UTC), secure=False)
    yield City(captions, app, Clerk(captions), Recorder(captions))
    engine.dispose()


def _live(page: Page) -> None:
    """Wait until the stream is open: the first event of the sitting has come."""
    expect(page.locator("#live")).to_have_attribute("data-connected", "yes")


def test_words_appear_and_become_final(city: City, serve: Serve, new_page: NewPage) -> None:
    session = city.clerk.open(title="Kuvendi i Komunës")
    page = new_page(PHONE)
    page.goto(f"{serve(city).url}/sq/captions/{session}")
    _live(page)
    expect(page.locator("#why")).to_contain_text("sapo të flasë dikush")
    city.recorder.partial(session, 1, "good eve")
    expect(page.locator("#partial")).to_have_text("good eve")
    expect(page.locator("#why")).to_be_hidden()
    city.recorder.partial(session, 1, "good evening to", revision=2)
    expect(page.locator("#partial")).to_have_text("good evening to")
    city.recorder.final(session, 1, "Good evening to all of you.", revision=3)
    expect(page.get_by_role("log").get_by_role("listitem")).to_have_text("Good evening to all of you.")
    expect(page.locator("#partial")).to_have_text("")
    assert page.locator("#finals li").get_attribute("lang") == "en"
    assert page.locator("#partial").get_attribute("aria-hidden") == "true"
    city.recorder.final(session, 1, "Good evening to all of us.", revision=4)
    expect(page.locator("#finals li")).to_have_text("Good evening to all of us.")
    look_ok(page, "captions-live-sq")


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("size", SIZES)
def test_every_language_and_size_is_fit_to_look_at(
    lang: str, size: str, city: City, serve: Serve, new_page: NewPage
) -> None:
    session = city.clerk.open(title="Kuvendi i Komunës")
    for number in range(1, 61):
        city.recorder.final(session, number, f"Line {number}: we will hear two speakers on this motion.")
    page = new_page(SIZES[size])
    url = serve(city).url
    page.goto(f"{url}/{lang}/captions/{session}")
    _live(page)
    city.recorder.partial(session, 61, "and now the word goes to")
    expect(page.locator("#partial")).to_have_text("and now the word goes to")
    assert page.locator("#finals li").count() == 50
    for element in ("#larger", "#partial", "#state"):
        expect(page.locator(element)).to_be_in_viewport(ratio=1)
    look_ok(page, f"captions-{lang}")
    page.goto(f"{url}/{lang}/captions")
    look_ok(page, f"captions-list-{lang}")
    page.goto(f"{url}/{lang}/captions/{session}/transcript")
    look_ok(page, f"captions-transcript-{lang}")


def test_a_lost_server_is_said_and_resumed_without_a_double(
    city: City, serve: Serve, new_page: NewPage
) -> None:
    session = city.clerk.open()
    first = serve(city)
    page = new_page(PHONE)
    page.goto(f"{first.url}/sr-Latn/captions/{session}")
    _live(page)
    city.recorder.final(session, 1, "one")
    city.recorder.final(session, 2, "two")
    expect(page.locator("#finals li")).to_have_count(2)
    first.stop()
    expect(page.locator("#state")).to_contain_text("Veza je prekinuta")
    city.recorder.final(session, 3, "three, said while nobody could read")
    serve(city, port=first.port)
    expect(page.locator("#finals li")).to_have_count(3, timeout=20_000)
    expect(page.locator("#state")).to_have_text("Uživo")
    city.recorder.final(session, 4, "four")
    expect(page.locator("#finals li")).to_have_text(
        ["one", "two", "three, said while nobody could read", "four"]
    )


def test_a_closed_part_says_its_legal_reason_at_once(city: City, serve: Serve, new_page: NewPage) -> None:
    session = city.clerk.open()
    page = new_page(KIOSK)
    page.goto(f"{serve(city).url}/sr-Cyrl/captions/{session}")
    _live(page)
    city.recorder.partial(session, 1, "this must go")
    expect(page.locator("#partial")).to_have_text("this must go")
    city.clerk.do(session, "close-to-public", "sensitive-information")
    expect(page.locator("#why")).to_contain_text("осетљиви подаци")
    expect(page.locator("#state")).to_have_text("Затворено за јавност")
    expect(page.locator("#partial")).to_have_text("")
    look_ok(page, "captions-closed")
    city.clerk.do(session, "open")
    city.recorder.partial(session, 2, "we go on", start_ms=60_000, end_ms=60_000)
    expect(page.locator("#partial")).to_have_text("we go on")
    expect(page.locator("#why")).to_be_hidden()


def test_the_chosen_size_is_remembered_and_nothing_is_pushed_out(
    city: City, serve: Serve, new_page: NewPage
) -> None:
    session = city.clerk.open()
    city.recorder.final(session, 1, "Bashkëqeverisja, përkundër, mbarëkombëtare. " * 10)
    page = new_page(PHONE)
    page.goto(f"{serve(city).url}/sq/captions/{session}")
    _live(page)
    for _ in range(8):
        page.get_by_role("button", name="Tekst më i madh").click()
    page.reload()
    _live(page)
    assert page.locator(".paper").evaluate("e => getComputedStyle(e).fontSize") == "80px"
    expect(page.locator("#larger")).to_be_in_viewport(ratio=1)
    look_ok(page, "captions-huge")


def test_without_script_it_is_a_plain_list(city: City, serve: Serve, new_page: NewPage) -> None:
    session = city.clerk.open()
    city.recorder.final(session, 1, "one")
    page = new_page(PHONE, java_script_enabled=False)
    page.goto(f"{serve(city).url}/en/captions/{session}")
    expect(page.get_by_role("listitem").filter(has_text="one")).to_be_visible()
    city.recorder.final(session, 2, "two")
    page.get_by_role("link", name="Load new text").click()
    expect(page.get_by_role("listitem").filter(has_text="two")).to_be_visible()


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_clerk_plans_opens_and_closes_by_hand(
    size: Any, city: City, serve: Serve, new_page: NewPage
) -> None:
    page = new_page(size)
    url = serve(city).url
    page.context.add_cookies([{"name": "session", "value": TOKEN, "url": url}])
    page.context.add_cookies([{"name": "language", "value": "sq", "url": url}])
    page.goto(f"{url}/sittings")
    page.get_by_label("Titulli").fill("Mbledhja e Kuvendit")
    page.get_by_role("button", name="Planifiko", exact=True).click()
    page.get_by_role("button", name="Hape").click()
    expect(page.locator(".sitting .chip").first).to_have_text("Drejtpërdrejt")
    page.get_by_text("Mbylle për publikun…").click()
    look_ok(page, "sittings")
    page.get_by_label(re.compile("procedura gjyqësore")).check()
    page.get_by_role("button", name="Mbylle për publikun").click()
    expect(page.locator(".sitting .chip").first).to_have_text("E mbyllur për publikun")
    page.get_by_role("button", name="Vazhdoje").click()
    expect(page.locator(".sitting .chip").first).to_have_text("Drejtpërdrejt")
