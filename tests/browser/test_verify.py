"""The verification page and the staff's documents, used as people use them."""

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
from cloud.documents import staff, verify
from cloud.documents.render_typst import TypstRenderer
from cloud.operators import access
from cloud.web import front
from cloud.web.application import build_pages
from cloud.web.pages import Pages
from contract.documents import PrintOutcome
from contract.languages import LANGUAGES
from tests.browser.conftest import NewPage, Serve
from tests.browser.looking import PHONE, SIZES, look_ok
from tests.cloud.conftest import Clock
from tests.cloud.documents import papers
from tests.cloud.documents.desk import KINDS, KIOSK, Desk

BROWSER = {"sr-Latn": "sr-Latn-RS", "sr-Cyrl": "sr-Cyrl-RS"}


@dataclass
class Hall:
    """A control plane with one paper handed out, one in doubt and some others."""

    app: FastAPI
    code: str
    pdf: Path
    doubtful: str
    desk: Desk
    session: str


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    complete().create_all(engine)
    clock = Clock()
    desk = Desk(sessionmaker(engine, expire_on_commit=False), clock, str(tmp_path))
    desk.documents._render = TypstRenderer()
    desk.documents._seal = papers.sealer(tmp_path / "pki")
    app = build_pages(
        "test",
        [
            front.router({}, secure=False),
            verify.router(desk.sessions, KINDS, clock=clock),
            staff.router(desk.documents),
        ],
        pages=Pages(),
        secure=False,
    )
    access.protect(app, desk.sessions, now=clock, secure=False)
    with desk.open():
        done, doubtful = desk.paid(1), desk.paid(2)
        pdf = tmp_path / "paper.pdf"
        pdf.write_bytes(desk.counter.paper(KIOSK, done))
        desk.evidence(done, PrintOutcome.PRINTED)
        desk.wait(done, "closed")
        desk.evidence(doubtful, PrintOutcome.PRINTING, ipp_job_id=4, ipp_job_state=5)
        desk.evidence(doubtful, PrintOutcome.IN_DOUBT, ipp_job_state=6, reasons=["media-jam-error"], sheets=0)
        desk.priced(3)
        code = str(desk.row(done).code)
        yield Hall(app, code, pdf, doubtful, desk, _signed_in(desk, clock))
    engine.dispose()


def _signed_in(desk: Desk, clock: Clock) -> str:
    token = secrets.token_urlsafe(16)
    with desk.sessions.begin() as session:
        operator = Operator(
            name="ana",
            password_hash="",
            role="administrator",
            must_change_password=False,
            created_at=clock.at,
        )
        session.add(operator)
        session.flush()
        session.add(
            OperatorSession(
                token_sha256=access.token_digest(token),
                operator_id=operator.id,
                created_at=clock.at,
                seen_at=clock.at,
            )
        )
    return token


def choose(page: Page, path: Path, outcome: str) -> None:
    page.locator("input[type=file]").set_input_files(path)
    expect(page.locator(f"[data-compared={outcome}]")).to_be_visible()
    expect(page.locator("[data-compared]:visible")).to_have_count(1)


@pytest.mark.parametrize("size", ["phone", "desktop"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_paper_is_verified(hall: Hall, serve: Serve, new_page: NewPage, lang: str, size: str) -> None:
    page = new_page(SIZES[size], locale=BROWSER.get(lang, lang))
    url = serve(hall.app).url
    page.goto(f"{url}/verify")
    expect(page).to_have_url(f"{url}/{lang}/verify")
    look_ok(page, f"verify-{lang}")
    page.locator("input[name=code]").fill("none of our codes")
    page.locator("main form button").click()
    expect(page.locator("[role=alert]")).to_be_visible()
    page.civic_errors.clear()  # type: ignore[attr-defined] # the browser reports the 404, which is meant
    look_ok(page, f"verify-unknown-{lang}")
    page.goto(f"{url}/v/{hall.code}")
    expect(page).to_have_url(f"{url}/{lang}/verify/{hall.code}")
    expect(page.locator("dl.facts")).to_contain_text("PR-2026-000001")
    choose(page, hall.pdf, "same")
    look_ok(page, f"verify-paper-{lang}")
    changed = hall.pdf.with_name("changed.pdf")
    changed.write_bytes(hall.pdf.read_bytes().replace(b"/Title", b"/Titel", 1) + b"\n")
    choose(page, changed, "different")
    look_ok(page, f"verify-changed-{lang}")


def test_the_file_never_leaves_the_device(hall: Hall, serve: Serve, new_page: NewPage) -> None:
    page = new_page(PHONE, locale="en")
    page.goto(f"{serve(hall.app).url}/en/verify/{hall.code}")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method != "GET" else None)
    choose(page, hall.pdf, "same")
    page.locator("#compare button").click()
    choose(page, hall.pdf, "same")
    assert sent == []
    expect(page.locator("[data-local]")).to_be_visible()
    expect(page.locator("[data-remote]")).to_be_hidden()


def test_without_scripts_it_works_too(hall: Hall, serve: Serve, new_page: NewPage) -> None:
    page = new_page(PHONE, locale="en", java_script_enabled=False)
    page.goto(f"{serve(hall.app).url}/en/verify/{hall.code}")
    assert page.locator("[data-remote]").is_visible()
    page.locator("input[type=file]").set_input_files(hall.pdf)
    page.locator("#compare button").click()
    page.wait_for_load_state()
    assert page.locator("[data-compared=same]").is_visible()
    assert page.locator("[data-compared=different]").is_hidden()


def test_the_page_is_used_by_keyboard(hall: Hall, serve: Serve, new_page: NewPage) -> None:
    page = new_page(locale="en")
    page.goto(f"{serve(hall.app).url}/en/verify")
    page.locator("input[name=code]").focus()
    page.keyboard.type(hall.code.lower())
    page.keyboard.press("Enter")
    expect(page.locator(".notice.good").first).to_be_visible()


@pytest.mark.parametrize("size", ["phone", "desktop"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_staff_decide_a_doubt(hall: Hall, serve: Serve, new_page: NewPage, lang: str, size: str) -> None:
    page = new_page(SIZES[size], locale=BROWSER.get(lang, lang))
    url = serve(hall.app).url
    page.context.add_cookies([{"name": access.cookie_name(secure=False), "value": hall.session, "url": url}])
    page.goto(f"{url}/documents")
    expect(page.locator("article")).to_have_count(1)
    expect(page.locator("article")).to_contain_text("media-jam-error")
    look_ok(page, f"documents-{lang}")
    page.locator("article form button").first.click()
    expect(page.locator("article")).to_have_count(0)
    assert hall.desk.wait(hall.doubtful, "closed").payment == "captured"
    page.reload()
    look_ok(page, f"documents-decided-{lang}")
