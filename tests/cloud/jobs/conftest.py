"""A job engine whose messages end in a list, and devices that speak to it."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Received
from cloud.database.models.devices import Device
from cloud.jobs.requests import Requests
from cloud.jobs.service import Jobs
from cloud.jobs.sweep import Sweep
from tests.cloud.conftest import Clock


@dataclass
class Fleet:
    """Three devices and their engine; `told` is everything that was published: (device, topic, body)."""

    sessions: sessionmaker[Session]
    clock: Clock
    told: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.jobs = Jobs(sessions=self.sessions, publish=self._publish, clock=self.clock)
        self.sweep = Sweep(self.sessions, self.jobs)
        self.requests = Requests(self.jobs, self._publish)
        with self.sessions.begin() as session:
            for name in ("kiosk-01", "kiosk-02", "recorder-01"):
                session.add(
                    Device(device=name, kind=name[:-3], site="Prishtina", registered_at=self.clock.at)
                )

    def _publish(self, name: str, ids: dict[str, str], payload: bytes) -> None:
        self.told.append((ids["device"], name, msgspec.json.decode(payload)))

    def create(
        self, job: str, *targets: str, retries: int = 0, per_minute: int | None = None, **document: Any
    ) -> bool:
        with self.sessions.begin() as session:
            return self.jobs.create(
                session,
                job,
                {"operation": "restart-agent", **document},
                targets,
                in_progress_timeout_s=60,
                queued_expiry_s=600,
                retries=retries,
                per_minute=per_minute,
            )

    def ask(self, device: str, name: str, body: Any = None, job: str = "") -> list[tuple[str, Any]]:
        """What the device is told after its request on the topic called `name`, in order."""
        self.told.clear()
        payload = body if isinstance(body, bytes) else msgspec.json.encode(body or {})
        ids = {"device": device} | ({"job": job} if job else {})
        handler = {
            "job-get": self.requests.get,
            "job-start-next": self.requests.start_next,
            "job-describe": self.requests.describe,
            "job-update": self.requests.update,
        }[name]
        with self.sessions.begin() as session:
            handler(Received(device, ids, payload, None, self.clock.at, session))
        return [(topic, body) for to, topic, body in self.told if to == device]


@pytest.fixture
def fleet(sessions: sessionmaker[Session], clock: Clock) -> Fleet:
    return Fleet(sessions, clock)
