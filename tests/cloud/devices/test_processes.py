"""Presence with real parts: mosquitto, the ingest, and agents as processes that are killed and stopped.

Time is compressed by the settings: a sample every 0.3 s, a will that holds after a second.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Broker
from cloud.database.engine import connect
from cloud.database.models.devices import Device
from cloud.devices.hours import Tolerance
from cloud.devices.incidents import Incident
from cloud.devices.incidents import Limits as IncidentLimits
from cloud.devices.presence import Limits
from cloud.devices.run import Presences, Rules
from cloud.settings import Broker as BrokerSettings
from cloud.telemetry import hearing
from cloud.telemetry.core import Member
from cloud.telemetry.hearing import Hearing
from cloud.telemetry.ingest import Ingest
from cloud.telemetry.keeper import Keeper
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.store_memory import MemoryStore
from cloud.web.languages import ZONE
from tests.cloud.conftest import migrated
from tests.cloud.devices.fleet import Fleet, register
from tests.cloud.fleet_link import DEADLINE_S, wait_for
from tests.cloud.mosquitto import Mosquitto

LIMITS = Limits(will_holds_s=1.0, late_after_s=2.0, gone_after_s=20.0, proof_after_s=0.5)
RULES = Rules(ZONE, LIMITS, IncidentLimits(together_s=5.0, over_after_s=3.0), Tolerance(0, 0))
SWEEP_S = 0.1
SITE = "Veternik"
DEVICES = [f"kiosk-{n}" for n in range(5)]
KEEPALIVE_S = 3
"""The broker gives a silent connection up after one and a half of it."""


def now() -> datetime:
    return datetime.now(UTC)


class City:
    """Broker, control plane and ingest as in production, and agents that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = connect(migrated(folder / "fleet.db"))
        self.sessions: sessionmaker[Session] = sessionmaker(self.engine, expire_on_commit=False)
        register(self.sessions, now(), dict.fromkeys(DEVICES, SITE))
        self.mosquitto = Mosquitto(folder / "broker")
        self.mosquitto.start()
        settings = BrokerSettings(host="127.0.0.1", port=self.mosquitto.port, tls=False)
        self.broker = Broker(settings, name="svc-control", pki=folder, sessions=self.sessions, clock=now)
        self.states: list[tuple[str, str]] = []
        self.presences = Presences(
            self.sessions,
            RULES,
            clock=now,
            words_since=lambda: self.broker.connected_since,
            on_online=lambda _device: None,
            on_change=lambda device: self.states.append((device, self.state(device))),
        )
        self.broker.subscribe("presence", self.presences.take)
        self.stop = threading.Event()
        self.hearing = Hearing(drain_s=0.0)
        self.ledger = Ledger(folder / "telemetry.db")
        keeper = Keeper(
            MemoryStore(),
            self.ledger,
            lambda: dict.fromkeys(DEVICES, Member(SITE, "kiosk")),
            clock=now,
            monotonic=time.monotonic,
            stop=self.stop,
            hearing=self.hearing,
        )
        ingest = Ingest(
            settings, name="svc-ingest", pki=folder, keeper=keeper, monotonic=time.monotonic, stop=self.stop
        )
        self.broker.start()
        assert self.broker.wait_connected(DEADLINE_S)
        self.threads = [threading.Thread(target=each) for each in (ingest.run, self._sweep)]
        for each in self.threads:
            each.start()
        assert ingest.connected.wait(DEADLINE_S)
        self.agents: dict[str, subprocess.Popen[bytes]] = {}

    def _sweep(self) -> None:
        while not self.stop.wait(SWEEP_S):
            with self.sessions.begin() as session:
                hearing.write(session, "svc-ingest", self.hearing.take(now()))
            self.presences.sweep()

    def start(self, *devices: str) -> None:
        """Start agents, and wait until they are there."""
        for device in devices:
            arguments = [str(self.mosquitto.port), device, str(self.folder), str(KEEPALIVE_S)]
            command = [sys.executable, "-m", "tests.cloud.devices.device_process", *arguments]
            self.agents[device] = subprocess.Popen(command)
        for device in devices:
            wait_for(lambda d=device: self.state(d) != "offline", f"{device} comes; {self.states}")  # type: ignore[misc] # mypy types no defaults of lambdas

    def signal(self, number: signal.Signals, *devices: str) -> None:
        """Do something to agents at once."""
        for device in devices:
            self.agents[device].send_signal(number)

    def state(self, device: str) -> str:
        with self.sessions() as session:
            return session.get_one(Device, device).presence

    def wait(self, device: str, state: str) -> None:
        """Wait until it is so and was told: the telling comes after the writing."""

        def holds() -> bool:
            told = [each for name, each in self.states if name == device]
            return self.state(device) == state and told[-1:] == [state]

        wait_for(holds, f"{device} is {state}; {self.states}")

    def incidents(self) -> list[Incident]:
        return Fleet.incidents(self)  # type: ignore[arg-type] # it asks for sessions only

    def wait_incident(self, condition: Callable[[Incident], bool], what: str) -> None:
        def holds() -> bool:
            found = self.incidents()
            assert len(found) <= 1, found
            return bool(found) and condition(found[0])

        wait_for(holds, what)

    def close(self) -> None:
        for each in self.agents.values():
            each.kill()
            each.wait()
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.broker.stop()
        self.mosquitto.kill()
        self.ledger.close()
        self.engine.dispose()


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path)
    yield made
    made.close()


def test_a_killed_agent_is_offline_when_its_will_has_held(city: City) -> None:
    city.start("kiosk-0")
    city.signal(signal.SIGKILL, "kiosk-0")
    killed = time.monotonic()
    city.wait("kiosk-0", "offline")
    assert time.monotonic() - killed >= LIMITS.will_holds_s
    assert city.states == [("kiosk-0", "online"), ("kiosk-0", "offline")]
    city.wait_incident(lambda each: each.away == ("kiosk-0",), "an incident")
    city.start("kiosk-0")
    city.wait_incident(lambda each: each.state == "closed", "the incident ends")


def test_a_black_hole_makes_degraded_and_then_offline(city: City) -> None:
    """A process that is stopped answers nothing and breaks no connection."""
    city.start("kiosk-0")
    city.signal(signal.SIGSTOP, "kiosk-0")
    city.wait("kiosk-0", "offline")
    assert [state for _, state in city.states] == ["online", "degraded", "offline"]
    city.signal(signal.SIGCONT, "kiosk-0")
    city.wait("kiosk-0", "online")
    assert len(city.incidents()) == 1


def test_five_agents_of_a_site_that_is_cut_are_one_incident(city: City) -> None:
    city.start(*DEVICES)
    city.signal(signal.SIGSTOP, *DEVICES)
    city.wait_incident(lambda each: sorted(each.away) == DEVICES, "all five are away in one")
    city.signal(signal.SIGCONT, *DEVICES)
    city.wait_incident(lambda each: each.state == "closed", "it ends")


def test_an_agent_that_comes_and_goes_is_one_incident(city: City) -> None:
    for _ in range(3):
        city.start("kiosk-0")
        city.signal(signal.SIGKILL, "kiosk-0")
        city.wait("kiosk-0", "offline")
    city.wait_incident(lambda each: each.members[0].times == 3, "one incident, three times")
    told = [state for _, state in city.states]
    assert told == ["online", "offline"] * 3, "who is started anew is no link that flaps"
