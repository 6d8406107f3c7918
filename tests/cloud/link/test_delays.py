"""Devices are told to wait for a planned maintenance: who is there, who comes, until it is over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.link import ToldDelay
from cloud.database.models.operators import AuditEntry
from cloud.link import delay_pages
from cloud.link import delays as module
from cloud.link.delays import CLEAR, Delays
from contract.link import Reconnect, check_reconnect
from contract.messages import read
from tests.cloud.conftest import Clock, Staff
from tests.cloud.link.conftest import Register


@dataclass
class Sent:
    """What was published: device, message, seconds after which the broker drops it."""

    connected: bool = True
    told: list[tuple[str, Reconnect, int | None]] = field(default_factory=list)

    def publish(
        self, topic_name: str, ids: dict[str, str], payload: bytes, *, expiry_s: int | None = None
    ) -> None:
        assert topic_name == "reconnect"
        message = read(payload, Reconnect)
        check_reconnect(message)
        self.told.append((ids["device"], message, expiry_s))

    def take(self) -> list[tuple[str, Reconnect, int | None]]:
        told, self.told = self.told, []
        return told


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def delays(sessions: sessionmaker[Session], sent: Sent, clock: Clock) -> Delays:
    return Delays(sessions, sent.publish, lambda: sent.connected, clock)


@pytest.fixture
def staff(delays: Delays, pages_app: Callable[..., FastAPI], sign_in: Callable[..., Staff]) -> Staff:
    return sign_in(pages_app(delay_pages.router(delays), delay_pages.api_router(delays)))


def tell(staff: Staff, key: str = "k", **changes: object) -> str:
    """Tell the fleet by the API to wait 60 to 300 s for an hour."""
    wanted = {"site": "", "min_s": 60, "max_s": 300, "valid_s": 3600} | changes
    answer = staff.client.post(
        "/api/v1/delays", json=wanted, headers={**staff.headers, "Idempotency-Key": key}
    )
    assert answer.status_code == 201, answer.text
    delay: str = answer.json()["delay"]
    return delay


def wait(valid_s: float, min_s: float = 60.0, max_s: float = 300.0) -> Reconnect:
    return Reconnect(min_s=min_s, max_s=max_s, valid_s=valid_s)


def test_who_is_there_is_told_once_and_who_comes_is_told_then(
    staff: Staff, delays: Delays, sent: Sent, register: Register, clock: Clock
) -> None:
    register("kiosk-01", "kiosk-02")
    register("kiosk-03", presence="offline")
    tell(staff)
    delays.sweep()
    assert sent.take() == [(name, wait(3600), 3600) for name in ("kiosk-01", "kiosk-02")]
    delays.sweep()
    assert sent.take() == []
    clock.forward(600)
    delays.on_online("kiosk-03")
    assert sent.take() == [("kiosk-03", wait(3000), 3000)]
    clock.forward(3000)
    delays.on_online("kiosk-03")
    delays.on_online("nobody")
    delays.sweep()
    assert sent.take() == [], "it is over"


def test_a_site_is_told_and_no_other(
    staff: Staff, delays: Delays, sent: Sent, register: Register, clock: Clock
) -> None:
    register("kiosk-01")
    register("kiosk-02", site="Peja")
    tell(staff, site="Peja")
    delays.sweep()
    delays.on_online("kiosk-01")
    assert [device for device, _, _ in sent.take()] == ["kiosk-02"]
    clock.forward(1)
    tell(staff, key="all", min_s=0, max_s=10)
    delays.sweep()
    assert sent.take() == [(name, wait(3600, 0, 10), 3600) for name in ("kiosk-01", "kiosk-02")]


def test_ending_it_takes_it_back(
    staff: Staff,
    delays: Delays,
    sent: Sent,
    register: Register,
    sessions: sessionmaker[Session],
    clock: Clock,
) -> None:
    register("kiosk-01")
    delay = tell(staff)
    delays.sweep()
    sent.take()
    ended = staff.client.post(f"/api/v1/delays/{delay}/end", headers=staff.headers)
    assert ended.json()["ended_by"] == "ana"
    clock.forward(2)
    staff.client.post(f"/api/v1/delays/{delay}/end", headers=staff.headers)
    delays.sweep()
    assert sent.take() == [("kiosk-01", CLEAR, 10)]
    delays.on_online("kiosk-01")
    delays.sweep()
    assert sent.take() == []
    with sessions() as session:
        entries = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)).all()
        assert [(entry.action, entry.subject, entry.actor) for entry in entries] == [
            ("tell-delay", delay, "ana"),
            ("end-delay", delay, "ana"),
        ]
        assert entries[0].details == {"site": "", "min_s": 60, "max_s": 300, "valid_s": 3600}


def test_ending_one_leaves_the_other(
    staff: Staff, delays: Delays, sent: Sent, register: Register, clock: Clock
) -> None:
    register("kiosk-01")
    tell(staff)
    clock.forward(10)
    second = tell(staff, key="second", min_s=1, max_s=2)
    delays.sweep()
    staff.client.post(f"/api/v1/delays/{second}/end", headers=staff.headers)
    sent.take()
    delays.sweep()
    assert sent.take() == [("kiosk-01", wait(3590), 3590)]


def test_a_large_fleet_is_told_in_portions_and_a_crash_starts_none_anew(
    staff: Staff,
    delays: Delays,
    sent: Sent,
    sessions: sessionmaker[Session],
    register: Register,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PORTION", 2)
    names = [f"kiosk-{number:02}" for number in range(5)]
    register(*names)
    tell(staff)
    delays.sweep()
    again = Delays(sessions, sent.publish, lambda: True, clock)
    again.sweep()
    again.sweep()
    again.sweep()
    assert [device for device, _, _ in sent.take()] == names


def test_without_a_broker_nobody_is_told_yet(
    staff: Staff, delays: Delays, sent: Sent, register: Register
) -> None:
    register("kiosk-01")
    tell(staff)
    sent.connected = False
    delays.sweep()
    assert sent.take() == []
    sent.connected = True
    delays.sweep()
    assert len(sent.take()) == 1


def test_what_no_device_would_keep_to_is_refused(
    staff: Staff, register: Register, sessions: sessionmaker[Session]
) -> None:
    register("kiosk-01")
    for status, wrong in (
        (400, {"min_s": 300, "max_s": 60}),
        (422, {"max_s": 901}),
        (422, {"valid_s": 86_401}),
        (422, {"valid_s": 0}),
        (409, {"site": "Atlantis"}),
    ):
        wanted = {"site": "", "min_s": 0, "max_s": 60, "valid_s": 60} | wrong
        headers = {**staff.headers, "Idempotency-Key": "k"}
        answer = staff.client.post("/api/v1/delays", json=wanted, headers=headers)
        assert answer.status_code == status, answer.text
        assert answer.json()["detail"]
    with sessions() as session:
        assert session.scalars(sa.select(ToldDelay)).all() == []
        assert session.scalars(sa.select(AuditEntry)).all() == []


def test_the_same_request_begins_one_delay(staff: Staff, register: Register) -> None:
    register("kiosk-01")
    assert tell(staff) == tell(staff)
    listed = staff.client.get("/api/v1/delays").json()
    assert len(listed["delays"]) == 1
    assert listed["next"] is None


def test_the_list_is_paged_by_cursor(staff: Staff, register: Register, clock: Clock) -> None:
    register("kiosk-01")
    made = []
    for number in range(5):
        made.append(tell(staff, key=str(number)))
        if number % 2:
            clock.forward(1)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = staff.client.get(f"/api/v1/delays?limit=2&cursor={cursor}").json()
        seen += [each["delay"] for each in page["delays"]]
        cursor = page["next"]
    assert sorted(seen) == sorted(made)
    assert seen[0] == made[4]
    assert staff.client.get("/api/v1/delays?cursor=nothing").json() == {"delays": [], "next": None}


def test_an_operator_begins_and_ends_one_on_the_page(
    staff: Staff, register: Register, clock: Clock, sessions: sessionmaker[Session]
) -> None:
    register("kiosk-01")
    page = staff.client.get("/maintenance").text
    assert "Prishtina" in page
    form = {
        "csrf": staff.csrf,
        "key": "page",
        "site": "",
        "min_minutes": "1",
        "max_minutes": "5",
        "valid_minutes": "60",
    }
    assert staff.client.post("/maintenance", data=form).status_code == 303
    with sessions() as session:
        (row,) = session.scalars(sa.select(ToldDelay)).all()
    assert (row.min_s, row.max_s, row.until) == (60, 300, clock.at + timedelta(hours=1))
    page = staff.client.get("/maintenance").text
    assert "1.0 to 5.0 min" in page
    assert "Devices are told to stay away" in page
    ended = staff.client.post(f"/maintenance/{row.delay}/end", data={"csrf": staff.csrf})
    assert ended.status_code == 303
    assert "ended by ana" in staff.client.get("/maintenance").text
    assert staff.client.post("/maintenance/none/end", data={"csrf": staff.csrf}).status_code == 404
    wrong = staff.client.post("/maintenance", data=form | {"max_minutes": "0"})
    assert wrong.status_code == 303, "the same key is the same delay"
    wrong = staff.client.post("/maintenance", data=form | {"key": "other", "max_minutes": "0"})
    assert wrong.status_code == 400
    assert "check what you entered" in wrong.text
