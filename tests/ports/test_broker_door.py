"""The broker's door: one suite for the fake and for mosquitto as a city has it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cloud.enrolment import pki
from cloud.enrolment.door_mqtt import DoorMqtt
from cloud.enrolment.drops import Door
from cloud.enrolment.revocations import FleetingPair, fleeting
from cloud.errors import UnavailableError
from cloud.settings import Broker
from contract import topics
from tests.cloud.enrolment.door_fake import FakeDoor
from tests.cloud.enrolment.hardened import TIMEOUT_S, free_port, hardened, make_client

DEVICE = "kiosk-01"
PRESENCE = topics.build("presence", device=DEVICE)


@dataclass
class Stage:
    """A door, and what a test does on its other side."""

    door: Door
    enter: Callable[[str], Callable[[], bool]]
    """Lets a device in; gives how to wait until it is out."""
    inside: Callable[[str], bool]
    read: Callable[[set[int]], None]
    """Has the broker read a list of these serials."""
    retain: Callable[[str], None]
    retained: Callable[[], bool]
    close: Callable[[], None]


def fake() -> Stage:
    door = FakeDoor()

    def enter(device: str) -> Callable[[], bool]:
        door.inside.add(device)
        return lambda: device not in door.inside

    def close() -> None:
        door.answers = False

    return Stage(
        door,
        enter,
        door.inside.__contains__,
        door.revoked.update,
        door.retained.add,
        lambda: PRESENCE in door.retained,
        close,
    )


@pytest.fixture(params=["fake", "mosquitto"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    if request.param == "fake":
        yield fake()
        return
    folder = tmp_path / "pki"
    pki.prepare(folder, ["localhost"], datetime.now(UTC))
    settings = Broker(host="localhost", port=free_port())
    with hardened(settings, folder, tmp_path / "broker") as broker:
        issuer = pki.load(folder)
        for name in (DEVICE, "kiosk-02"):
            make_client(issuer, folder, name)
        clients: dict[str, paho.Client] = {}

        def enter(device: str) -> Callable[[], bool]:
            gone, there = threading.Event(), threading.Event()
            client = paho.Client(CallbackAPIVersion.VERSION2, client_id=device, protocol=paho.MQTTv5)
            client.tls_set(
                str(folder / "ca.pem"), str(folder / f"{device}.pem"), str(folder / f"{device}.key")
            )
            client.on_connect = lambda *_: there.set()
            client.on_disconnect = lambda *_: gone.set()
            client.connect("localhost", settings.port)
            threading.Thread(target=client.loop_forever, kwargs={"retry_first_connection": False}).start()
            clients[device] = client
            assert there.wait(TIMEOUT_S)

            def out() -> bool:
                left = gone.wait(TIMEOUT_S)
                client.disconnect()
                return left

            return out

        def read(serials: set[int]) -> None:
            now = datetime.now(UTC)
            pki.write_revocations(folder, issuer.revocations([(each, now) for each in serials], 2, now))
            broker.read_revocations()

        def retain(topic: str) -> None:
            done = broker.publish(DEVICE, topic, "there", "-r")
            assert done.returncode == 0, done.stderr

        def retained() -> bool:
            """The other device's is there in any case, so that there is something to wait for."""
            other = topics.build("presence", device="kiosk-02")
            broker.publish("kiosk-02", other, "last", "-r")
            reader = broker.subscribe("svc-control", PRESENCE, other, count=1)
            told, _ = reader.communicate(timeout=TIMEOUT_S)
            return PRESENCE in told

        yield Stage(
            DoorMqtt(settings, folder, issuer, lambda: datetime.now(UTC)),
            enter,
            lambda device: clients[device].is_connected(),
            read,
            retain,
            retained,
            broker.stop,
        )
        for client in clients.values():
            client.disconnect()


def pair(tmp_path: Path) -> FleetingPair:
    """A pair of the authority that the broker trusts; the fake trusts anybody's."""
    folder = tmp_path / "pki"
    if not folder.exists():
        pki.prepare(folder, ["localhost"], datetime.now(UTC))
    return fleeting(pki.load(folder), "svc-canary", datetime.now(UTC), timedelta(minutes=5))


def test_a_live_connection_ends_and_its_neighbours_stay(stage: Stage) -> None:
    out = stage.enter(DEVICE)
    stage.enter("kiosk-02")
    stage.door.drop(DEVICE, [])
    assert out()
    stage.door.drop(DEVICE, [])  # nobody is there any more, which is well, too
    assert stage.inside("kiosk-02")


def test_what_is_retained_of_a_device_is_forgotten_where_that_is_asked(stage: Stage) -> None:
    stage.retain(PRESENCE)
    stage.door.drop(DEVICE, [])
    assert stage.retained()
    stage.door.drop(DEVICE, [PRESENCE])
    assert not stage.retained()


def test_a_pair_is_refused_once_the_list_that_names_it_was_read(stage: Stage, tmp_path: Path) -> None:
    one, other = pair(tmp_path), pair(tmp_path)
    assert not stage.door.refuses(one)
    stage.read({one.serial})
    assert stage.door.refuses(one)
    assert not stage.door.refuses(other)


def test_a_broker_that_is_away_is_said_to_be(stage: Stage, tmp_path: Path) -> None:
    one = pair(tmp_path)
    stage.close()
    with pytest.raises(UnavailableError):
        stage.door.drop(DEVICE, [])
    with pytest.raises(UnavailableError):
        stage.door.refuses(one)
