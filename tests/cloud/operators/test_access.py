"""Refusal by default, CSRF and foreign origins."""

from fastapi import APIRouter, Form, Request
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse

from cloud.operators.access import current_operator, public

router = APIRouter()


@router.get("/open")
@public
def open_to_all() -> PlainTextResponse:
    return PlainTextResponse("open")


@router.get("/staff")
def staff(request: Request) -> PlainTextResponse:
    return PlainTextResponse(current_operator(request).name)


@router.get("/api/v1/staff")
def staff_api(request: Request) -> dict[str, str]:
    return {"name": current_operator(request).name}


@router.post("/staff")
def change(request: Request, word: str = Form()) -> PlainTextResponse:
    return PlainTextResponse(word)


def test_a_stranger_gets_public_endpoints_only(pages_app):
    client = TestClient(pages_app(router), follow_redirects=False)
    assert client.get("/open").text == "open"
    assert client.get("/static/style.css").status_code == 200
    answer = client.get("/staff")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/staff")
    answer = client.get("/api/v1/staff")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not-signed-in"
    assert client.get("/openapi.json").status_code == 404


def test_an_operator_is_known(pages_app, sign_in):
    staff = sign_in(pages_app(router))
    assert staff.client.get("/staff").text == "ana"
    assert staff.client.get("/staff").headers["cache-control"] == "no-store"


def test_a_change_needs_the_csrf_token(pages_app, sign_in):
    staff = sign_in(pages_app(router))
    assert staff.client.post("/staff", data={"word": "x"}).status_code == 403
    assert staff.client.post("/staff", data={"word": "x", "csrf": "wrong"}).status_code == 403
    assert staff.client.post("/staff", data={"word": "x", "csrf": staff.csrf}).text == "x"
    assert staff.client.post("/staff", data={"word": "y"}, headers=staff.headers).text == "y"


def test_another_site_cannot_change_anything(pages_app, sign_in):
    staff = sign_in(pages_app(router))
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = staff.client.post("/staff", data={"word": "x", "csrf": staff.csrf}, headers=headers)
        assert answer.status_code == 403


def test_a_session_ends_when_idle_and_when_old(pages_app, sign_in, clock):
    staff = sign_in(pages_app(router))
    for _ in range(13):
        clock.forward(59 * 60)
        if clock.at.hour >= 21:
            break
        assert staff.client.get("/staff").status_code == 200
    assert staff.client.get("/staff").status_code == 303
    idle = sign_in(pages_app(router), "idle")
    clock.forward(61 * 60)
    assert idle.client.get("/staff").status_code == 303


def test_a_body_that_is_too_large_is_refused(pages_app, sign_in):
    staff = sign_in(pages_app(router))
    answer = staff.client.post("/staff", data={"word": "x" * 70_000}, headers=staff.headers)
    assert answer.status_code == 413
    assert "That is too large" in answer.text
