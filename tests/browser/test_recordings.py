"""A draft as staff read and hear it: the sound plays, the line follows, keys are enough, names are right."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session, sessionmaker

from cloud.assembly import pages as assembly_pages
from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.operators import Operator, OperatorSession
from cloud.operators import access
from cloud.recordings.cards import card
from cloud.recordings.orders import Orders
from cloud.recordings.pages import Desk, router
from cloud.web import front
from cloud.web.application import build_pages
from cloud.web.pages import LANGUAGE_COOKIE, Pages
from contract.languages import LANGUAGES
from tests.browser.conftest import NewPage, Serve
from tests.browser.looking import PHONE, SIZES, look_ok
from tests.cloud.recordings.drafts import SAID, drafted
from tests.cloud.recordings.halls import RECORDING, store

ONE = f"/recordings/{RECORDING}"


@dataclass
class Hall:
    """An application with one draft, and the session of whoever is signed in."""

    app: FastAPI
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


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    complete().create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    now, token = datetime.now(UTC), secrets.token_urlsafe(16)
    objects = store(tmp_path / "objects")
    with sessions.begin() as database:
        _sign_in(database, token, now)
        drafted(database, objects, now, tmp_path)
    orders = Orders(sessions, lambda *_: None, lambda *_: None, lambda: now)
    routers = [
        front.router({}, secure=False),
        router(Desk(sessions, objects, orders, card("whisper-base"))),
        assembly_pages.router(sessions),
    ]
    app = build_pages("test", routers, pages=Pages(), secure=False)
    access.protect(app, sessions, now=lambda: datetime.now(UTC), secure=False)
    yield Hall(app, token)
    engine.dispose()


def _sign_in(database: Session, token: str, now: datetime) -> None:
    operator = Operator(
        name="ana", password_hash="", role="administrator", must_change_password=False, created_at=now
    )
    database.add(operator)
    database.flush()
    database.add(
        OperatorSession(
            token_sha256=access.token_digest(token), operator_id=operator.id, created_at=now, seen_at=now
        )
    )


def test_sound_and_text_are_in_step(hall: Hall, serve: Serve, new_page: NewPage) -> None:
    page = hall.open(new_page, serve(hall.app).url, ONE)
    sound = page.locator("#sound")
    page.wait_for_function("() => document.getElementById('sound').readyState >= 1")
    assert sound.evaluate("s => Math.abs(s.duration - 20) < 0.2"), "the whole sound, without the pause"
    lines = page.locator("#lines li[data-start]")
    expect(lines).to_have_count(len(SAID))
    last = page.get_by_role("button", name="Hear from").last
    last.focus()
    page.keyboard.press("Enter")
    expect(lines.last).to_have_attribute("aria-current", "true")
    assert sound.evaluate("s => s.currentTime >= 16.2")
    page.wait_for_function("() => document.getElementById('sound').currentTime > 16.3")
    lines.nth(1).locator(".said").click()
    expect(lines.nth(1)).to_have_attribute("aria-current", "true")
    expect(page.locator("#lines [aria-current]")).to_have_count(1)
    weight = lines.nth(1).locator(".said").evaluate("e => getComputedStyle(e).fontWeight")
    assert weight == "700", "not by colour only"
    # It plays on by itself into the next line.
    expect(lines.nth(2)).to_have_attribute("aria-current", "true", timeout=20_000)
    look_ok(page, "recording-plays-en")


def test_a_browser_reads_every_cue_of_the_text_with_times(
    hall: Hall, serve: Serve, new_page: NewPage
) -> None:
    """The parser is Chromium's own; the file is given to it as a track of the page's sound."""
    page = hall.open(new_page, serve(hall.app).url, ONE)
    cues = page.evaluate(
        """address => new Promise((done, failed) => {
          const track = document.createElement('track');
          track.kind = 'captions';
          track.src = address;
          track.addEventListener('load', () => done([...track.track.cues].map(
            cue => [cue.startTime, cue.text, cue.getCueAsHTML().textContent])));
          track.addEventListener('error', () => failed(new Error('no WebVTT')));
          document.getElementById('sound').append(track);
          track.track.mode = 'hidden';
        })""",
        f"{ONE}/transcript.vtt",
    )
    assert [cue[2] for cue in cues] == [text for _, text in SAID]
    assert cues[0][1].startswith("<v Fjolla Testi>")
    assert cues[-1][0] == pytest.approx(16.2)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_every_language_and_size_is_fit_to_look_at(
    lang: str, size: str, hall: Hall, serve: Serve, new_page: NewPage
) -> None:
    url = serve(hall.app).url
    page = hall.open(new_page, url, ONE, lang, size=SIZES[size])
    assert page.locator("html").get_attribute("lang") == lang
    assert page.locator("#lines .said span").first.get_attribute("lang") == "en"
    expect(page.locator("#lines .closed")).to_have_count(1)
    look_ok(page, f"recording-{lang}")
    for path, name in (("/recordings", "recordings"), ("/assembly?hall=hall-01", "assembly")):
        page.goto(url + path)
        look_ok(page, f"{name}-{lang}")


def test_staff_write_down_who_sits_where(hall: Hall, serve: Serve, new_page: NewPage) -> None:
    url = serve(hall.app).url
    page = hall.open(new_page, url, "/assembly", size=PHONE)
    page.locator("input[name=seat]").fill("X9")
    page.locator("input[name=name]").fill("Testim Provi")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row", name="X9")).to_contain_text("Testim Provi")
    page.goto(url + ONE)
    expect(page.locator("#lines .speaker").last).to_have_text("Testim Provi")
    page.goto(f"{url}/assembly")
    page.locator("textarea").fill("seat,name,group,chair\nC1,Besa Provi,,yes\nB7,Ivan Probić,Lista,no\n")
    page.get_by_role("button", name="Import").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Remove B7").click()
    expect(page.locator("tbody tr")).to_have_count(1)
