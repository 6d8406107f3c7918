"""The pages of accounts and tokens, and the refused page, in a browser."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.operators import Operator, OperatorSession
from cloud.devices import pages as device_pages
from cloud.operators import access, account_pages, token_pages
from cloud.operators import pages as operator_pages
from cloud.operators.accounts import Accounts
from cloud.operators.roles import Role
from cloud.web import front
from cloud.web.application import build_pages
from cloud.web.pages import Pages
from contract.languages import LANGUAGES
from tests.browser.conftest import NewPage, Serve
from tests.browser.looking import SIZES, look_ok

LOCALES = {"sr-Latn": "sr-Latn-RS", "sr-Cyrl": "sr-Cyrl-RS"}
PEOPLE = {"ana": Role.ADMINISTRATOR, "besa": Role.OPERATOR, "dragan": Role.CLERK}


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[sessionmaker[Session]]:
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    complete().create_all(engine)
    made = sessionmaker(engine, expire_on_commit=False)
    with made.begin() as session:
        for number, (name, role) in enumerate(PEOPLE.items()):
            operator = Operator(
                name=name,
                password_hash="",
                role=role.value,
                must_change_password=False,
                created_at=now(),
                last_sign_in_at=now() if number else None,
                disabled_at=now() if name == "besa" else None,
            )
            session.add(operator)
            session.flush()
            session.add(
                OperatorSession(
                    token_sha256=access.token_digest(name),
                    operator_id=operator.id,
                    created_at=now(),
                    seen_at=now(),
                )
            )
    yield made
    engine.dispose()


@pytest.fixture
def app(sessions: sessionmaker[Session]) -> FastAPI:
    accounts = Accounts(sessions, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    routers = [
        front.router({}, secure=False),
        operator_pages.router(sessions, accounts, now=now, secure=False),
        account_pages.router(sessions, accounts),
        token_pages.router(sessions),
        device_pages.router(sessions, []),
    ]
    made = build_pages("test", routers, pages=Pages(), secure=False)
    access.protect(made, sessions, now=now, secure=False)
    return made


def come(page: Page, url: str, name: str) -> None:
    page.context.add_cookies([{"name": "session", "value": name, "url": url}])


@pytest.mark.parametrize("size", ["phone", "desktop"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_an_administrator_makes_an_account_and_a_token(
    app: FastAPI, serve: Serve, new_page: NewPage, lang: str, size: str
) -> None:
    page = new_page(SIZES[size], locale=LOCALES.get(lang, lang))
    url = serve(app).url
    come(page, url, "ana")
    page.goto(f"{url}/accounts")
    look_ok(page, f"accounts-{lang}")
    page.locator("main form[action='/accounts'] input[name=name]").fill("drita")
    page.locator("main form[action='/accounts'] select").select_option("operator")
    page.locator("main form[action='/accounts'] button").click()
    expect(page.locator(".token")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(4)
    look_ok(page, f"accounts-made-{lang}")
    page.goto(f"{url}/tokens")
    look_ok(page, f"tokens-{lang}")
    page.locator("input[name=name]").fill("statistics")
    page.locator("input[value='devices:read']").check()
    page.locator("main form[action='/tokens'] button").click()
    expect(page.locator(".token")).to_contain_text("fleet_")
    look_ok(page, f"tokens-made-{lang}")


@pytest.mark.parametrize("size", ["phone", "desktop"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_clerk_is_told_whose_a_page_is(
    app: FastAPI, serve: Serve, new_page: NewPage, lang: str, size: str
) -> None:
    page = new_page(SIZES[size], locale=LOCALES.get(lang, lang))
    url = serve(app).url
    come(page, url, "dragan")
    answer = page.goto(f"{url}/devices")
    assert answer is not None
    assert answer.status == 403
    expect(page.locator("main")).to_contain_text("ana")
    opens = page.locator("nav.main a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert opens == ["/sittings", "/recordings", "/assembly"]
    page.civic_errors.clear()  # type: ignore[attr-defined] # the browser notes the 403 itself
    look_ok(page, f"refused-{lang}")


def test_the_last_administrator_is_told_so_and_stays(app: FastAPI, serve: Serve, new_page: NewPage) -> None:
    page = new_page(SIZES["phone"], locale="sq")
    url = serve(app).url
    come(page, url, "ana")
    page.goto(f"{url}/accounts")
    page.locator("form[action='/accounts/ana/disable'] button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.civic_errors.clear()  # type: ignore[attr-defined] # the browser notes the 409 itself
    look_ok(page, "accounts-last-sq")
