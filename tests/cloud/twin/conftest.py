"""Twins whose messages end in a list, and devices that speak to them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Received
from cloud.database.models.devices import Device
from cloud.database.writing import hold
from cloud.operators.access import Actor
from cloud.twin.requests import Requests
from cloud.twin.service import Twins
from tests.cloud.conftest import Clock


@dataclass
class Fleet:
    """Two devices; `told` is everything that was published: (device, topic, body)."""

    sessions: sessionmaker[Session]
    clock: Clock
    told: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.twins = Twins(sessions=self.sessions, publish=self._publish, clock=self.clock)
        self.requests = Requests(self.twins, self._publish)
        with self.sessions.begin() as session:
            for name in ("kiosk-01", "kiosk-02"):
                session.add(
                    Device(
                        device=name,
                        kind="kiosk",
                        site="x",
                        registered_at=self.clock.at,
                        presence="online" if name == "kiosk-01" else "offline",
                    )
                )

    @property
    def ana(self) -> Actor:
        return Actor("ana", self.clock.at)

    def _publish(self, name: str, ids: dict[str, str], payload: bytes) -> None:
        self.told.append((ids["device"], name, msgspec.json.decode(payload)))

    def ask(
        self,
        handler: Callable[[Received], None],
        payload: bytes | dict[str, Any] = b"",
        device: str = "kiosk-01",
    ) -> list[tuple[str, dict[str, Any]]]:
        """One message of `device`, as the broker hands it over; what was told because of it."""
        body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        before = len(self.told)
        with self.sessions() as session:
            with session.begin():
                hold(session, [device])
                message = Received(device, {"device": device}, body, None, self.clock.at, session)
                handler(message)
            for do in message._after:
                do()
        return [(name, told) for to, name, told in self.told[before:] if to == device]

    def report(self, **values: Any) -> None:
        self.ask(self.requests.update, {"state": {"reported": values}})


@pytest.fixture
def fleet(sessions: sessionmaker[Session], clock: Clock) -> Fleet:
    return Fleet(sessions, clock)
