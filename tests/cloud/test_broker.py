"""The link's end in the cloud, on a real mosquitto: stored before acknowledged, and harmless to others."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Broker, Received
from cloud.database.models.devices import Device
from cloud.database.models.link import Quarantined, RefusalCount, WatermarkRow
from cloud.enrolment import pki
from cloud.errors import RefusedError, SettingsError
from cloud.settings import Broker as BrokerSettings
from contract.documents import Evidence, PrintOutcome
from contract.messages import MESSAGE_BYTES_MAX, Ack, Lane, Presence, encode, read
from tests.cloud.conftest import Clock
from tests.cloud.fleet_link import DEADLINE_S, FleetDevice, wait_for
from tests.cloud.mosquitto import Mosquitto

BOOT = "boot-1"
BODY = Evidence(document="doc-1", job="job-1", outcome=PrintOutcome.PRINTED)
LATER = b'{"v":2,"boot":"b","lane":"events","seq":1,"at":1790000000000,"sent":1,"body":{}}'
Make = Callable[..., FleetDevice]


class Away:
    """Refuses every transaction between `go` and `back`, and counts how often it was asked."""

    def __init__(self) -> None:
        self._away = threading.Event()
        self._asked = threading.Semaphore(0)

    def refuse(self, _connection: sa.Connection) -> None:
        if self._away.is_set():
            self._asked.release()
            raise sa.exc.OperationalError("BEGIN", None, ConnectionError("the database is away"))

    def go(self) -> None:
        self._away.set()

    def back(self) -> None:
        self._away.clear()

    def wait_asked(self, times: int) -> None:
        for _ in range(times):
            assert self._asked.acquire(timeout=DEADLINE_S)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def device(mosquitto: Mosquitto, sessions: sessionmaker[Session], clock: Clock) -> Iterator[Make]:
    """`device(name)`: a connected device, registered unless told otherwise."""
    made: list[FleetDevice] = []

    def make(name: str, *, registered: bool = True) -> FleetDevice:
        if registered:
            with sessions.begin() as session:
                session.add(Device(device=name, kind="kiosk", site="Prishtina", registered_at=clock.at))
        made.append(FleetDevice(mosquitto.port, name))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def make_broker(
    mosquitto: Mosquitto, sessions: sessionmaker[Session], clock: Clock, tmp_path: Path
) -> Iterator[Callable[[], Broker]]:
    made: list[Broker] = []

    def make() -> Broker:
        settings = BrokerSettings(host="127.0.0.1", port=mosquitto.port, tls=False)
        broker = Broker(settings, name="svc-control", pki=tmp_path, sessions=sessions, clock=clock)
        made.append(broker)
        return broker

    yield make
    for each in made:
        each.stop()


def started(broker: Broker) -> Broker:
    broker.start()
    assert broker.wait_connected(DEADLINE_S)
    return broker


def count(sessions: sessionmaker[Session], reason: str, device: str) -> int:
    with sessions() as session:
        row = session.get(RefusalCount, (device, reason))
        return row.count if row else 0


def store(message: Received) -> None:
    """A handler that writes: it renames the site to what the topic says."""
    message.session.get_one(Device, message.device).site = message.ids["document"]


def site(sessions: sessionmaker[Session], device: str) -> str:
    with sessions() as session:
        return session.get_one(Device, device).site


def test_a_message_is_stored_and_then_acknowledged(
    make_broker: Callable[[], Broker], device: Make, sessions: sessionmaker[Session]
) -> None:
    broker = make_broker()
    seen: list[str] = []

    def handle(message: Received) -> None:
        assert message.envelope is not None
        store(message)
        message.after_commit(lambda: seen.append(site(sessions, message.device)))

    broker.subscribe("evidence", handle)
    started(broker)
    kiosk = device("kiosk-01")
    kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    kiosk.wait_ack(BOOT, Lane.EVENTS, 1)
    assert seen == ["doc-1"]


def test_a_duplicate_is_acknowledged_again_and_not_handled(
    make_broker: Callable[[], Broker], device: Make
) -> None:
    broker = make_broker()
    handled: list[str] = []
    broker.subscribe("evidence", lambda message: handled.append(message.ids["document"]))
    started(broker)
    kiosk = device("kiosk-01")
    for _ in range(2):
        kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=2, document="doc-2")
    kiosk.wait_ack(BOOT, Lane.EVENTS, 2)
    assert handled == ["doc-1", "doc-2"]
    assert [ack.seq for ack in kiosk.acks()] == [1, 1, 2]


def test_a_gap_is_acknowledged_when_it_is_filled_or_given_up_by_the_device(
    make_broker: Callable[[], Broker], device: Make
) -> None:
    broker = make_broker()
    broker.subscribe("evidence", store)
    started(broker)
    kiosk = device("kiosk-01")
    for seq in (1, 3, 2):
        kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=seq, document=f"doc-{seq}")
    kiosk.wait_ack(BOOT, Lane.EVENTS, 3)
    assert [ack.seq for ack in kiosk.acks()] == [1, 1, 3]
    kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=9, kept_from=9, document="doc-9")
    kiosk.wait_ack(BOOT, Lane.EVENTS, 9)
    kiosk.send("evidence", BODY, boot="boot-0", lane=Lane.EVENTS, seq=1, document="doc-0")
    kiosk.wait_ack("boot-0", Lane.EVENTS, 1)


def test_bad_messages_are_counted_and_harm_nobody_else(
    make_broker: Callable[[], Broker], device: Make, sessions: sessionmaker[Session]
) -> None:
    broker = make_broker()
    broker.subscribe("evidence", lambda message: store(_read(message)))
    started(broker)
    bad, good = device("kiosk-01"), device("kiosk-02")
    bad.publish("evidence", b"\x00garbage", document="doc-1")
    bad.publish("evidence", b"x" * (MESSAGE_BYTES_MAX + 1), document="doc-1")
    bad.send("evidence", BODY, boot=BOOT, lane=Lane.TELEMETRY, seq=1, document="doc-1")
    bad.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=0, document="doc-1")
    bad.publish("evidence", LATER, document="doc-1")
    bad.send("evidence", b'{"document": 7}', boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    good.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-2")
    good.wait_ack(BOOT, Lane.EVENTS, 1)
    bad.wait_ack(BOOT, Lane.EVENTS, 1)
    reasons = {"not-an-envelope": 2, "unknown-version": 1, "oversized": 1, "wrong-lane": 1, "malformed": 1}
    assert {reason: count(sessions, reason, "kiosk-01") for reason in reasons} == reasons
    assert (site(sessions, "kiosk-01"), site(sessions, "kiosk-02")) == ("Prishtina", "doc-2")
    with sessions() as session:
        described = session.scalars(sa.select(Quarantined).order_by(Quarantined.id)).all()
        assert [row.size for row in described][:2] == [8, MESSAGE_BYTES_MAX + 1]


def _read(message: Received) -> Received:
    assert message.envelope is not None
    read(message.envelope.body, Evidence)
    return message


def test_a_foreign_device_is_counted_and_never_answered(
    make_broker: Callable[[], Broker],
    device: Make,
    sessions: sessionmaker[Session],
    clock: Clock,
) -> None:
    broker = make_broker()
    broker.subscribe("evidence", store)
    started(broker)
    stranger = device("stranger-01", registered=False)
    gone = device("kiosk-03")
    with sessions.begin() as session:
        session.get_one(Device, "kiosk-03").decommissioned_at = clock.at
    known = device("kiosk-01")
    for each in (stranger, gone, known):
        each.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    known.publish_raw("fleet/v1/not a name/documents/d/evidence", b"{}")
    known.wait_ack(BOOT, Lane.EVENTS, 1)
    wait_for(lambda: count(sessions, "foreign", "") == 3, "three foreign messages counted")
    assert stranger.acks() == gone.acks() == []


def test_what_the_handler_refuses_counts_as_received(
    make_broker: Callable[[], Broker], device: Make, sessions: sessionmaker[Session]
) -> None:
    broker = make_broker()

    def refuse(message: Received) -> None:
        store(message)
        raise RefusedError("not now, not ever")

    broker.subscribe("evidence", refuse)
    started(broker)
    kiosk = device("kiosk-01")
    kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    kiosk.wait_ack(BOOT, Lane.EVENTS, 1)
    assert count(sessions, "refused", "kiosk-01") == 1
    assert site(sessions, "kiosk-01") == "Prishtina"


def test_a_handler_that_fails_is_tried_again_and_then_set_aside(
    make_broker: Callable[[], Broker], device: Make, sessions: sessionmaker[Session]
) -> None:
    broker = make_broker()
    failures = {"doc-1": 1, "doc-2": 99}

    def handle(message: Received) -> None:
        store(message)
        document = message.ids["document"]
        if failures.get(document, 0) > 0:
            failures[document] -= 1
            raise ZeroDivisionError("a fault of ours")

    broker.subscribe("evidence", handle)
    started(broker)
    kiosk = device("kiosk-01")
    kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    kiosk.wait_ack(BOOT, Lane.EVENTS, 1)
    assert site(sessions, "kiosk-01") == "doc-1"
    assert count(sessions, "handler-failed", "kiosk-01") == 0
    kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=2, document="doc-2")
    kiosk.wait_ack(BOOT, Lane.EVENTS, 2)
    assert site(sessions, "kiosk-01") == "doc-1"
    assert count(sessions, "handler-failed", "kiosk-01") == 1


@pytest.mark.parametrize("too_large", [2**70, -(2**70)])
def test_a_value_that_no_column_holds_is_set_aside_at_once(
    make_broker: Callable[[], Broker], device: Make, sessions: sessionmaker[Session], too_large: int
) -> None:
    broker = make_broker()
    tried: list[str] = []

    def handle(message: Received) -> None:
        tried.append(message.ids["document"])
        message.session.execute(
            sa.update(WatermarkRow).where(WatermarkRow.device == "other").values(seq=too_large)
        )

    broker.subscribe("evidence", handle)
    started(broker)
    kiosk = device("kiosk-01")
    kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    kiosk.wait_ack(BOOT, Lane.EVENTS, 1)
    assert tried == ["doc-1"], "the neighbours do not wait for three attempts"
    assert count(sessions, "malformed", "kiosk-01") == 1


def test_what_once_ended_or_blocked_its_reader_is_counted_and_the_next_is_stored(
    make_broker: Callable[[], Broker], device: Make, sessions: sessionmaker[Session]
) -> None:
    """JSON that is nested too deeply; and U+0000, for which PostgreSQL has no place."""
    broker = make_broker()

    def handle(message: Received) -> None:
        assert message.envelope is not None
        read(message.envelope.body, Evidence)
        store(message)

    broker.subscribe("evidence", handle)
    started(broker)
    kiosk = device("kiosk-01")
    deep = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    kiosk.publish("evidence", b'{"boot":%s}' % deep, document="doc-1")
    kiosk.send("evidence", b'{"a":1}', boot="b\x00", lane=Lane.EVENTS, seq=1, document="doc-1")
    nul = b'{"document":"doc-1","job":"\\u0000","outcome":"printed"}'
    kiosk.send("evidence", nul, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    good = encode(Evidence(document="doc-2", job="j", outcome=PrintOutcome.PRINTED))
    kiosk.send("evidence", good, boot=BOOT, lane=Lane.EVENTS, seq=2, document="doc-2")
    kiosk.wait_ack(BOOT, Lane.EVENTS, 2)
    assert site(sessions, "kiosk-01") == "doc-2"
    assert count(sessions, "not-an-envelope", "kiosk-01") == 2
    assert count(sessions, "malformed", "kiosk-01") == 1


@pytest.fixture
def away(engine: sa.Engine) -> Iterator[Away]:
    """The database is away until `back()`."""
    made = Away()
    sa.event.listen(engine, "begin", made.refuse)
    yield made
    sa.event.remove(engine, "begin", made.refuse)


def test_while_the_database_is_away_the_message_waits(
    make_broker: Callable[[], Broker], device: Make, away: Away, sessions: sessionmaker[Session]
) -> None:
    broker = make_broker()
    broker.subscribe("evidence", store)
    kiosk = device("kiosk-01")
    away.go()
    started(broker)
    kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    away.wait_asked(4)
    assert kiosk.acks() == []
    away.back()
    kiosk.wait_ack(BOOT, Lane.EVENTS, 1)
    assert site(sessions, "kiosk-01") == "doc-1"


def test_what_was_being_stored_when_we_stopped_comes_again(
    make_broker: Callable[[], Broker], device: Make, away: Away, sessions: sessionmaker[Session]
) -> None:
    first = make_broker()
    first.subscribe("evidence", store)
    kiosk = device("kiosk-01")
    away.go()
    started(first)
    kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    away.wait_asked(1)
    first.stop()
    away.back()
    second = make_broker()
    second.subscribe("evidence", store)
    started(second)
    kiosk.wait_ack(BOOT, Lane.EVENTS, 1)
    assert site(sessions, "kiosk-01") == "doc-1"


def test_live_messages_pass_the_worker_by_and_are_not_stored(
    make_broker: Callable[[], Broker], device: Make, sessions: sessionmaker[Session]
) -> None:
    broker = make_broker()
    stored, live = threading.Event(), threading.Event()
    blocked = threading.Event()

    def slow(_message: Received) -> None:
        blocked.set()
        assert live.wait(DEADLINE_S)
        stored.set()

    broker.subscribe("evidence", slow)
    broker.subscribe("caption-partial", lambda _message: live.set())
    broker.subscribe("presence", lambda _message: None)
    started(broker)
    recorder = device("recorder-01")
    recorder.publish("presence", encode(_presence(True)))
    recorder.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    assert blocked.wait(DEADLINE_S)
    recorder.send("caption-partial", b"{}", boot=BOOT, lane=Lane.LIVE, seq=0, session="s", channel="floor")
    assert stored.wait(DEADLINE_S)
    with sessions() as session:
        assert {row.lane for row in session.scalars(sa.select(WatermarkRow))} <= {"events"}


def _presence(online: bool) -> Presence:
    return Presence(boot=BOOT, at=1, online=online, kind="recorder", agent="0.1.0")


def test_what_was_not_stored_when_we_stopped_comes_again(
    make_broker: Callable[[], Broker], device: Make, sessions: sessionmaker[Session]
) -> None:
    first = make_broker()
    first.subscribe("evidence", store)
    started(first)
    first.stop()
    kiosk = device("kiosk-01")
    kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
    second = make_broker()
    second.subscribe("evidence", store)
    connected = threading.Event()
    second.on_connected(connected.set)
    started(second)
    kiosk.wait_ack(BOOT, Lane.EVENTS, 1)
    assert connected.wait(DEADLINE_S)
    assert site(sessions, "kiosk-01") == "doc-1"


def test_it_connects_again_when_the_broker_was_killed(
    mosquitto: Mosquitto, make_broker: Callable[[], Broker]
) -> None:
    broker = make_broker()
    broker.subscribe("evidence", store)
    connections = threading.Semaphore(0)
    broker.on_connected(lambda: connections.release())
    started(broker)
    assert connections.acquire(timeout=DEADLINE_S)
    mosquitto.kill()
    wait_for(lambda: not broker.connected, "the loss is noticed")
    mosquitto.start()
    assert connections.acquire(timeout=DEADLINE_S)
    assert broker.connected


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[Mosquitto, Path]]:
    folder = tmp_path / "pki"
    pki.prepare(folder, ["localhost", "127.0.0.1"], datetime.now(UTC))
    broker = Mosquitto(tmp_path / "broker", folder)
    broker.start()
    yield broker, folder
    broker.kill()


def test_with_mutual_tls_a_device_reaches_us_under_its_own_name_only(
    secured: tuple[Mosquitto, Path], sessions: sessionmaker[Session], clock: Clock, tmp_path: Path
) -> None:
    mosquitto, folder = secured
    with sessions.begin() as session:
        for name in ("kiosk-01", "kiosk-02"):
            session.add(Device(device=name, kind="kiosk", site="Prishtina", registered_at=clock.at))
    settings = BrokerSettings(host="localhost", port=mosquitto.port)
    broker = Broker(settings, name="svc-control", pki=folder, sessions=sessions, clock=clock)
    broker.subscribe("evidence", store)
    kiosk = None
    try:
        started(broker)
        kiosk = FleetDevice(mosquitto.port, "kiosk-01", _certificate(folder, tmp_path, "kiosk-01"))
        kiosk.publish_raw("fleet/v1/kiosk-02/documents/doc-9/evidence", b"not mine")
        kiosk.send("evidence", BODY, boot=BOOT, lane=Lane.EVENTS, seq=1, document="doc-1")
        kiosk.wait_ack(BOOT, Lane.EVENTS, 1)
        assert (site(sessions, "kiosk-01"), site(sessions, "kiosk-02")) == ("doc-1", "Prishtina")
        assert kiosk.acks() == [Ack(boot=BOOT, lane=Lane.EVENTS, seq=1)]
    finally:
        if kiosk is not None:
            kiosk.close()
        broker.stop()


def _certificate(folder: Path, into: Path, name: str) -> tuple[Path, Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = pki.load(folder).device(key.public_key(), name, "kiosk", datetime.now(UTC))
    paths = into / f"{name}.pem", into / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "ca.pem", *paths


def test_without_its_certificate_it_says_what_to_do(
    sessions: sessionmaker[Session], clock: Clock, tmp_path: Path
) -> None:
    settings = BrokerSettings(host="localhost", port=8883)
    with pytest.raises(SettingsError, match="run `python -m cloud init`"):
        Broker(settings, name="svc-control", pki=tmp_path, sessions=sessions, clock=clock)
