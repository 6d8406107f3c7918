"""One device's flood, through a real broker, does not hold up its neighbours: told by order and counts.

A flood lies at the broker when the consumer comes, and a neighbour's message lies behind it. What follows the
contract is never dropped, what floods is counted to the last message.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import LIVE_PER_S_MAX, Broker, Received
from cloud.database.models.devices import Device
from cloud.database.models.link import RefusalCount, WatermarkRow
from cloud.fair import WAITING_MAX
from cloud.settings import Broker as BrokerSettings
from cloud.telemetry.core import Member
from cloud.telemetry.ingest import Ingest
from cloud.telemetry.keeper import Keeper
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.store import Point
from cloud.telemetry.store_memory import MemoryStore
from contract.documents import Evidence, PrintOutcome
from contract.messages import Lane, Presence, encode, seal
from contract.telemetry import Sample, TelemetryBatch
from tests.cloud.conftest import START, Clock
from tests.cloud.fleet_link import AT, DEADLINE_S, FleetDevice, wait_for
from tests.cloud.mosquitto import Mosquitto

FLOOD = 3_000
BOOT = "boot-1"
BODY = Evidence(document="doc-1", job="job-1", outcome=PrintOutcome.PRINTED)
FLOODER, NEIGHBOUR = "kiosk-01", "kiosk-02"


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def devices(
    mosquitto: Mosquitto, sessions: sessionmaker[Session], clock: Clock
) -> Iterator[tuple[FleetDevice, FleetDevice]]:
    """The flooder and its neighbour, registered and connected."""
    with sessions.begin() as session:
        for name in (FLOODER, NEIGHBOUR):
            session.add(Device(device=name, kind="kiosk", site="Prishtina", registered_at=clock.at))
    made = FleetDevice(mosquitto.port, FLOODER), FleetDevice(mosquitto.port, NEIGHBOUR)
    yield made
    for each in made:
        each.close()


def broker_at(
    mosquitto: Mosquitto,
    sessions: sessionmaker[Session],
    clock: Clock,
    pki: Path,
    handler: Callable[..., None],
) -> Broker:
    settings = BrokerSettings(host="127.0.0.1", port=mosquitto.port, tls=False)
    broker = Broker(settings, name="svc-control", pki=pki, sessions=sessions, clock=clock)
    for topic in ("evidence", "caption-partial", "presence"):
        broker.subscribe(topic, handler)
    return broker


def started(broker: Broker) -> Broker:
    broker.start()
    assert broker.wait_connected(DEADLINE_S)
    return broker


def counted(sessions: sessionmaker[Session], device: str, reason: str = "excess") -> int:
    with sessions.begin() as session:
        row = session.get(RefusalCount, (device, reason))
        return row.count if row else 0


def send_events(device: FleetDevice, count: int) -> None:
    for seq in range(1, count + 1):
        device.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=seq, document=f"doc-{seq}")


@pytest.mark.parametrize("flood", [FLOOD, 0], ids=["flood", "calm"])
def test_a_neighbour_waits_for_two_messages_of_the_flood_at_most(
    flood: int,
    mosquitto: Mosquitto,
    devices: tuple[FleetDevice, FleetDevice],
    sessions: sessionmaker[Session],
    clock: Clock,
    tmp_path: Path,
) -> None:
    """The one that is being handled, and the one whose turn comes first."""
    flooder, neighbour = devices
    first = started(broker_at(mosquitto, sessions, clock, tmp_path, lambda _message: None))
    first.stop()
    send_events(flooder, flood)
    wait_for(lambda: flooder.published_all(), "the broker has the flood")
    send_events(neighbour, 1)
    wait_for(lambda: neighbour.published_all(), "the broker has the neighbour's message behind it")

    there = threading.Event()
    order: list[str] = []

    def handle(message: Received) -> None:
        order.append(message.device)
        assert there.wait(DEADLINE_S), "the neighbour's message was read from the broker"

    broker = broker_at(mosquitto, sessions, clock, tmp_path, handle)
    offer = broker._turns.offer

    def watched(owner: str, item: object, *, bounded: bool = True) -> bool:
        taken = offer(owner, item, bounded=bounded)  # type: ignore[arg-type] # passed on as it came
        if owner == NEIGHBOUR:
            there.set()
        return taken

    broker._turns.offer = watched  # type: ignore[assignment] # it only watches
    started(broker)
    try:
        neighbour.wait_ack(BOOT, Lane.EVENTS, 1)
        assert order.index(NEIGHBOUR) <= 2, "whatever lies before it at the broker"
        wait_for(lambda: len(order) + counted(sessions, FLOODER) >= flood + 1, "all is handled or counted")
    finally:
        broker.stop()
    handled = order.count(FLOODER)
    assert handled + counted(sessions, FLOODER) == flood
    assert handled <= WAITING_MAX + 1
    assert counted(sessions, NEIGHBOUR) == 0
    if flood:
        assert max(ack.seq for ack in flooder.acks()) <= handled, "what was dropped is not acknowledged"


def test_a_device_with_a_full_window_and_its_repetition_loses_nothing(
    mosquitto: Mosquitto,
    devices: tuple[FleetDevice, FleetDevice],
    sessions: sessionmaker[Session],
    clock: Clock,
    tmp_path: Path,
) -> None:
    honest, _ = devices
    first = started(broker_at(mosquitto, sessions, clock, tmp_path, lambda _message: None))
    first.stop()
    for _ in range(2):
        send_events(honest, WAITING_MAX // 2)
    wait_for(lambda: honest.published_all(), "the broker has all of it")
    broker = started(broker_at(mosquitto, sessions, clock, tmp_path, lambda _message: None))
    try:
        honest.wait_ack(BOOT, Lane.EVENTS, WAITING_MAX // 2)

        def repeated() -> int:
            with sessions.begin() as session:
                return session.get_one(WatermarkRow, (FLOODER, BOOT, "events")).repeated

        wait_for(lambda: repeated() == WAITING_MAX // 2, "what came again is counted")
    finally:
        broker.stop()
    assert counted(sessions, FLOODER) == 0


def test_live_messages_beyond_a_bound_in_a_second_are_dropped_and_counted(
    mosquitto: Mosquitto,
    devices: tuple[FleetDevice, FleetDevice],
    sessions: sessionmaker[Session],
    clock: Clock,
    tmp_path: Path,
) -> None:
    """The clock of the test stands still, so that all of it is one second."""
    flooder, _ = devices
    live: list[str] = []

    def handle(message: Received) -> None:
        if message.envelope is not None:
            live.append(message.device)

    broker = started(broker_at(mosquitto, sessions, clock, tmp_path, handle))
    try:
        flooder.publish("presence", encode(Presence(boot=BOOT, at=1, online=True, kind="kiosk", agent="1")))
        wait_for(lambda: FLOODER in broker._known, "the device is known")
        sealed = seal(b"{}", boot=BOOT, lane=Lane.LIVE, seq=0, at=AT, sent=AT, historical=False)
        for _ in range(5 * LIVE_PER_S_MAX):
            flooder.publish("caption-partial", sealed, session="s", channel="floor")
        wait_for(lambda: counted(sessions, FLOODER) == 4 * LIVE_PER_S_MAX, "the rest is counted")
    finally:
        broker.stop()
    assert len(live) == LIVE_PER_S_MAX


class Ordered(MemoryStore):
    """Remembers in which order points came."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def write(self, points: Sequence[Point]) -> None:
        self.order += [point.device for point in points]
        super().write(points)


