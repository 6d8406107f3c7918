"""mosquitto with the reader of its log beside it: one process id, and a broker that never waits."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Broker
from cloud.broker_log import PIPE_BYTES
from cloud.database.models.link import RefusalCount
from cloud.enrolment import broker_config, pki
from cloud.refusals import Reason
from cloud.settings import Broker as BrokerSettings
from contract import topics
from tests.cloud.devices.fleet import register
from tests.cloud.enrolment.hardened import make_client
from tests.cloud.fleet_link import wait_for
from tests.cloud.mosquitto import PROGRAM, free_port
from tests.cloud.raw_mqtt import NOT_AUTHORIZED, RawDevice

STOP_S = 20
ME, OTHER = "kiosk-01", "kiosk-02"


def now() -> datetime:
    return datetime.now(UTC)


class Place:
    """A folder with keys and the broker's configuration, and the broker once it is started."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM, "mosquitto is missing: apt-get install mosquitto"
        self.pki, self.home = folder / "pki", folder / "broker"
        self.settings = BrokerSettings(host="localhost", port=free_port())
        pki.prepare(self.pki, ["localhost"], now())
        issuer = pki.load(self.pki)
        for name in (ME, OTHER):
            make_client(issuer, self.pki, name)  # type: ignore[no-untyped-call]
        broker_config.write(
            self.settings,
            self.pki,
            self.home,
            bind="127.0.0.1",
            port=self.settings.port,
            root=os.geteuid() == 0,
        )
        self.said = b""
        self._news = threading.Condition()

    def start(self) -> None:
        words = [sys.executable, "-m", "cloud.broker_log", str(self.home)]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.wait_said(b"running")
        # It forgets a SIGTERM that comes between that line and its loop; whoever is let in has met the loop.
        self.device(OTHER).close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.said += line
                self._news.notify_all()

    def wait_said(self, what: bytes) -> None:
        with self._news:
            assert self._news.wait_for(lambda: what in self.said, STOP_S), self.said.decode()

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def device(self, name: str) -> RawDevice:
        return RawDevice(
            self.settings.port, (self.pki / "ca.pem", self.pki / f"{name}.pem", self.pki / f"{name}.key")
        )

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(STOP_S)
        self._reader.join(STOP_S)
        assert not self._reader.is_alive(), "whoever holds the other end of this pipe has not ended"
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    made.start()
    yield made
    if made.process.poll() is None:
        made.stop()


def counts(sessions: sessionmaker[Session]) -> dict[tuple[str, str], int]:
    with sessions() as session:
        return {(row.device, row.reason): row.count for row in session.query(RefusalCount)}


def test_what_the_broker_refuses_is_counted_in_the_database(
    place: Place, sessions: sessionmaker[Session]
) -> None:
    register(sessions, now(), {ME: "Veternik"})
    control = Broker(place.settings, name="svc-control", pki=place.pki, sessions=sessions, clock=now)
    control.subscribe("presence", lambda _message: None)
    control.watch_system(lambda _topic, _payload: None)
    control.start()
    try:
        assert control.wait_connected(STOP_S)
        for name in (ME, OTHER):
            device = place.device(name)
            device.publish(topics.build("telemetry", device="kiosk-03").encode())
            assert device.reason() == NOT_AUTHORIZED
            device.close()
        told = {(ME, Reason.FOREIGN_TOPIC): 1, ("", Reason.FOREIGN_TOPIC): 1}
        wait_for(lambda: counts(sessions) == told, "one for a device, one for who is not registered")
    finally:
        control.stop()


def test_a_reader_that_stands_still_holds_nobody_up(place: Place) -> None:
    [reader] = place.children
    reader.suspend()
    device = place.device(ME)
    topic = topics.build("telemetry", device=OTHER).encode() + b"/" + b"x" * 400
    for _ in range(2 * PIPE_BYTES // 500):
        device.publish(topic)
        assert device.reason() == NOT_AUTHORIZED
    reader.resume()
    device.close()


def test_without_its_reader_the_broker_goes_on(place: Place) -> None:
    [reader] = place.children
    reader.kill()
    device = place.device(ME)
    for _ in range(100):
        device.publish(topics.build("telemetry", device=OTHER).encode())
        assert device.reason() == NOT_AUTHORIZED
    device.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_reader_ends_with_the_broker(place: Place, how: int) -> None:
    [reader] = place.children
    place.stop(how)
    assert not reader.is_running() or reader.status() == psutil.STATUS_ZOMBIE


def test_a_configuration_of_an_earlier_release_gives_a_broker_that_counts_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.home / "broker.json").unlink()
    place.start()
    place.wait_said(b"broker_refusals_not_counted")
    assert place.children == []
    place.stop()
