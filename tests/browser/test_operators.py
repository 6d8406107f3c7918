"""Signing in, the first password, the audit and the error pages, in a browser."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from playwright.sync_api import Page, expect
from sqlalchemy.orm import sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.operators import access
from cloud.operators import pages as operator_pages
from cloud.operators.access import Actor, audit
from cloud.operators.accounts import Accounts
from cloud.operators.roles import Role
from cloud.web import front
from cloud.web.application import build_pages
from cloud.web.pages import Pages
from contract.languages import LANGUAGES, NAMES
from tests.browser.conftest import NewPage, Serve
from tests.browser.looking import PHONE, SIZES, look_ok

ONE_TIME = "one-time-password"
OWN = "kalaja e Prizrenit"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    """The operators' pages; `ana` has a one-time password, and 60 things were done."""
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    complete().create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    accounts = Accounts(sessions, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    accounts.create("ana", ONE_TIME, now(), Role.ADMINISTRATOR)
    with sessions.begin() as session:
        for i in range(60):
            what: dict[str, Any] = {"operation": "collect-diagnostics", "devices": 16}
            audit(session, Actor("ana", now() - timedelta(minutes=60 - i)), "create-job", f"job-{i:03}", what)
    routers = [
        front.router({}, secure=False),
        operator_pages.router(sessions, accounts, now=now, secure=False),
    ]
    made = build_pages("test", routers, pages=Pages(), secure=False)
    access.protect(made, sessions, now=now, secure=False)
    yield made
    engine.dispose()


def sign_in(page: Page, password: str) -> None:
    page.locator("input[name=name]").fill("ana")
    page.locator("input[name=password]").fill(password)
    page.locator("main form button").click()


@pytest.mark.parametrize("size", ["phone", "desktop"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_from_the_one_time_password_to_the_audit(
    app: FastAPI, serve: Serve, new_page: NewPage, lang: str, size: str
) -> None:
    page = new_page(SIZES[size], locale={"sr-Latn": "sr-Latn-RS", "sr-Cyrl": "sr-Cyrl-RS"}.get(lang, lang))
    url = serve(app).url
    page.goto(f"{url}/audit")
    expect(page).to_have_url(f"{url}/sign-in?next=/audit")
    assert page.locator("html").get_attribute("lang") == lang
    look_ok(page, f"sign-in-{lang}")
    sign_in(page, ONE_TIME)
    expect(page).to_have_url(f"{url}/password")
    look_ok(page, f"password-{lang}")
    for field, value in {"old": ONE_TIME, "new": OWN, "again": OWN}.items():
        page.locator(f"input[name={field}]").fill(value)
    page.locator("main form button").click()
    expect(page).to_have_url(f"{url}/status")
    page.civic_errors.clear()  # type: ignore[attr-defined] # that page is another's and not served here
    page.goto(f"{url}/audit")
    expect(page.locator("tbody tr")).to_have_count(50)
    look_ok(page, f"audit-{lang}")
    page.locator(".pager a").first.click()
    expect(page.locator("tbody tr")).to_have_count(12)


def test_what_is_wrong_is_said_where_it_is_seen_and_heard(
    app: FastAPI, serve: Serve, new_page: NewPage
) -> None:
    page = new_page(PHONE, locale="sq")
    url = serve(app).url
    page.goto(f"{url}/sign-in")
    sign_in(page, "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    page.civic_errors.clear()  # type: ignore[attr-defined] # the browser notes the 403 itself
    look_ok(page, "sign-in-refused-sq")
    sign_in(page, ONE_TIME)
    for field, value in {"old": ONE_TIME, "new": OWN, "again": "another password"}.items():
        page.locator(f"input[name={field}]").fill(value)
    page.locator("main form button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.civic_errors.clear()  # type: ignore[attr-defined] # the browser notes the 422 itself
    look_ok(page, "password-refused-sq")


def test_the_language_is_changed_and_kept(app: FastAPI, serve: Serve, new_page: NewPage) -> None:
    page = new_page(PHONE, locale="de")
    url = serve(app).url
    page.goto(f"{url}/sign-in")
    for lang in LANGUAGES:
        page.get_by_role("button", name=NAMES[lang], exact=True).click()
        expect(page.locator("html")).to_have_attribute("lang", lang)
        expect(page).to_have_url(f"{url}/sign-in")
    page.goto(f"{url}/audit")
    expect(page.locator("html")).to_have_attribute("lang", "en")


@pytest.mark.parametrize("size", SIZES)
def test_dark_colours_are_chosen_once(app: FastAPI, serve: Serve, new_page: NewPage, size: str) -> None:
    page = new_page(SIZES[size], locale="en", color_scheme="light")
    url = serve(app).url
    page.goto(f"{url}/sign-in")
    toggle = page.get_by_role("button", name="Dark colours")
    expect(toggle).to_have_attribute("aria-pressed", "false")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    look_ok(page, "sign-in-dark")


def test_by_keyboard_alone(app: FastAPI, serve: Serve, new_page: NewPage) -> None:
    page = new_page(PHONE, locale="en")
    page.goto(f"{serve(app).url}/sign-in")
    expect(page.locator("input[name=name]")).to_be_focused()
    page.keyboard.type("ana")
    page.keyboard.press("Tab")
    page.keyboard.type(ONE_TIME)
    page.keyboard.press("Enter")
    expect(page.locator("input[name=old]")).to_be_visible()
    page.locator("body").evaluate("body => { body.tabIndex = -1; body.focus() }")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_an_error_page_is_fit_to_look_at(app: FastAPI, serve: Serve, new_page: NewPage, lang: str) -> None:
    page = new_page(PHONE)
    page.goto(f"{serve(app).url}/{lang}/nothing")
    assert page.locator("html").get_attribute("lang") == lang
    page.civic_errors.clear()  # type: ignore[attr-defined] # the browser notes the 404 itself
    look_ok(page, f"not-found-{lang}")
