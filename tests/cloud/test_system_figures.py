"""The control plane asks its broker for figures: mosquitto has some, the demonstration's has none."""

import queue
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Broker, Handler
from cloud.broker_figures import BrokerFigures
from cloud.settings import Broker as BrokerSettings
from contract.messages import Presence, encode
from simulators.city.files import write_embedded_broker
from tests.cloud.devices.fleet import register
from tests.cloud.fleet_link import DEADLINE_S, FleetDevice, wait_for
from tests.cloud.mosquitto import Mosquitto, free_port

HERE = Presence(boot="b", at=1, online=True, kind="kiosk", agent="1")


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def iotcore(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    config = write_embedded_broker(tmp_path / "iotcore.toml", port)
    process = subprocess.Popen([sys.executable, "-m", "iotcore", "--config", str(config)], cwd=tmp_path)
    yield port
    process.kill()
    process.wait()


def connected(
    port: int,
    folder: Path,
    sessions: sessionmaker[Session],
    figures: BrokerFigures,
    handler: Handler = lambda _message: None,
) -> Broker:
    settings = BrokerSettings(host="127.0.0.1", port=port, tls=False)
    broker = Broker(settings, name="svc-control", pki=folder, sessions=sessions, clock=now)
    broker.subscribe("presence", handler)
    broker.watch_system(lambda topic, payload: figures.take(topic, payload, now()))
    broker.start()
    assert broker.wait_connected(DEADLINE_S)
    return broker


def test_mosquitto_tells_how_it_is(tmp_path: Path, sessions: sessionmaker[Session]) -> None:
    mosquitto = Mosquitto(tmp_path / "broker", extra=["sys_interval 1"])
    mosquitto.start()
    figures = BrokerFigures(connections_max=10)
    broker = connected(mosquitto.port, tmp_path, sessions, figures)
    try:
        wait_for(lambda: (told := figures.now(now())) is not None and told.full_pct == 10.0, "one connection")
        told = figures.now(now())
        assert told is not None
        assert told.drops == 0
        assert {"dropped", "connections", "stored_bytes", "received", "sent"} <= set(told.values)
    finally:
        broker.stop()
        mosquitto.kill()


def test_a_broker_without_figures_serves_as_well(
    iotcore: int, tmp_path: Path, sessions: sessionmaker[Session]
) -> None:
    figures = BrokerFigures(connections_max=10)
    taken: queue.SimpleQueue[str] = queue.SimpleQueue()
    register(sessions, now(), {"kiosk-01": "Veternik"})
    broker = connected(iotcore, tmp_path, sessions, figures, lambda message: taken.put(message.device))
    try:
        wait_for(lambda: not broker.connected, "it hangs up on whoever asks")
        wait_for(lambda: broker.connected_since is not None, "and is not asked again")
        device = FleetDevice(iotcore, "kiosk-01")
        device.publish("presence", encode(HERE))
        taken.get(timeout=DEADLINE_S)
        device.close()
        assert broker.connected
        assert figures.now(now()) is None
    finally:
        broker.stop()
