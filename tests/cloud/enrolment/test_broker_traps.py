"""Traps of a broker, closed in the generated configuration: each is tried on a real mosquitto.

See "mosquitto facts" and "Full offline queue" in the notes that `broker_config` was written from; what cannot
be closed (messages that are dropped, a kill before the next snapshot) is seen by its counter or repaired by
the devices' outboxes.
"""

import signal
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud.broker_figures import SYSTEM_TOPICS, BrokerFigures
from cloud.enrolment import broker_config, pki
from cloud.settings import Broker as BrokerSettings
from cloud.telemetry.ingest import BATCH_MAX
from contract import topics
from contract.messages import MESSAGE_BYTES_MAX
from tests.cloud.enrolment.hardened import TIMEOUT_S, free_port, hardened, make_client

TELEMETRY = topics.build("telemetry", device="kiosk-01")
PRESENCE = topics.build("presence", device="kiosk-01")
QUEUED_MAX, CONNECTIONS_MAX = 5, 3


class Client:
    """A client with a certificate; what came is in `got`, and nothing is acknowledged by itself."""

    def __init__(self, broker, name, client_id=None, session_s=0):
        self.got, self.news = [], threading.Condition()
        self.up, self.down, self.subscribed = threading.Event(), threading.Event(), threading.Event()
        self.refused = None
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2, client_id or name, protocol=paho.MQTTv5, manual_ack=True
        )
        context = ssl.create_default_context(cafile=str(broker.folder / "ca.pem"))
        context.load_cert_chain(broker.folder / f"{name}.pem", broker.folder / f"{name}.key")
        self.paho.tls_set_context(context)
        self.paho.reconnect_on_failure = False
        self.paho.on_connect = self._on_connect
        self.paho.on_message = self._on_message
        self.paho.on_subscribe = lambda *_: self.subscribed.set()
        self.paho.on_disconnect = lambda *_: self.down.set()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = session_s
        properties.ReceiveMaximum = 1000
        self.paho.connect("localhost", broker.port, clean_start=session_s == 0, properties=properties)
        self.paho.loop_start()
        assert self.up.wait(TIMEOUT_S), f"{name} is not let in"

    def _on_connect(self, _client, _data, flags, _code, _properties):
        self.session_present = flags.session_present
        self.up.set()

    def _on_message(self, _client, _data, message):
        with self.news:
            self.got.append((message.topic, bytes(message.payload)))
            self.news.notify_all()

    def subscribe(self, *filters, qos=1):
        self.subscribed.clear()
        self.paho.subscribe([(each, qos) for each in filters])
        assert self.subscribed.wait(TIMEOUT_S)

    def wait(self, condition):
        with self.news:
            assert self.news.wait_for(lambda: condition(self.got), TIMEOUT_S), self.got

    def publish(self, topic, payload=b"x"):
        info = self.paho.publish(topic, payload, qos=1)
        info.wait_for_publish(TIMEOUT_S)
        return info.is_published()

    def close(self):
        self.paho.disconnect()
        self.paho.loop_stop()


@pytest.fixture
def small(tmp_path, folder):
    """A broker with little room, whose counters come every second."""
    settings = BrokerSettings(
        host="localhost", port=free_port(), queued_max=QUEUED_MAX, connections_max=CONNECTIONS_MAX
    )
    with hardened(settings, folder, tmp_path / "broker", "sys_interval 1\n") as running:
        make_client(pki.load(folder), folder, "kiosk-01")
        yield running


@contextmanager
def connected(broker, name, **how):
    client = Client(broker, name, **how)
    try:
        yield client
    finally:
        client.close()


def devices(broker, *names):
    issuer = pki.load(broker.folder)
    for name in names:
        make_client(issuer, broker.folder, name)


def test_nobody_takes_over_a_service_by_its_client_id(broker):
    devices(broker, "kiosk-01")
    with connected(broker, "svc-ingest") as ingest:
        ingest.subscribe(topics.subscription("telemetry"))
        with connected(broker, "kiosk-01", client_id="svc-ingest") as thief:
            thief.publish(TELEMETRY, b"mine")
            ingest.wait(lambda got: got == [(TELEMETRY, b"mine")])
            assert not ingest.down.is_set()
            assert not thief.down.is_set(), "it is in, under its own name"


def test_whoever_subscribes_to_everything_gets_what_is_for_it(broker):
    devices(broker, "kiosk-01", "kiosk-02")
    with connected(broker, "kiosk-01") as nosy, connected(broker, "kiosk-02") as other:
        nosy.subscribe("#", "$SYS/#", "$share/ingest/#", "fleet/v1/+/telemetry", "fleet/v1/kiosk-02/#")
        other.publish(topics.build("telemetry", device="kiosk-02"))
        with connected(broker, "svc-control") as control:
            control.publish(topics.build("job-notify", device="kiosk-02"))
            control.publish(topics.build("job-notify", device="kiosk-01"), b"for you")
        nosy.wait(lambda got: bool(got))
        assert set(nosy.got) == {(topics.build("job-notify", device="kiosk-01"), b"for you")}


