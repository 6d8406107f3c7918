"""Every route of every listener: strangers get what is public and nothing else."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount

from cloud import main
from cloud.web.public import is_public
from tests.cloud.conftest import sign_in_as

PUBLIC = {
    "/",
    "/healthz",
    "/language",
    "/static",
    "/sign-in",
    "/api/openapi.json",
    "/{lang}/captions",
    "/{lang}/captions/{session}",
    "/{lang}/captions/{session}/transcript",
    "/{lang}/verify",
    "/{lang}/verify/{code}",
    "/verify",
    "/v/{code}",
    "/api/v1/captions",
    "/api/v1/captions/{session}/{channel}/events",
}
"""What anybody may ask for. Whoever makes another thing public writes it here, so that it is seen."""


@pytest.fixture(scope="module")
def pages(ground, ways):
    return main.pages_app(ground, ways)


def path_of(route):
    return re.sub(r"\{\w+(:\w+)?\}", "sq", route.path)


def calls(app):
    """Each route with each of its methods."""
    for route in app.router.routes:
        assert isinstance(route, APIRoute | Mount), f"{route!r} cannot be guarded"
        for method in sorted(getattr(route, "methods", {"GET"})):
            yield route, method


def endpoint(route):
    return route.app if isinstance(route, Mount) else route.endpoint


def test_what_is_public_is_written_down(pages):
    assert {route.path for route, _ in calls(pages) if is_public(endpoint(route))} == PUBLIC


def test_strangers_are_refused_everything_else(pages):
    stranger = TestClient(pages, follow_redirects=False)
    refused = [(route, method) for route, method in calls(pages) if not is_public(endpoint(route))]
    assert len(refused) > 5
    for route, method in refused:
        answer = stranger.request(method, path_of(route))
        if route.path.startswith("/api/"):
            assert answer.status_code == 401, route.path
            assert answer.headers["content-type"] == "application/problem+json"
        else:
            assert answer.status_code == 303, route.path
            assert answer.headers["location"].startswith("/sign-in")


def test_a_session_alone_changes_nothing(pages, ground):
    staff = sign_in_as("ana", pages, ground.sessions, datetime.now(UTC))
    changing = [
        (route, method)
        for route, method in calls(pages)
        if method not in ("GET", "HEAD") and not is_public(endpoint(route))
    ]
    assert changing
    for route, method in changing:
        answer = staff.client.request(method, path_of(route), data={"csrf": "wrong"})
        assert answer.status_code == 403, route.path


def test_pages_are_not_lent_to_other_sites(pages):
    stranger = TestClient(pages, follow_redirects=False)
    for route, method in calls(pages):
        answer = stranger.request(method, path_of(route), headers={"Sec-Fetch-Site": "same-origin"})
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], route.path
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_bootstrap_listener_has_enrolment_and_nothing_else(ground, ways):
    paths = {(method, route.path) for route, method in calls(main.bootstrap_app(ground, ways))}
    assert paths == {
        ("GET", "/.well-known/est/cacerts"),
        ("GET", "/crl.pem"),
        ("POST", "/.well-known/est/simpleenroll"),
        ("POST", "/.well-known/est/simplereenroll"),
    }


def test_the_device_listener_is_closed_without_a_device(ground, ways):
    app = main.device_app(ground, ways)
    stranger = TestClient(app)
    for route, method in calls(app):
        answer = stranger.request(method, path_of(route))
        assert answer.status_code == 403, route.path
        assert method == "HEAD" or answer.json()["code"] == "no-certificate", route.path
    assert stranger.get("/nothing").status_code == 403


def test_templates_and_scripts_hold_nothing_inline():
    """The content policy would stop it; here it is said where it stands."""
    cloud = Path(main.__file__).parent
    for path in cloud.rglob("templates/**/*.html"):
        text = path.read_text()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text), path
        for tag in re.findall(r"<script[^>]*>", text):
            assert "src=" in tag or 'type="application/json"' in tag, f"{path}: {tag}"
