"""The pages as the server gives them: without script, in every language, and only to whom they are meant."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from cloud.captions import pages, sittings, staff
from cloud.captions.run import Captions
from cloud.database.models.operators import AuditEntry
from contract.languages import LANGUAGES
from tests.cloud.captions.conftest import Clerk, Recorder
from tests.cloud.conftest import Staff

MakeApp = Callable[..., FastAPI]
SignIn = Callable[[FastAPI], Staff]


@pytest.fixture
def app(pages_app: MakeApp, captions: Captions) -> FastAPI:
    return pages_app(pages.router(captions), staff.router(captions))


@pytest.fixture
def public(app: FastAPI) -> TestClient:
    return TestClient(app, follow_redirects=False)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_finals_stand_in_the_page_without_script(
    lang: str, public: TestClient, clerk: Clerk, recorder: Recorder
) -> None:
    session = clerk.open(title="Kuvendi <i>")
    recorder.final(session, 1, "Good & evening")
    page = public.get(f"/{lang}/captions/{session}")
    assert page.status_code == 200
    assert '<li data-segment="1" lang="en">Good &amp; evening</li>' in page.text
    assert 'data-last="1"' in page.text
    assert "<i>" not in page.text
    assert f'<html lang="{lang}">' in page.text
    assert "Kuvendi" in public.get(f"/{lang}/captions").text
    assert "Good &amp; evening" in public.get(f"/{lang}/captions/{session}/transcript").text


def test_the_page_keeps_at_most_fifty_lines_and_the_transcript_all(
    public: TestClient, clerk: Clerk, recorder: Recorder
) -> None:
    session = clerk.open()
    for number in range(1, 61):
        recorder.final(session, number, f"line {number}.")
    assert public.get(f"/en/captions/{session}").text.count("<li data-segment") == 50
    assert public.get(f"/en/captions/{session}/transcript").text.count(">line ") == 60


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([], "has not begun yet"),
        (["open"], "as soon as somebody speaks"),
        (["open", "pause"], "is paused"),
        (["open", "close-to-public"], "court proceedings are discussed"),
        (["open", "end"], "has ended"),
    ],
)
def test_a_page_without_text_says_why(
    events: list[str], sentence: str, public: TestClient, clerk: Clerk
) -> None:
    session = clerk.plan()
    for event in events:
        clerk.do(session, event, "court-proceedings")
    page = public.get(f"/en/captions/{session}").text
    shown = page.split('id="why"')[1].split("</p>")[0]
    assert sentence in shown


def test_unknown_sittings_and_events_are_answered_with_a_sentence(public: TestClient, clerk: Clerk) -> None:
    session = clerk.open()
    assert public.get("/en/captions/nowhere").status_code == 404
    for path in ("nowhere/floor", f"{session}/gallery"):
        answer = public.get(f"/api/v1/captions/{path}/events")
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    bad = public.get(f"/api/v1/captions/{session}/floor/events", headers={"Last-Event-ID": "1; DROP"})
    assert (bad.status_code, bad.json()["code"]) == (400, "malformed")


def test_programs_get_the_list_too(public: TestClient, clerk: Clerk) -> None:
    session = clerk.open()
    assert public.get("/api/v1/captions").json() == {
        "items": [
            {
                "session": session,
                "channel": "floor",
                "hall": "hall-01",
                "title": "Assembly",
                "lang": "en",
                "state": "open",
            }
        ]
    }


def test_strangers_change_nothing(public: TestClient, clerk: Clerk, captions: Captions) -> None:
    session = clerk.plan()
    assert public.get("/sittings").headers["location"].startswith("/sign-in")
    assert public.post(f"/sittings/{session}/open").status_code in (303, 403)
    with captions.sessions() as database:
        assert sittings.find(database, session).state == "planned"


def test_the_clerk_leads_a_sitting_through_its_life(
    app: FastAPI, sign_in: SignIn, captions: Captions, sessions: sessionmaker[Session]
) -> None:
    browser = sign_in(app)
    form = {"csrf": browser.csrf, "device": "hall-01", "title": " Kuvendi  i komunës ", "lang": "sq"}
    assert browser.client.post("/sittings", data=form).headers["location"] == "/sittings"
    with captions.sessions() as database:
        (sitting,) = sittings.listed(database)
        session = sitting.session
        assert sitting.title == "Kuvendi i komunës"
    page = browser.client.get("/sittings").text
    assert f"/sittings/{session}/open" in page
    assert f"/sittings/{session}/pause" not in page
    steps = [
        ("open", "", 303),
        ("pause", "", 303),
        ("open", "", 303),
        ("close-to-public", "", 409),
        ("close-to-public", "public-order", 303),
        ("end", "", 303),
        ("open", "", 409),
    ]
    for event, reason, status in steps:
        answer = browser.client.post(
            f"/sittings/{session}/{event}", data={"csrf": browser.csrf, "reason": reason, "note": "n"}
        )
        assert answer.status_code == status, (event, reason)
    with sessions() as database:
        entries = [entry.action for entry in database.query(AuditEntry).order_by(AuditEntry.id)]
    assert entries == [
        "create-sitting",
        "open-sitting",
        "pause-sitting",
        "open-sitting",
        "close-to-public-sitting",
        "end-sitting",
    ]


def test_a_change_needs_the_token_of_the_form(app: FastAPI, sign_in: SignIn, clerk: Clerk) -> None:
    session = clerk.plan()
    assert sign_in(app).client.post(f"/sittings/{session}/open").status_code == 403
