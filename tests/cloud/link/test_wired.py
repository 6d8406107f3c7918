"""The link's handlers behind a real broker: one machine, two machines, declarations, told delays."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Broker, Received
from cloud.database.models.devices import Device
from cloud.database.models.link import Sighting, ToldDelay
from cloud.link import declared, one_device
from cloud.link.books import Books
from cloud.link.delays import Delays
from cloud.link.sightings import Sightings
from cloud.settings import Broker as BrokerSettings
from contract.link import Dropped, Reconnect
from contract.messages import Lane, Presence, encode, read
from tests.cloud.conftest import Clock
from tests.cloud.fleet_link import DEADLINE_S, FleetDevice, wait_for
from tests.cloud.link.conftest import Register
from tests.cloud.link.test_ledger import dropped
from tests.cloud.mosquitto import Mosquitto

KIOSK = "kiosk-01"
Connect = Callable[[], FleetDevice]


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def connect(
    mosquitto: Mosquitto,
    sessions: sessionmaker[Session],
    clock: Clock,
    register: Register,
    tmp_path: Path,
) -> Iterator[Connect]:
    """`connect()`: a machine with the kiosk's identity; the control plane's end of the link is there."""
    register(KIOSK)
    settings = BrokerSettings(host="127.0.0.1", port=mosquitto.port, tls=False)
    broker = Broker(settings, name="svc-control", pki=tmp_path, sessions=sessions, clock=clock)
    delays = Delays(sessions, broker.publish, lambda: broker.connected, clock)
    comings = Sightings(delays.on_online)

    def take(message: Received) -> None:
        said = read(message.payload, Presence)
        message.session.get_one(Device, message.device).presence = "online" if said.online else "offline"
        comings.take(message)

    broker.subscribe("presence", take)
    broker.subscribe("dropped", declared.take)
    broker.start()
    assert broker.wait_connected(DEADLINE_S)
    made: list[FleetDevice] = []

    def make() -> FleetDevice:
        made.append(FleetDevice(mosquitto.port, KIOSK))
        return made[-1]

    yield make
    for each in made:
        each.close()
    broker.stop()


def come(device: FleetDevice, boot: str, connection: int, at: int) -> None:
    said = Presence(boot=boot, at=at, online=True, kind="kiosk", agent="1", connection=connection)
    device.publish("presence", encode(said))


def sighting(sessions: sessionmaker[Session]) -> tuple[int, int]:
    """How many comings are remembered, and how many of them were returns."""
    with sessions() as session:
        row = session.get(Sighting, KIOSK)
        return (len(row.seen), row.returns) if row else (0, 0)


def test_two_machines_with_one_identity_are_found_out(
    connect: Connect, books: Books, sessions: sessionmaker[Session], clock: Clock
) -> None:
    """Each takes the broker's session from the other, as two agents with one certificate do."""
    for number, boot in enumerate(("a", "b", "a"), 1):
        clock.forward(30)
        machine = connect()
        come(machine, boot, number // 2 + 1, number)
        wait_for(lambda number=number: sighting(sessions)[0] == number, f"coming {number} is noted")
        machine.close()
    assert sighting(sessions) == (3, 1)
    told = one_device.read(books, KIOSK)
    assert told is not None
    assert (told.shared, told.returns, told.returned_at) == (True, 1, clock.at)


def test_a_machine_that_restarts_and_reconnects_is_one(
    connect: Connect, books: Books, sessions: sessionmaker[Session], clock: Clock
) -> None:
    for number, (boot, connection) in enumerate((("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1)), 1):
        clock.forward(30)
        machine = connect()
        come(machine, boot, connection, number)
        come(machine, boot, connection, number)
        wait_for(lambda number=number: sighting(sessions)[0] == number, f"coming {number} is noted")
        machine.close()
    assert sighting(sessions) == (5, 0)
    told = one_device.read(books, KIOSK)
    assert told is not None
    assert not told.shared


def test_a_declaration_that_comes_twice_is_counted_once(connect: Connect, books: Books) -> None:
    machine = connect()
    for _ in range(3):
        machine.send("dropped", Dropped(ranges=[dropped(1, 40)]), boot="boot-1", lane=Lane.EVENTS, seq=1)
    machine.send("dropped", Dropped(ranges=[dropped(50, 51)]), boot="boot-1", lane=Lane.EVENTS, seq=2)
    machine.send("dropped", b'{"ranges": []}', boot="boot-1", lane=Lane.EVENTS, seq=3)
    machine.wait_ack("boot-1", Lane.EVENTS, 3)
    told = one_device.read(books, KIOSK)
    assert told is not None
    assert told.why == {"rows": 42}
    assert told.refused == {"malformed": 1}
    (boot,) = told.boots
    assert (boot.numbers.stored, boot.numbers.refused, boot.numbers.repeated) == (2, 1, 2)


def test_who_comes_during_a_maintenance_is_told_how_long_to_wait(
    connect: Connect, sessions: sessionmaker[Session], clock: Clock
) -> None:
    with sessions.begin() as session:
        session.add(
            ToldDelay(
                delay="d",
                site="",
                min_s=60,
                max_s=300,
                created_at=clock.at,
                created_by="ana",
                until=clock.at + timedelta(hours=1),
            )
        )
    machine = connect()
    for number in (1, 2):
        clock.forward(600)
        come(machine, "a", number, number)  # the same boot again: the broker was restarted
        wanted = ("reconnect", encode(Reconnect(min_s=60.0, max_s=300.0, valid_s=3600.0 - 600 * number)))
        machine.wait_told(lambda told, wanted=wanted: wanted in told, "it is told what is left")
