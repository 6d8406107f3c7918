"""A device as the broker sees it, driven by a test: it publishes, and keeps what it is told."""

import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from contract import topics
from contract.messages import Ack, Lane, encode, read, seal

DEADLINE_S = 20.0
AT = 1_790_000_000_000
"""2026-09-21, in milliseconds: the moment of every message in these tests."""


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until `condition` holds; fail with `what` when it does not in time."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"still waiting: {what}"
        time.sleep(0.01)  # a database row gives no event to wait for


class FleetDevice:
    """One device's connection; `tls` is (ca, certificate, key)."""

    def __init__(self, port: int, device: str, tls: tuple[Path, Path, Path] | None = None) -> None:
        self.device = device
        self.told: list[tuple[str, bytes]] = []
        self._new = threading.Condition()
        self._sent: list[paho.MQTTMessageInfo] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=device, protocol=paho.MQTTv5)
        if tls is not None:
            context = ssl.create_default_context(cafile=str(tls[0]))
            context.load_cert_chain(tls[1], tls[2])
            self._client.tls_set_context(context)
        self._client.on_message = self._on_message
        up = threading.Event()
        self._client.on_subscribe = lambda *_: up.set()
        self._client.on_connect = self._on_connect
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert up.wait(DEADLINE_S), f"{device} does not get its subscriptions"

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(
            [
                (topics.subscription(row.name, device=self.device), 1)
                for row in topics.TOPICS
                if row.sender == "cloud"
            ]
        )

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with self._new:
            self.told.append((topics.parse(message.topic)[0], bytes(message.payload)))
            self._new.notify_all()

    def publish(self, name: str, payload: bytes, qos: int = 1, **ids: str) -> None:
        """Publish raw bytes on the topic called `name`."""
        self.publish_raw(topics.build(name, device=self.device, **ids), payload, qos)

    def publish_raw(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Publish on any topic."""
        self._sent.append(self._client.publish(topic, payload, qos=qos))

    def published_all(self) -> bool:
        """Whether the broker has acknowledged everything that was published."""
        self._sent = [info for info in self._sent if not info.is_published()]
        return not self._sent

    def send(
        self,
        name: str,
        body: msgspec.Struct | bytes,
        *,
        boot: str,
        lane: Lane,
        seq: int,
        kept_from: int = 0,
        **ids: str,
    ) -> None:
        """Publish `body` in an envelope."""
        data = body if isinstance(body, bytes) else encode(body)
        sealed = seal(
            data, boot=boot, lane=lane, seq=seq, at=AT, sent=AT, historical=False, kept_from=kept_from
        )
        self.publish(name, sealed, **ids)

    def wait_told(self, condition: Callable[[list[tuple[str, bytes]]], bool], what: str) -> None:
        """Wait until what was told satisfies `condition`."""
        with self._new:
            assert self._new.wait_for(lambda: condition(self.told), DEADLINE_S), f"{what}; told: {self.told}"

    def wait_ack(self, boot: str, lane: Lane, seq: int) -> None:
        """Wait until the cloud has acknowledged exactly `seq`."""
        wanted = Ack(boot=boot, lane=lane, seq=seq)
        self.wait_told(
            lambda told: any(name == "ack" and read(body, Ack) == wanted for name, body in told),
            f"no acknowledgement {wanted}",
        )

    def wait_acked(self, seq: int) -> None:
        """Wait until everything up to `seq` is acknowledged, of the one boot and lane that is used."""
        self.wait_told(
            lambda told: any(name == "ack" and read(body, Ack).seq >= seq for name, body in reversed(told)),
            f"nothing up to {seq} is acknowledged",
        )

    def acks(self) -> list[Ack]:
        """Every acknowledgement so far."""
        return [read(body, Ack) for name, body in self.told if name == "ack"]

    def close(self) -> None:
        """Disconnect in order."""
        self._client.disconnect()
        self._client.loop_stop()
