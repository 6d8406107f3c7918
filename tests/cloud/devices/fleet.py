"""A small fleet in a database, what its devices say and what the ingest hears, on a clock that tests move."""

from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Received
from cloud.database.models.devices import Device
from cloud.database.models.presence import IncidentRow
from cloud.devices import incident_rows
from cloud.devices.hours import Tolerance
from cloud.devices.incidents import Incident
from cloud.devices.incidents import Limits as IncidentLimits
from cloud.devices.presence import Limits
from cloud.devices.run import Presences, Rules
from cloud.telemetry import hearing
from cloud.web.languages import ZONE
from contract.messages import Presence, encode
from tests.cloud.conftest import Clock

RULES = Rules(ZONE, Limits(), IncidentLimits(), Tolerance())


def register(sessions: sessionmaker[Session], at: datetime, devices: dict[str, str]) -> None:
    """Devices by name, each at its site."""
    with sessions.begin() as session:
        for device, site in devices.items():
            session.add(Device(device=device, kind="kiosk", site=site, registered_at=at))


@dataclass
class Fleet:
    """`deaf` is the control plane without its broker; `silent` an ingest that does not run."""

    sessions: sessionmaker[Session]
    clock: Clock
    came: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    deaf: bool = False
    silent: bool = False

    def __post_init__(self) -> None:
        self.begun = self.ears = self.clock.at
        self.restart()

    def restart(self) -> None:
        """The control plane is started anew; it remembers what the database does."""
        self.begun = self.clock.at
        self.presences = Presences(
            self.sessions,
            RULES,
            clock=self.clock,
            words_since=lambda: None if self.deaf else self.begun,
            on_online=self.came.append,
            on_change=self.changed.append,
        )

    def say(self, device: str, online: bool, boot: str = "b1", connection: int = 1) -> None:
        """A message on `presence`."""
        word = Presence(boot=boot, at=1, online=online, kind="kiosk", agent="0.1.0", connection=connection)
        self.say_raw(device, encode(word))

    def say_raw(self, device: str, payload: bytes) -> None:
        """Bytes on `presence`."""
        with self.sessions() as session:
            with session.begin():
                message = Received(device, {"device": device}, payload, None, self.clock.at, session)
                self.presences.take(message)
            for do in message._after:
                do()

    def hear(self, *devices: str) -> None:
        """The ingest listens, and has stored something of these."""
        with self.sessions.begin() as session:
            at = self.clock.at
            hearing.write(session, "svc-ingest", hearing.Heard(self.ears, at, dict.fromkeys(devices, at)))

    def live(self, seconds: float, *sending: str, step_s: float = 10.0) -> None:
        """Let time go on; `sending` are heard again and again, the others are not."""
        until = self.clock.at.timestamp() + seconds
        while self.clock.at.timestamp() < until:
            self.clock.forward(min(step_s, until - self.clock.at.timestamp()))
            if not self.silent:
                self.hear(*sending)
            self.presences.sweep()

    def state(self, device: str) -> str:
        """What is believed of a device."""
        with self.sessions() as session:
            return session.get_one(Device, device).presence

    def incidents(self) -> list[Incident]:
        """All of them, the oldest first."""
        with self.sessions() as session:
            rows = session.scalars(sa.select(IncidentRow).order_by(IncidentRow.id)).all()
            return incident_rows.loaded(session, rows)
