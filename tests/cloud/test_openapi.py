"""What the API says of itself is what it does: read by a person's rules, and tried by schemathesis."""

import secrets
from datetime import UTC, datetime

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.routing import Route

from cloud import main
from cloud.database.models.devices import Device
from cloud.operators import api_tokens
from cloud.operators.roles import scopes_of
from cloud.web import openapi
from cloud.web.public import is_public
from tests.cloud.conftest import sign_in_as

EXAMPLES = 8
ENDLESS = "/api/v1/captions/{session}/{channel}/events"
KIOSK = "kiosk-under-test"


def unguarded(app: FastAPI, device: str) -> FastAPI:
    """The device application as a device sees it that its listener has let in."""
    app.user_middleware = [each for each in app.user_middleware if each.cls.__name__ != "DeviceGuard"]

    @app.middleware("http")
    async def as_device(request, call_next):
        request.state.device = device
        return await call_next(request)

    return app


@pytest.fixture(scope="module")
def staff(ground, ways):
    return sign_in_as("openapi", main.pages_app(ground, ways), ground.sessions, datetime.now(UTC))


@pytest.fixture(scope="module")
def device(ground, ways):
    with ground.sessions.begin() as session:
        session.add(Device(device=KIOSK, kind="kiosk", site="x", registered_at=datetime.now(UTC)))
    return unguarded(main.device_app(ground, ways), KIOSK)


few = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def hold_to_its_word(app, **call):
    """Ask every operation sensible and senseless things; each answer must be one that is described.

    That well-formed requests are accepted is not asked: what they name is not there.
    """
    schema = schemathesis.openapi.from_asgi(openapi.PATH, app).exclude(path=ENDLESS)
    schema.config.generation.update(with_security_parameters=False)  # what `call` brings is sent always
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        sensible, senseless = (
            operation.as_strategy(generation_mode=mode)
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        )

        @few
        @given(case=sensible | senseless)
        def ask(case):
            case.call_and_validate(excluded_checks=[positive_data_acceptance], **call)

        ask()
        tried += 1
    return tried


def test_the_pages_listener_keeps_its_word(staff, monkeypatch):
    # Each operation is also asked with a wrong token; so many within a minute would be answered 429.
    monkeypatch.setattr(api_tokens, "FAILURES_MAX", 100_000)
    cookies = dict(staff.client.cookies)
    assert hold_to_its_word(staff.client.app, headers=staff.headers, cookies=cookies) > 5


def test_it_keeps_its_word_to_programs_with_a_token(staff, ground, monkeypatch):
    """Each operation is tried with wrong tokens, too; so many within a minute would be answered 429."""
    monkeypatch.setattr(api_tokens, "FAILURES_MAX", 100_000)
    app = staff.client.app
    with ground.sessions.begin() as session:
        token = api_tokens.create(
            session,
            "schemathesis",
            scopes_of(app.router.routes),
            1,
            offered=scopes_of(app.router.routes),
            by="openapi",
            now=datetime.now(UTC),
            random=secrets.token_urlsafe(32),
        )
    assert hold_to_its_word(app, headers={"Authorization": f"Bearer {token}"}) > 5


def test_both_ways_in_are_described_as_they_are(staff):
    described = TestClient(staff.client.app).get(openapi.PATH).json()
    schemes = described["components"]["securitySchemes"]
    assert (schemes["session"]["in"], schemes["session"]["name"]) == ("cookie", "session")
    assert (schemes["token"]["type"], schemes["token"]["scheme"]) == ("http", "bearer")
    paths = described["paths"]
    assert paths["/api/v1/jobs"]["post"]["security"] == [{"session": []}, {"token": ["jobs:write"]}]
    assert paths["/api/v1/jobs"]["get"]["security"] == [{"session": []}, {"token": ["jobs:read"]}]
    assert paths["/api/v1/tokens"]["post"]["security"] == [{"session": []}], "no token makes tokens"
    assert "security" not in paths["/api/v1/captions"]["get"]


def test_the_device_listener_keeps_its_word(device):
    assert hold_to_its_word(device) > 5


def test_every_route_of_the_api_is_described(ground, ways, staff, device):
    for app in (staff.client.app, device):
        described = TestClient(app).get(openapi.PATH).json()["paths"]
        served = {
            (route.path_format, method.lower())
            for route in app.router.routes
            if isinstance(route, Route) and route.path.startswith("/api/") and route.path != openapi.PATH
            for method in route.methods
        }
        assert {(path, method) for path, methods in described.items() for method in methods} == served


def test_every_refusal_is_a_problem_document(staff, device):
    for app in (staff.client.app, device):
        for path, methods in TestClient(app).get(openapi.PATH).json()["paths"].items():
            for method, operation in methods.items():
                assert operation.get("summary"), path
                for status, response in operation["responses"].items():
                    if status >= "400":
                        assert list(response["content"]) == [openapi.PROBLEM_MEDIA], (path, method, status)
                    assert response["description"], (path, method, status)


def test_what_is_closed_says_so(staff):
    described = TestClient(staff.client.app).get(openapi.PATH).json()["paths"]
    for route in staff.client.app.router.routes:
        if isinstance(route, Route) and route.path in described:
            closed = not is_public(route.endpoint)
            for operation in described[route.path].values():
                assert ("401" in operation["responses"]) == closed, route.path
