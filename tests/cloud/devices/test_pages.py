"""The registry as a list, and by JSON in pages."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.devices import Device
from cloud.devices import pages
from tests.cloud.conftest import Clock, Staff


@pytest.fixture
def app(sessions: sessionmaker[Session], clock: Clock, pages_app: Callable[..., FastAPI]) -> FastAPI:
    with sessions.begin() as session:
        for number in range(5):
            session.add(
                Device(
                    device=f"kiosk-{number:02}",
                    kind="kiosk",
                    site="Prishtina",
                    registered_at=clock.at - timedelta(days=1),
                    decommissioned_at=clock.at if number == 4 else None,
                    presence="online" if number == 0 else "offline",
                    presence_at=clock.at if number == 0 else None,
                    agent="0.1.0" if number == 0 else "",
                )
            )
    return pages_app(pages.router(sessions, []))


def test_the_list_says_who_is_there(app: FastAPI, sign_in: Callable[..., Staff]) -> None:
    page = sign_in(app).client.get("/devices").text
    assert page.count("Not connected") == 3
    assert "taken out of service" in page
    assert "0.1.0" in page


def test_the_json_list_is_paged_by_cursor(app: FastAPI, sign_in: Callable[..., Staff]) -> None:
    client = sign_in(app).client
    first = client.get("/api/v1/devices?limit=3").json()
    assert [each["device"] for each in first["devices"]] == ["kiosk-00", "kiosk-01", "kiosk-02"]
    rest = client.get(f"/api/v1/devices?limit=3&cursor={first['next']}").json()
    assert ([each["device"] for each in rest["devices"]], rest["next"]) == (["kiosk-03", "kiosk-04"], None)
    assert client.get("/api/v1/devices/kiosk-00").json()["presence"] == "online"
    assert client.get("/api/v1/devices/ghost-01").status_code == 404
    assert client.get("/api/v1/devices?limit=0").status_code == 422


def test_strangers_see_nothing(app: FastAPI) -> None:
    stranger = TestClient(app, follow_redirects=False)
    assert stranger.get("/devices").status_code == 303
    assert stranger.get("/api/v1/devices").status_code == 401
