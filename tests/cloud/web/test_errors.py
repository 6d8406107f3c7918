"""What people and programs get when something goes wrong."""

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from pydantic import BaseModel

from cloud.errors import MalformedError, RefusedError, UnavailableError
from cloud.web import front
from cloud.web.application import build
from cloud.web.problems import ProblemError
from cloud.web.public import public

router = APIRouter()
ERRORS = {
    "refused": (RefusedError("too late"), 409),
    "malformed": (MalformedError("not a number"), 400),
    "unavailable": (UnavailableError("the registry is silent"), 503),
    "problem": (ProblemError(402, "pay first", code="payment"), 402),
    "bug": (KeyError("secret value"), 500),
}


class Body(BaseModel):
    number: int


@router.get("/{lang}/fail/{how}")
@public
def fail_page(how: str) -> None:
    raise ERRORS[how][0]


@router.get("/api/v1/fail/{how}")
@public
def fail(how: str) -> None:
    raise ERRORS[how][0]


@router.post("/api/v1/number")
@public
def number(body: Body) -> int:
    return body.number


@pytest.fixture
def browser(pages_app):
    return TestClient(pages_app(router), raise_server_exceptions=False)


@pytest.mark.parametrize("how", list(ERRORS))
def test_programs_get_a_problem_document(browser, how):
    answer = browser.get(f"/api/v1/fail/{how}")
    error, status = ERRORS[how]
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["title"]
    assert problem.get("detail") == (None if how == "bug" else str(error))


def test_people_get_a_page_in_their_language(browser):
    for lang in ("sq", "sr-Latn", "sr-Cyrl", "en"):
        answer = browser.get(f"/{lang}/fail/refused")
        assert answer.status_code == 409
        assert f'<html lang="{lang}">' in answer.text
        assert "too late" not in answer.text


def test_a_bug_shows_nothing_of_itself(browser, caplog):
    answer = browser.get("/en/fail/bug")
    assert answer.status_code == 500
    assert "secret value" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert [record.message for record in caplog.records] == ["request_failed"]


def test_unknown_addresses_and_languages(browser):
    assert browser.get("/sr-Cyrl/nothing").status_code == 404
    assert '<html lang="sr-Cyrl">' in browser.get("/sr-Cyrl/nothing").text
    assert browser.get("/xx/fail/refused").status_code == 409
    assert browser.get("/api/v1/nothing").json()["status"] == 404
    assert browser.delete("/api/v1/number").status_code == 405


def test_a_wrong_body_is_explained_without_repeating_it(browser):
    answer = browser.post("/api/v1/number", json={"number": "my secret"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body.number"
    assert "my secret" not in answer.text


def test_a_body_without_a_length_is_limited_too(browser):
    def body():
        for _ in range(100):
            yield b"x" * 1000

    answer = browser.post("/api/v1/number", content=body(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["status"]) == (413, 413)


def test_a_listener_without_pages_answers_problem_documents_only():
    client = TestClient(build("device", [router]), raise_server_exceptions=False)
    answer = client.get("/en/fail/refused")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")


def test_every_page_has_the_headers_that_protect_it(browser):
    headers = browser.get("/en/nothing").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]


def test_health_is_503_while_a_part_is_down(pages_app):
    up = {"database": True, "broker": True}
    app = pages_app(front.router({name: (lambda name=name: up[name]) for name in up}, secure=False))
    browser = TestClient(app, follow_redirects=False)
    assert browser.get("/healthz").json() == {"ok": True, "parts": {"database": True, "broker": True}}
    up["broker"] = False
    assert browser.get("/healthz").status_code == 503


def test_the_first_page_and_the_choice_of_a_language(pages_app):
    browser = TestClient(pages_app(front.router({}, secure=False)), follow_redirects=False)
    answer = browser.get("/", headers={"Accept-Language": "sr-Latn"})
    assert answer.headers["location"] == "/sr-Latn/captions"
    answer = browser.post("/language", data={"language": "en", "next": "/sign-in"})
    assert answer.headers["location"] == "/sign-in"
    assert browser.get("/").headers["location"] == "/en/captions"
    browser.post("/language", data={"language": "xx", "next": "//evil.example"})
    assert browser.get("/").headers["location"] == "/en/captions"