def test_what_a_full_queue_drops_is_told_to_nobody_but_counted(small):
    figures = BrokerFigures(CONNECTIONS_MAX)

    def told():
        return figures.now(datetime.now(UTC))

    def listen(control):
        control.paho.message_callback_add(
            "$SYS/#", lambda _c, _d, m: figures.take(m.topic, m.payload, datetime.now(UTC))
        )
        control.subscribe(*SYSTEM_TOPICS, qos=0)

    with connected(small, "svc-control", session_s=600) as control:
        control.subscribe(topics.subscription("presence"))
        listen(control)
        until(lambda: told() is not None and "dropped" in told().values)
        assert told().drops == 0
    with connected(small, "kiosk-01") as kiosk:
        assert all(kiosk.publish(PRESENCE, b"%d" % n) for n in range(QUEUED_MAX + 7))
    with connected(small, "svc-control", session_s=600) as control:
        listen(control)
        until(lambda: told() is not None and told().drops == 7)
        control.wait(lambda got: len(got) == QUEUED_MAX)
        assert [payload for _, payload in control.got] == [b"%d" % n for n in range(QUEUED_MAX)]
        assert 0 < told().full_pct <= 100


def until(condition):
    """A figure gives no event to wait for."""
    pause = threading.Event()
    for _ in range(TIMEOUT_S * 20):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come")


def test_a_batch_of_the_ingest_fits_into_the_window(broker):
    devices(broker, "kiosk-01")
    with connected(broker, "svc-ingest") as ingest, connected(broker, "kiosk-01") as kiosk:
        ingest.subscribe(topics.subscription("telemetry"))
        for _ in range(BATCH_MAX):
            kiosk.paho.publish(TELEMETRY, b"x", qos=1)
        ingest.wait(lambda got: len(got) == BATCH_MAX)


@pytest.mark.parametrize(("how", "kept"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])
def test_what_waits_survives_an_orderly_end_and_not_a_kill(broker, how, kept):
    """After a kill the devices' outboxes send again what counts, and each greets anew."""
    devices(broker, "kiosk-01")
    with connected(broker, "svc-control", session_s=600) as control:
        control.subscribe(topics.subscription("presence"))
    with connected(broker, "kiosk-01") as kiosk:
        kiosk.publish(PRESENCE, b"waits")
    broker.again(how)
    with connected(broker, "svc-control", session_s=600) as control:
        assert control.session_present is kept
        if kept:
            control.wait(lambda got: got == [(PRESENCE, b"waits")])


def test_a_session_is_forgotten_when_its_time_is_over(broker):
    devices(broker, "kiosk-01")
    notify = topics.build("job-notify", device="kiosk-01")
    with connected(broker, "kiosk-01", session_s=1) as kiosk:
        kiosk.subscribe(notify)
    broker.wait("Expiring client kiosk-01 due to timeout")
    with connected(broker, "kiosk-01", session_s=600) as kiosk:
        assert not kiosk.session_present


def test_what_is_too_large_ends_its_sender_and_nobody_else(broker):
    devices(broker, "kiosk-01", "kiosk-02")
    with connected(broker, "svc-ingest") as ingest, connected(broker, "kiosk-02") as other:
        ingest.subscribe(topics.subscription("telemetry"))
        with connected(broker, "kiosk-01") as large:
            large.paho.publish(TELEMETRY, b"x" * (broker_config.PACKET_BYTES_MAX + 1), qos=1)
            assert large.down.wait(TIMEOUT_S)
        other.publish(topics.build("telemetry", device="kiosk-02"), b"x" * MESSAGE_BYTES_MAX)
        ingest.wait(lambda got: bool(got))
        assert [(topic, len(payload)) for topic, payload in ingest.got] == [
            (topics.build("telemetry", device="kiosk-02"), MESSAGE_BYTES_MAX)
        ]


def test_no_more_get_in_than_are_allowed(small):
    names = [f"kiosk-{n}" for n in range(CONNECTIONS_MAX + 1)]
    devices(small, *names)
    inside = [Client(small, name) for name in names[:CONNECTIONS_MAX]]
    try:
        with pytest.raises(OSError):  # it is hung up on, in whichever way TLS says so
            Client(small, names[-1]).close()
        inside.pop().close()
        until(lambda: any(f"{names[CONNECTIONS_MAX - 1]} disconnected" in line for line in small.lines))
        Client(small, names[-1]).close()
    finally:
        for each in inside:
            each.close()


def test_every_listener_has_the_list_of_the_revoked(tmp_path):
    made = broker_config.configuration(
        BrokerSettings(host="x"), tmp_path, bind="127.0.0.1", port=1, root=False
    )
    listeners = made.split("\nlistener ")[1:]
    assert listeners
    for each in listeners:
        for line in (
            "crlfile ",
            "require_certificate true",
            "use_username_as_clientid true",
            "max_connections ",
        ):
            assert f"\n{line}" in each, line