def test_the_ingest_gives_each_device_its_share_of_a_batch(
    mosquitto: Mosquitto, devices: tuple[FleetDevice, FleetDevice], tmp_path: Path
) -> None:
    flooder, neighbour = devices
    members = {name: Member("Prishtina", "kiosk") for name in (FLOODER, NEIGHBOUR)}
    settings = BrokerSettings(host="127.0.0.1", port=mosquitto.port, tls=False)
    store, ledger = Ordered(), Ledger(tmp_path / "telemetry.db")

    def ingest(stop: threading.Event) -> tuple[Ingest, threading.Thread]:
        keeper = Keeper(
            store, ledger, lambda: members, clock=lambda: START, monotonic=time.monotonic, stop=stop
        )
        made = Ingest(
            settings, name="svc-ingest", pki=tmp_path, keeper=keeper, monotonic=time.monotonic, stop=stop
        )
        thread = threading.Thread(target=made.run)
        thread.start()
        assert made.connected.wait(DEADLINE_S)
        return made, thread

    stop = threading.Event()
    _, thread = ingest(stop)
    stop.set()
    thread.join()
    body = encode(TelemetryBatch(samples=[Sample(at=AT, values={"cpu_pct": 1.0})]))
    for seq in range(1, FLOOD + 1):
        flooder.send("telemetry", body, boot=BOOT, lane=Lane.TELEMETRY, seq=seq)
    wait_for(lambda: flooder.published_all(), "the broker has the flood")
    neighbour.send("telemetry", body, boot=BOOT, lane=Lane.TELEMETRY, seq=1)
    wait_for(lambda: neighbour.published_all(), "the broker has the neighbour's message behind it")
    stop = threading.Event()
    _, thread = ingest(stop)
    try:
        neighbour.wait_ack(BOOT, Lane.TELEMETRY, 1)
        before = store.order.index(NEIGHBOUR)
        wait_for(
            lambda: store.order.count(FLOODER) + counted(ledger.sessions, FLOODER) == FLOOD,
            "all of the flood is stored or counted",
        )
    finally:
        stop.set()
        thread.join()
        ledger.close()
    assert before < FLOOD / 2, "a share of each batch is before it, and not the flood"
