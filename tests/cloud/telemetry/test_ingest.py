"""Telemetry through a real broker: stored before acknowledged, and once, whatever is killed."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.devices import Device
from cloud.database.models.link import LinkTotal, RefusalCount, WatermarkRow
from cloud.errors import RefusedError, UnavailableError
from cloud.settings import Broker as BrokerSettings
from cloud.telemetry.core import Member
from cloud.telemetry.ingest import Ingest
from cloud.telemetry.keeper import Keeper
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.own_metrics import OwnMetrics
from cloud.telemetry.store import Point
from cloud.telemetry.store_memory import MemoryStore
from cloud.telemetry.store_sqlite import SqliteStore
from contract.messages import IN_FLIGHT_MAX, Lane
from contract.telemetry import Sample, TelemetryBatch
from tests.cloud.fleet_link import AT, DEADLINE_S, FleetDevice, wait_for
from tests.cloud.mosquitto import Mosquitto

BOOT = "boot-1"


def batch(at: int, cpu: float = 1.5) -> TelemetryBatch:
    return TelemetryBatch(samples=[Sample(at=at, values={"cpu_pct": cpu, "uptime_s": 7})])


def send(device: FleetDevice, seq: int) -> None:
    device.send("telemetry", batch(AT + seq), boot=BOOT, lane=Lane.TELEMETRY, seq=seq)


def send_until_acknowledged(device: FleetDevice) -> None:
    """Until the consumer has subscribed, the broker has nobody to keep a message for."""

    def acknowledged() -> bool:
        send(device, 1)
        return bool(device.acks())

    wait_for(acknowledged, "the consumer is there")


class Stubborn(MemoryStore):
    """A store that is away until `back` is set, and never takes a point with `poison` per cent."""

    def __init__(self, *, poison: float = -1.0) -> None:
        super().__init__()
        self.back = threading.Event()
        self.poison = poison
        self.tries = 0

    def write(self, points: Sequence[Point]) -> None:
        self.tries += 1
        if not self.back.is_set():
            raise UnavailableError("the store is away")
        if any(("cpu_pct", self.poison) in point.values for point in points):
            raise RefusedError("never")
        super().write(points)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    yield broker
    broker.kill()


@dataclass
class Running:
    """An ingest in a thread, and the telemetry database that it writes."""

    stop: threading.Event
    thread: threading.Thread
    ledger: Ledger
    telemetry: sessionmaker[Session]

    def end(self) -> None:
        """Stop it in order."""
        self.stop.set()
        self.thread.join()
        self.ledger.close()


NOW = datetime(2026, 11, 23, 9, 0, 30, tzinfo=UTC)
Run = Callable[..., Running]
Make = Callable[[str], FleetDevice]


@pytest.fixture
def run(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Run]:
    """`run(store)` starts one; `own` is what it reports of itself."""
    engine = connect(f"sqlite:///{tmp_path / 'telemetry.db'}")
    made: list[Running] = []

    def start(store: MemoryStore, own: OwnMetrics | None = None) -> Running:
        stop = threading.Event()
        ledger = Ledger(tmp_path / "telemetry.db")
        keeper = Keeper(
            store,
            ledger,
            lambda: {"kiosk-01": Member("Prishtina", "kiosk"), "kiosk-02": Member("Peja", "kiosk")},
            clock=lambda: NOW,
            monotonic=time.monotonic,
            stop=stop,
            own=own,
        )
        settings = BrokerSettings(host="127.0.0.1", port=mosquitto.port, tls=False)
        consumer = Ingest(
            settings, name="svc-ingest", pki=tmp_path, keeper=keeper, monotonic=time.monotonic, stop=stop
        )
        thread = threading.Thread(target=consumer.run)
        thread.start()
        made.append(Running(stop, thread, ledger, sessionmaker(engine)))
        assert consumer.connected.wait(DEADLINE_S)
        return made[-1]

    yield start
    for each in made:
        each.end()
    engine.dispose()


@pytest.fixture
def device(mosquitto: Mosquitto) -> Iterator[Callable[[str], FleetDevice]]:
    made: list[FleetDevice] = []

    def make(name: str) -> FleetDevice:
        made.append(FleetDevice(mosquitto.port, name))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_sample_is_stored_and_then_acknowledged(run: Run, device: Make) -> None:
    store = MemoryStore()
    telemetry = run(store).telemetry
    kiosk = device("kiosk-01")
    for seq in (1, 2, 3):
        send(kiosk, seq)
    kiosk.wait_ack(BOOT, Lane.TELEMETRY, 3)
    assert {at for _, _, at in store.values} == {AT + 1, AT + 2, AT + 3}
    with telemetry() as session:
        total = session.get_one(LinkTotal, "telemetry")
        assert (total.messages, total.samples, total.points) == (3, 3, 6)


def test_nothing_is_acknowledged_while_the_store_is_away(run: Run, device: Make) -> None:
    store = Stubborn()
    run(store)
    kiosk = device("kiosk-01")
    send(kiosk, 1)
    wait_for(lambda: store.tries >= 2, "the store is asked again")
    assert kiosk.acks() == []
    store.back.set()
    kiosk.wait_ack(BOOT, Lane.TELEMETRY, 1)
    assert len(store.values) == 2


def test_what_was_not_stored_when_we_stopped_comes_again(run: Run, device: Make) -> None:
    away = Stubborn()
    first = run(away)
    kiosk = device("kiosk-01")
    send(kiosk, 1)
    wait_for(lambda: away.tries >= 1, "the message has come")
    first.end()
    store = MemoryStore()
    run(store)
    kiosk.wait_ack(BOOT, Lane.TELEMETRY, 1)
    assert len(store.values) == 2


def test_a_point_that_the_store_never_takes_does_not_stop_the_others(run: Run, device: Make) -> None:
    store = Stubborn(poison=66.0)
    telemetry = run(store).telemetry
    kiosk = device("kiosk-01")
    for seq in range(1, 8):
        body = batch(AT + seq, cpu=66.0 if seq == 3 else 1.5)
        kiosk.send("telemetry", body, boot=BOOT, lane=Lane.TELEMETRY, seq=seq)
    wait_for(lambda: store.tries >= 1, "the first batch has come")
    store.back.set()
    kiosk.wait_ack(BOOT, Lane.TELEMETRY, 7)
    assert {at - AT for _, _, at in store.values} == {1, 2, 4, 5, 6, 7}
    with telemetry() as session:
        assert session.get_one(RefusalCount, ("kiosk-01", "refused")).count == 1


def test_bad_messages_are_counted_and_harm_nobody_else(run: Run, device: Make) -> None:
    store = MemoryStore()
    telemetry = run(store).telemetry
    bad, good, stranger = device("kiosk-01"), device("kiosk-02"), device("stranger-01")
    bad.publish("telemetry", b"\x00garbage")
    bad.publish("telemetry", b"x" * 140_000)
    bad.send("telemetry", batch(AT), boot=BOOT, lane=Lane.EVENTS, seq=1)
    bad.send("telemetry", b'{"samples":[]}', boot=BOOT, lane=Lane.TELEMETRY, seq=1)
    send(stranger, 1)
    send(good, 1)
    bad.wait_ack(BOOT, Lane.TELEMETRY, 1)
    good.wait_ack(BOOT, Lane.TELEMETRY, 1)
    wait_for(lambda: _refused(telemetry) == 5, "five messages are counted")
    assert stranger.acks() == []
    assert {owner for owner, _, _ in store.values} == {"kiosk-02"}


def _refused(telemetry: sessionmaker[Session]) -> int:
    with telemetry.begin() as session:
        return sum(row.count for row in session.query(RefusalCount))


def test_it_comes_back_when_the_broker_was_killed(run: Run, device: Make, mosquitto: Mosquitto) -> None:
    store = MemoryStore()
    run(store)
    first = device("kiosk-01")
    send(first, 1)
    first.wait_ack(BOOT, Lane.TELEMETRY, 1)
    mosquitto.kill()
    mosquitto.start()
    again = device("kiosk-02")
    send_until_acknowledged(again)


SETTINGS = """
data_dir = "{data}"
public_url = "http://localhost"
pages = {{ port = 1 }}
bootstrap = {{ port = 1 }}
device = {{ port = 1 }}
broker = {{ host = "127.0.0.1", port = {port}, tls = false }}
documents = {{ registry_url = "http://localhost", payments_url = "http://localhost" }}
"""
MESSAGES = 1200


def test_killed_in_the_middle_of_a_burst_it_loses_nothing_and_stores_nothing_twice(
    mosquitto: Mosquitto, device: Make, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    settings = tmp_path / "cloud.toml"
    settings.write_text(SETTINGS.format(data=data, port=mosquitto.port))
    engine = connect(f"sqlite:///{data / 'fleet.db'}")
    complete().create_all(engine)
    with sessionmaker(engine).begin() as session:
        for name in ("kiosk-01", "kiosk-02", "kiosk-03"):
            session.add(Device(device=name, kind="kiosk", site="Prishtina", registered_at=datetime.now(UTC)))
    engine.dispose()
    process = start(settings)
    devices = [device("kiosk-01"), device("kiosk-02")]
    try:
        send_until_acknowledged(device("kiosk-03"))
        for seq in range(1, MESSAGES // 2 + 1):
            for each in devices:
                send(each, seq)
                if seq % (IN_FLIGHT_MAX // 2) == 0:  # as the contract wants it
                    each.wait_acked(seq - IN_FLIGHT_MAX // 2)
            if seq in (MESSAGES // 8, MESSAGES // 4):
                devices[0].wait_told(lambda told: len(told) > 0, "it works")
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                process = start(settings)
        for each in devices:
            each.wait_ack(BOOT, Lane.TELEMETRY, MESSAGES // 2)
    finally:
        process.terminate()
        assert process.wait(20) == 0
    path = data / "telemetry.db"
    store = sqlite3.connect(path)
    stored = "SELECT count(*) FROM points JOIN series ON id = series WHERE device != 'kiosk-03'"
    assert store.execute(stored).fetchone() == (2 * MESSAGES,)
    store.close()
    telemetry = connect(f"sqlite:///{path}")
    with sessionmaker(telemetry)() as session:
        assert {row.device: row.seq for row in session.query(WatermarkRow)} == {
            "kiosk-01": MESSAGES // 2,
            "kiosk-02": MESSAGES // 2,
            "kiosk-03": 1,
        }
        assert session.get_one(LinkTotal, "telemetry").points == 2 * MESSAGES + 2
    telemetry.dispose()
    reader = SqliteStore(path)
    assert reader.latest(["kiosk-01"], AT, AT + MESSAGES)["kiosk-01"]["cpu_pct"].at == AT + MESSAGES // 2
    reader.close()


def start(settings: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "cloud", "ingest", "--settings", str(settings)])


def test_who_is_silent_is_written_although_nobody_sends(run: Run) -> None:
    store = MemoryStore()
    run(store, OwnMetrics("svc-ingest", datetime(2026, 11, 23, 8, 55, tzinfo=UTC)))
    wait_for(lambda: len(store.values) >= 5, "the ingest has reported")
    at = int(NOW.timestamp() * 1000)
    assert store.values["kiosk-01", "silent_s", at] == 330.0
    assert store.values["kiosk-02", "silent_s", at] == 330.0
    assert store.values["svc-ingest", "samples", at] == 0


def test_a_report_that_the_store_does_not_take_stops_nothing(run: Run, device: Make) -> None:
    class Picky(MemoryStore):
        tries = 0

        def write(self, points: Sequence[Point]) -> None:
            if points[0].measurement != "health":
                self.tries += 1
                raise UnavailableError("not now")
            super().write(points)

    store = Picky()
    run(store, OwnMetrics("svc-ingest", datetime(2026, 11, 23, 8, 55, tzinfo=UTC)))
    wait_for(lambda: store.tries >= 1, "the ingest has reported")
    kiosk = device("kiosk-01")
    send(kiosk, 1)
    kiosk.wait_ack(BOOT, Lane.TELEMETRY, 1)
    assert store.values["kiosk-01", "cpu_pct", AT + 1] == 1.5
