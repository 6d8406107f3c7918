"""The control plane's end of the link: what devices send is stored before it is acknowledged.

One worker thread takes the messages one after another, each in a transaction of its own: the watermark
and whatever the handler writes are committed together, then the broker is acknowledged, then the device.
A message that was stored before is only acknowledged again. Devices take turns, so that none waits for the
flood of another; what a device sends beyond its share (`cloud.fair`) is dropped and counted.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud import arrivals, mqtt
from cloud.broker_figures import SYSTEM_PREFIX, SYSTEM_TOPICS
from cloud.broker_refusals import REPORT_TOPIC, read_report
from cloud.database.models.devices import Device
from cloud.database.writing import hold
from cloud.errors import MalformedError, RefusedError
from cloud.fair import Turns
from cloud.refusals import COUNTED_AS_RECEIVED, Reason, refusal
from cloud.settings import Broker as BrokerSettings
from cloud.watermark import Key, Verdict, Watermark, note, tally
from contract import topics
from contract.errors import MalformedError as ContractMalformedError
from contract.errors import UnknownVersionError
from contract.messages import MESSAGE_BYTES_MAX, Ack, Envelope, Lane, encode, open_envelope

log = logging.getLogger(__name__)

ATTEMPTS_MAX = 3
RETRY_MIN_S = 0.2
RETRY_MAX_S = 5.0
LIVE_PER_S_MAX = 100
"""Live messages of one device in a second, captions of two microphones among them; more are dropped."""

ENVELOPED = {
    "telemetry": Lane.TELEMETRY,
    "evidence": Lane.EVENTS,
    "caption-final": Lane.EVENTS,
    "updates": Lane.EVENTS,
    "caption-partial": Lane.LIVE,
    "recordings": Lane.EVENTS,
    "floor": Lane.EVENTS,
    "dropped": Lane.EVENTS,
}
"""Topics whose messages travel in an envelope, and the lane that it must name."""


@dataclass
class Received:
    """One message of a registered device.

    `ids` are those of its topic, `device` among them. `envelope` is None on topics that have none; its
    `body`, or else `payload`, is what `contract.messages.read` takes. `received_at` is the server's time.
    """

    device: str
    ids: dict[str, str]
    payload: bytes
    envelope: Envelope | None
    received_at: datetime
    _session: Session | None = None
    _after: list[Callable[[], None]] = field(default_factory=list)

    @property
    def session(self) -> Session:
        """The transaction that the message is stored in, holding its device; live messages have none."""
        assert self._session is not None, "a live message is not stored"
        return self._session

    def after_commit(self, do: Callable[[], None]) -> None:
        """Call `do` once the transaction is committed; never when it is not."""
        self._after.append(do)


Handler = Callable[[Received], None]


@dataclass(frozen=True)
class _Arrived:
    """A message as the broker gave it; a `mid` is good only within its `connection`, which we count."""

    connection: int
    mid: int
    qos: int
    name: str
    ids: dict[str, str]
    payload: bytes
    received_at: datetime


class _RefuseError(Exception):
    """This message is not stored, for `reason`."""

    def __init__(self, reason: Reason, envelope: Envelope | None, why: str) -> None:
        super().__init__(why)
        self.reason = reason
        self.envelope = envelope


class Broker:
    """One service's connection: `subscribe` first, then `start`; `stop` ends it in order."""

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        name: str,
        pki: Path,
        sessions: sessionmaker[Session],
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._connected_handlers: list[Callable[[], None]] = []
        self._known: frozenset[str] = frozenset()
        self._turns: Turns[_Arrived | Callable[[], None]] = Turns()
        self._waits = threading.Condition()
        self._excess: Counter[str] = Counter()
        self._live: dict[str, tuple[int, int]] = {}
        self._connection = 0
        self._stopping = threading.Event()
        self._connected = threading.Event()
        self._since: datetime | None = None
        self._system: Callable[[str, bytes], None] | None = None
        self._system_mid: int | None = None
        self._client = mqtt.make_client(settings, name, pki, paho.Client)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._worker = threading.Thread(target=self._work, name="broker-events", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us, and our subscriptions stand."""
        return self._connected.is_set()

    @property
    def connected_since(self) -> datetime | None:
        """Since when our subscriptions stand; None when they do not."""
        return self._since

    def watch_system(self, handler: Callable[[str, bytes], None]) -> None:
        """Call `handler` in the network thread with each of the broker's own figures: topic and payload.

        What it has refused by itself (`cloud.broker_log`) is counted from then on as well. A broker that has
        none of it, or does not give it to us, says nothing.
        """
        self._system = handler

    def subscribe(self, topic_name: str, handler: Handler) -> None:
        """Call `handler` for each message on the topic called `topic_name` in `contract.topics`.

        It runs in the worker thread inside the transaction `message.session`, must not open another (on
        SQLite that one would wait for this one), and may raise MalformedError or RefusedError: the message
        is then quarantined and counts as received. On a live topic (`caption-partial`) it runs
        in the network thread without a transaction and must return at once.
        """
        assert topic_name in topics.BY_NAME, f"{topic_name!r} is not in the table of topics"
        assert topic_name not in self._handlers, f"{topic_name!r} has a handler already"
        self._handlers[topic_name] = handler

    def on_connected(self, handler: Callable[[], None]) -> None:
        """Call `handler` in the worker thread after each connection to the broker."""
        self._connected_handlers.append(handler)

    def publish(
        self,
        topic_name: str,
        ids: dict[str, str],
        payload: bytes,
        retained: bool = False,
        expiry_s: int | None = None,
    ) -> None:
        """Publish at the QoS of the topic's row, from any thread; the broker drops it after `expiry_s`.

        While the broker is away up to `mqtt.WAITING_MAX` messages wait in memory; none survives a restart,
        so whatever counts must be found again from the database.
        """
        topic = topics.build(topic_name, root=self._settings.root, **ids)
        info = self._client.publish(
            topic,
            payload,
            qos=topics.BY_NAME[topic_name].qos,
            retain=retained,
            properties=mqtt.expiring(expiry_s),
        )
        if info.rc not in (paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_NO_CONN):
            log.warning("message_not_published", extra={"topic_name": topic_name, "rc": int(info.rc)})

    def start(self) -> None:
        """Connect, and again after each loss, until `stop`."""
        assert self._handlers, "subscribe first"
        self._worker.start()
        mqtt.connect(self._client, self._settings)
        self._client.loop_start()

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the broker is there; False when it was not within `timeout_s`."""
        return self._connected.wait(timeout_s)

    def stop(self) -> None:
        """Finish the message in hand, leave the others to the broker, and disconnect."""
        with self._waits:
            self._stopping.set()
            self._waits.notify()
        if self._worker.is_alive():
            self._worker.join()
        self._client.disconnect()
        self._client.loop_stop()
        self._connected.clear()

    # --- network thread ---

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            log.warning("link_refused", extra={"reason": str(code)})
            return
        self._connection += 1
        filters: list[tuple[str, int]] = [
            (topics.subscription(name, root=self._settings.root), topics.BY_NAME[name].qos)
            for name in self._handlers
        ]
        client.subscribe(filters)

    def _on_subscribe(
        self, client: paho.Client, _data: Any, mid: int, codes: list[Any], _properties: Any
    ) -> None:
        if mid == self._system_mid:
            self._system_mid = None  # whether the broker has figures shows when they come
            return
        if any(code.is_failure for code in codes):
            log.error("subscription_refused", extra={"codes": [str(code) for code in codes]})
            return
        self._since = self._clock()
        self._connected.set()
        if self._system is not None:
            filters = [(topic, 0) for topic in SYSTEM_TOPICS] + [(REPORT_TOPIC, 1)]
            self._system_mid = client.subscribe(filters)[1]
        log.info("link_connected", extra={"broker": f"{self._settings.host}:{self._settings.port}"})
        for handler in self._connected_handlers:
            self._do_later(handler)

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self._connected.clear()
        self._since = None
        if self._system_mid is not None:  # some brokers hang up on whoever asks for `$SYS`
            self._system = self._system_mid = None
        log.warning("link_lost", extra={"reason": str(code)})

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if self._system is not None and message.topic.startswith(SYSTEM_PREFIX):
            self._system(message.topic, bytes(message.payload))
            return
        if message.topic == REPORT_TOPIC:
            reported = self._arrived(message, "", {"device": ""})
            self._do_later(lambda: self._count_reported(reported))
            return
        try:
            name, ids = topics.parse(message.topic, root=self._settings.root)
        except (ContractMalformedError, UnicodeDecodeError):
            name, ids = "", {"device": ""}
        arrived = self._arrived(message, name, ids)
        if ENVELOPED.get(name) is Lane.LIVE and ids["device"] in self._known:
            if self._live_in_time(arrived):
                self._deliver_live(arrived)
            return
        with self._waits:
            taken = self._turns.offer(ids["device"], arrived)
            self._waits.notify()
        if not taken:
            self._drop(arrived)

    def _arrived(self, message: paho.MQTTMessage, name: str, ids: dict[str, str]) -> _Arrived:
        return _Arrived(
            self._connection, message.mid, message.qos, name, ids, bytes(message.payload), self._clock()
        )

    def _live_in_time(self, arrived: _Arrived) -> bool:
        device, second = arrived.ids["device"], int(arrived.received_at.timestamp())
        last, count = self._live.get(device, (second, 0))
        count = count + 1 if last == second else 1
        self._live[device] = (second, count)
        if count > LIVE_PER_S_MAX:
            self._drop(arrived)
        return count <= LIVE_PER_S_MAX

    def _drop(self, arrived: _Arrived) -> None:
        """Take a message from the broker that its device may send again; the worker counts it."""
        self._acknowledge(arrived)
        with self._waits:
            first = not self._excess
            self._excess[arrived.ids["device"]] += 1
            if first:
                self._turns.offer("", self._count_excess, bounded=False)
                self._waits.notify()

    def _do_later(self, task: Callable[[], None]) -> None:
        with self._waits:
            self._turns.offer("", task, bounded=False)
            self._waits.notify()

    def _deliver_live(self, arrived: _Arrived) -> None:
        try:
            envelope = _open(arrived)
            self._handlers[arrived.name](
                Received(arrived.ids["device"], arrived.ids, arrived.payload, envelope, arrived.received_at)
            )
        except (_RefuseError, ContractMalformedError, MalformedError, RefusedError) as error:
            reason = error.reason if isinstance(error, _RefuseError) else _reason(error)
            self._do_later(lambda: self._count(arrived, reason))
        except (
            Exception
        ):  # the network thread must outlive any handler; the message was live, the next follows
            log.exception("live_message_failed", extra={"topic_name": arrived.name})

    # --- worker thread ---

    def _work(self) -> None:
        while (item := self._next()) is not None:
            if isinstance(item, _Arrived):
                self._take(item)
                continue
            try:
                item()
            except Exception:  # what a connection starts is done again at the next; the worker goes on
                log.exception("broker_task_failed")
        if self._excess:
            self._count_excess()

    def _next(self) -> _Arrived | Callable[[], None] | None:
        """What is to be done next; None when we are to stop."""
        with self._waits:
            while not self._stopping.is_set():
                item = self._turns.take()
                if item is not None:
                    return item
                self._waits.wait()
        return None

    def _count_excess(self) -> None:
        """Write down how much was dropped; what cannot be written now is written later."""
        with self._waits:
            excess, self._excess = self._excess, Counter()
        if not self._write_counts({(device, Reason.EXCESS.value): times for device, times in excess.items()}):
            with self._waits:
                self._excess.update(excess)
            self._do_later(self._count_excess)
            return
        for device, times in excess.items():
            log.warning("excess_dropped", extra={"device": device, "count": times})

    def _count_reported(self, reported: _Arrived) -> None:
        """Write down what the broker has refused by itself, then take the report from it."""
        try:
            counts = read_report(reported.payload)
        except MalformedError as error:
            log.warning("broker_report_refused", extra={"sentence": str(error)})
            counts = {}
        if not self._write_counts(counts):
            self._do_later(lambda: self._count_reported(reported))
            return
        self._acknowledge(reported)
        for (device, reason), times in counts.items():
            log.warning("refused_by_broker", extra={"device": device, "reason": reason, "count": times})

    def _write_counts(self, counts: Mapping[tuple[str, str], int]) -> bool:
        """Add refusals by device and reason; False, after a pause, when the database does not take them."""
        devices = {device for device, _ in counts}
        try:
            with self._sessions.begin() as session:
                hold(session, devices)
                known = set(session.scalars(sa.select(Device.device).where(Device.device.in_(devices))))
                for (device, reason), times in counts.items():
                    owner = device if device in known else ""
                    arrivals.count(session, owner, reason, self._clock(), times)
        except sa.exc.SQLAlchemyError:
            log.exception("refusals_not_counted")
            self._stopping.wait(RETRY_MIN_S)
            return False
        return True

    def _take(self, arrived: _Arrived) -> None:
        """Store one message, however often it takes; leave it to the broker only when we stop."""
        pause_s = RETRY_MIN_S
        attempt = 0
        while not self._stopping.is_set():
            attempt += 1
            try:
                self._store(arrived)
            except _RefuseError as refused:
                done = self._quarantine(arrived, refused)
            except (ContractMalformedError, MalformedError) as error:
                done = self._quarantine(arrived, _RefuseError(_reason(error), _peek(arrived), str(error)))
            except RefusedError as error:
                done = self._quarantine(arrived, _RefuseError(Reason.REFUSED, _peek(arrived), str(error)))
            except (sa.exc.DataError, OverflowError) as error:  # no column holds such a value, however often
                done = self._quarantine(
                    arrived, _RefuseError(Reason.MALFORMED, _peek(arrived), type(error).__name__)
                )
            except Exception as error:  # a fault of ours must neither lose the message nor stop the others
                log.exception("message_handler_failed", extra=_described(arrived) | {"attempt": attempt})
                done = attempt >= ATTEMPTS_MAX and self._quarantine(
                    arrived, _RefuseError(Reason.HANDLER_FAILED, _peek(arrived), type(error).__name__)
                )
            else:
                done = True
            if done:
                self._acknowledge(arrived)
                return
            self._stopping.wait(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    def _store(self, arrived: _Arrived) -> None:
        device = arrived.ids["device"]
        with self._sessions() as session:
            with session.begin():
                self._admit(session, arrived)
                envelope = _open(arrived)
                message = Received(
                    device, arrived.ids, arrived.payload, envelope, arrived.received_at, session
                )
                mark = None
                if envelope is not None and envelope.lane is not Lane.LIVE:
                    mark, verdict = self._move(session, device, envelope, arrived.received_at)
                    if verdict is Verdict.BEYOND:
                        raise _RefuseError(Reason.BEYOND, envelope, "the gap before it is full")
                    if verdict is Verdict.NEW:
                        self._handlers[arrived.name](message)
                else:
                    self._handlers[arrived.name](message)
            self._finish(message, mark)

    def _admit(self, session: Session, arrived: _Arrived) -> None:
        device = arrived.ids["device"]
        hold(session, [device])
        found = session.scalar(
            sa.select(Device.device).where(Device.device == device, Device.decommissioned_at.is_(None))
        )
        if found is None:
            self._known -= {device}
            raise _RefuseError(Reason.FOREIGN, None, "the device is not registered")
        if device not in self._known:
            self._known |= {device}

    @staticmethod
    def _move(
        session: Session, device: str, envelope: Envelope, now: datetime, *, refused: bool = False
    ) -> tuple[Watermark, Verdict]:
        key = Key(device, envelope.boot, envelope.lane)
        before = arrivals.load(session, key)
        known = before or Watermark()
        mark, verdict = note(known, envelope.seq, kept_from=envelope.kept_from)
        counted = tally(known, mark, verdict, envelope.seq, kept_from=envelope.kept_from, refused=refused)
        arrivals.save(session, {key: mark}, {key: counted}, now)
        if before is None:
            arrivals.forget_old_boots(session, device, envelope.lane)
        return mark, verdict

    def _quarantine(self, arrived: _Arrived, refused: _RefuseError) -> bool:
        """Keep the message apart; False when the database cannot even do that, so that it is tried again."""
        device, envelope, now = arrived.ids["device"], refused.envelope, arrived.received_at
        mark = None
        try:
            with self._sessions() as session, session.begin():
                hold(session, [device])
                described = refusal(device, arrived.name, refused.reason, arrived.payload)
                arrivals.quarantine(session, described, now)
                if (
                    refused.reason in COUNTED_AS_RECEIVED
                    and envelope is not None
                    and envelope.lane is not Lane.LIVE
                ):
                    mark, _ = self._move(session, device, envelope, now, refused=True)
        except sa.exc.SQLAlchemyError:
            log.exception("quarantine_failed", extra=_described(arrived))
            return False
        log.warning("message_refused", extra=_described(arrived) | {"reason": refused.reason.value})
        self._answer(device, envelope, mark)
        return True

    def _count(self, arrived: _Arrived, reason: Reason) -> None:
        self._quarantine(arrived, _RefuseError(reason, None, "live"))

    def _finish(self, message: Received, mark: Watermark | None) -> None:
        for do in message._after:
            try:
                do()
            except Exception:  # the message is stored; what follows from it is found again from the database
                log.exception("after_commit_failed", extra={"device": message.device})
        self._answer(message.device, message.envelope, mark)

    def _answer(self, device: str, envelope: Envelope | None, mark: Watermark | None) -> None:
        if mark is not None and envelope is not None and mark.seq > 0:
            ack = Ack(boot=envelope.boot, lane=envelope.lane, seq=mark.seq)
            self.publish("ack", {"device": device}, encode(ack))

    def _acknowledge(self, arrived: _Arrived) -> None:
        if arrived.qos > 0 and arrived.connection == self._connection:
            self._client.ack(arrived.mid, arrived.qos)


def _open(arrived: _Arrived) -> Envelope | None:
    """The envelope of a message that should have one; None on the other topics."""
    lane = ENVELOPED.get(arrived.name)
    if len(arrived.payload) > MESSAGE_BYTES_MAX:
        raise _RefuseError(Reason.OVERSIZED, None, f"at most {MESSAGE_BYTES_MAX} bytes are taken")
    if lane is None:
        return None
    try:
        envelope = open_envelope(arrived.payload)
    except UnknownVersionError as error:
        raise _RefuseError(Reason.VERSION, None, str(error)) from None
    except ContractMalformedError as error:
        raise _RefuseError(Reason.NOT_AN_ENVELOPE, None, str(error)) from None
    if envelope.lane is not lane:
        raise _RefuseError(Reason.WRONG_LANE, None, f"{arrived.name} travels in lane {lane}")
    if lane is not Lane.LIVE and envelope.seq < 1:
        raise _RefuseError(Reason.NOT_AN_ENVELOPE, None, "seq counts from 1")
    return envelope


def _reason(error: Exception) -> Reason:
    """Why a message is refused whose handler has raised `error`."""
    return Reason.VERSION if isinstance(error, UnknownVersionError) else Reason.MALFORMED


def _peek(arrived: _Arrived) -> Envelope | None:
    try:
        return _open(arrived)
    except _RefuseError:
        return None


def _described(arrived: _Arrived) -> dict[str, object]:
    return {
        "device": arrived.ids["device"],
        "topic_name": arrived.name,
        "size": len(arrived.payload),
    }
