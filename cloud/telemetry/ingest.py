"""Telemetry from the broker into the store: stored first, acknowledged after, in batches.

One thread does it all: waking another for each message costs more than decoding it, and storing in a second
thread was measured to gain nothing (both want the interpreter). A batch goes out when it is full, when
nothing more is waiting, or when its first message has waited long enough. When the process is killed,
whatever was not acknowledged comes again, and storing it again changes nothing.
"""

import logging
import select
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho

from cloud import mqtt
from cloud.settings import Broker as BrokerSettings
from cloud.telemetry.core import TOPIC_NAME
from cloud.telemetry.keeper import RETRY_MAX_S, RETRY_MIN_S, Keeper, StoppedError
from cloud.telemetry.quick_mqtt import Arrived, QuickClient
from cloud.watermark import Key, Watermark
from contract import topics
from contract.errors import MalformedError
from contract.messages import Ack, Lane, encode

log = logging.getLogger(__name__)

BATCH_MAX = 500
LINGER_S = 0.1
IDLE_S = 0.005
"""Nothing more has come for so long: the batch goes out, so that a broker with a small window never waits."""
TURN_S = 0.5
TOPICS_KNOWN_MAX = 50_000


class Ingest:
    """The consumer; `run` returns when `stop` is set, `connected` is set while its subscription stands.

    `monotonic` is a clock in seconds that never steps.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        name: str,
        pki: Path,
        keeper: Keeper,
        monotonic: Callable[[], float],
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._keeper = keeper
        self._monotonic = monotonic
        self._stop = stop
        self.connected = threading.Event()
        self._devices: dict[str, str] = {}
        self._batch_max = max(1, min(BATCH_MAX, settings.receive_maximum))
        self._client = mqtt.make_client(settings, name, pki, QuickClient)
        self._client.arrived = []
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect

    def run(self) -> None:
        """Take, store, acknowledge; connect again after each loss."""
        mqtt.connect(self._client, self._settings)
        pause_s = RETRY_MIN_S
        while not self._stop.is_set():
            try:
                self._client.reconnect()
            except OSError as error:
                log.warning("link_unreachable", extra={"reason": str(error)})
            else:
                try:
                    stored = self._serve()
                except StoppedError:
                    break
                if stored:
                    pause_s = RETRY_MIN_S
            self._client.arrived = []
            self._stop.wait(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)
        self._client.disconnect()

    def _serve(self) -> bool:
        """Until the connection is lost or we stop; whether anything was stored."""
        first = 0.0
        stored = False
        while not self._stop.is_set():
            self._keeper.report(connected=self.connected.is_set())
            before = len(self._client.arrived)
            if not self._take():
                break
            batch, now = self._client.arrived, self._monotonic()
            if before == 0:
                first = now
            if not batch:
                self._more(TURN_S)
            elif len(batch) >= self._batch_max or now - first >= LINGER_S or not self._more(IDLE_S):
                self._client.arrived = []
                stored = self._put(batch) or stored
        return stored

    def _put(self, batch: Sequence[Arrived]) -> bool:
        """Store a batch and acknowledge it; whether that was possible on this connection."""
        outcome = self._keeper.keep([(self._device(message.topic), message.payload) for message in batch])
        if not self._client.is_connected():
            return False
        self._client.acknowledge(message.mid for message in batch if message.qos)
        self._acknowledge(outcome.marks)
        return True

    def _take(self) -> bool:
        """Read what is there, up to a full batch; False when the connection is gone."""
        client = self._client
        arrived = client.arrived
        while (had := len(arrived)) < self._batch_max:
            if client.loop_read() != paho.MQTT_ERR_SUCCESS:
                return False
            if len(arrived) == had:
                break
        while client.want_write():
            if client.loop_write() != paho.MQTT_ERR_SUCCESS:
                return False
        return client.loop_misc() == paho.MQTT_ERR_SUCCESS

    def _more(self, timeout_s: float) -> bool:
        """Whether there is something to read within `timeout_s`."""
        socket: Any = self._client.socket()
        if socket is None:
            return False
        if getattr(socket, "pending", int)():
            return True
        return bool(select.select([socket], [], [], timeout_s)[0])

    def _acknowledge(self, marks: Mapping[Key, Watermark]) -> None:
        for key, mark in marks.items():
            if mark.seq > 0:
                ack = Ack(boot=key.boot, lane=Lane.TELEMETRY, seq=mark.seq)
                topic = topics.build("ack", root=self._settings.root, device=key.device)
                self._client.publish(topic, encode(ack), qos=topics.BY_NAME["ack"].qos)

    def _device(self, topic: str) -> str:
        """Whose message it is; '' where the topic is none of ours."""
        known = self._devices.get(topic)
        if known is None:
            try:
                known = topics.parse(topic, root=self._settings.root)[1]["device"]
            except MalformedError:
                return ""
            if len(self._devices) >= TOPICS_KNOWN_MAX:
                self._devices.clear()
            self._devices[topic] = known
        return known

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            log.warning("link_refused", extra={"reason": str(code)})
            return
        client.subscribe(topics.subscription(TOPIC_NAME, root=self._settings.root), qos=1)

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, codes: list[Any], _properties: Any) -> None:
        if any(code.is_failure for code in codes):
            log.error("subscription_refused", extra={"codes": [str(code) for code in codes]})
            return
        self.connected.set()
        log.info("link_connected", extra={"broker": f"{self._settings.host}:{self._settings.port}"})

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self.connected.clear()
        log.warning("link_lost", extra={"reason": str(code)})
