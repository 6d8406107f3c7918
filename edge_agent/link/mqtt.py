"""The broker over MQTT 5 (paho): one attempt, one connection; whether to try again is decided elsewhere.

paho runs a thread of its own; everything it sees is handed to the event loop with `call_soon_threadsafe`.
"""

import asyncio
import select
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from contract.messages import MESSAGE_BYTES_MAX, Lane
from edge_agent.errors import SettingsError, UnavailableError
from edge_agent.link.identity import JudgedSocket

SESSION_EXPIRY_S = 3600
"""How long the broker keeps what it has for this device; the outbox and the jobs ask anew anyway."""
CONNECT_TIMEOUT_S = 10.0
VERDICT_TIMEOUT_S = 1.0
"""How long a broker that gives no session tickets may take to refuse a certificate."""
FAREWELL_TIMEOUT_S = 2.0
"""How long a clean end waits for the broker to take the last message."""
QUEUED_MAX = 200
"""Messages inside paho; the outbox has a window of its own and sends again what is refused here."""
PACKET_BYTES_MAX = MESSAGE_BYTES_MAX + 4096

REFUSED_CODES = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x95, 0x98, 0x9A, 0x9B})
"""MQTT 5, section 2.4: reasons that asking again does not cure, such as not authorized."""
TAKEN_OVER_CODE = 0x8E
"""The same: another connection with this client id has come."""
NO_SUBSCRIBERS_CODE = 0x10
"""MQTT 5, section 3.4.2.1: a PUBACK for a message that the broker could give to nobody."""


@dataclass(frozen=True)
class Up:
    """The broker accepted the device and its subscriptions."""


@dataclass(frozen=True)
class Down:
    """No connection, and why; told once for each dial."""

    reason: Literal["unavailable", "refused", "taken-over"]
    sentence: str


@dataclass(frozen=True)
class Arrived:
    """A message from the broker."""

    topic: str
    payload: bytes


class Kept(NamedTuple):
    """Which message of the outbox something is about."""

    boot: str
    lane: Lane
    seq: int


@dataclass(frozen=True)
class Unheard:
    """The broker took a message of the outbox and had nobody to give it to."""

    kept: Kept


Told = Up | Down | Arrived | Unheard
Report = Callable[[Told], None]


@dataclass(frozen=True)
class Outgoing:
    """A message to the broker; `kept` if it comes from the outbox."""

    topic: str
    payload: bytes
    qos: Literal[0, 1]
    retained: bool = False
    kept: Kept | None = None


class Transport(Protocol):
    """A way to a broker; everything is reported on the event loop."""

    def dial(self, filters: Sequence[str], will: Outgoing, report: Report) -> None:
        """Connect, subscribe to `filters`, then report `Up`; or report `Down`."""

    def publish(self, message: Outgoing) -> None:
        """Hand the message over if there is a connection.

        Whether it arrived is not told, but for `Unheard`, which only says that it did not.
        """

    def hang_up(self) -> None:
        """Drop the connection or the attempt; nothing more of it is reported."""

    async def close(self, last: Outgoing) -> None:
        """Send `last`, wait a moment for it to be taken, end without a will."""


class MqttTransport:
    """A broker at `host`:`port`; `context` makes the TLS context at each dial, None is for loopback only."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        client_id: str,
        keepalive_s: int,
        context: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self._host = host
        self._port = port
        self._client_id = client_id
        self._keepalive_s = keepalive_s
        self._context = context
        self._connection: _Connection | None = None

    def dial(self, filters: Sequence[str], will: Outgoing, report: Report) -> None:
        self.hang_up()
        connection = _Connection(self._client(), filters, report)
        connection.client.will_set(will.topic, will.payload, will.qos, will.retained)
        self._connection = connection
        connect = partial(connection.client.connect, self._host, self._port, self._keepalive_s)
        connection.open(partial(connect, clean_start=False, properties=_session()), self._context)

    def publish(self, message: Outgoing) -> None:
        if self._connection is not None:
            self._connection.publish(message)

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.drop()
            self._connection = None

    async def close(self, last: Outgoing) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.client.is_connected():
            info = connection.client.publish(last.topic, last.payload, last.qos, last.retained)
            await asyncio.to_thread(_wait, info)
        connection.drop()

    def _client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_queued_messages_set(QUEUED_MAX)
        return client


class _Connection:
    """One dial and what becomes of it. Its callbacks run on paho's thread, `_tell` on the loop."""

    def __init__(self, client: paho.Client, filters: Sequence[str], report: Report) -> None:
        self.client = client
        self._filters = filters
        self._report: Report | None = report
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[int, Kept] = {}
        client.on_publish = self._on_publish
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message

    def open(self, connect: Callable[[], Any], context: Callable[[], ssl.SSLContext] | None) -> None:
        """Connect on a thread: names, handshakes and dead hosts may each take seconds."""

        def work() -> None:
            try:
                if context is not None:
                    tls = context()
                    tls.sslsocket_class = _VerdictSocket
                    self.client.tls_set_context(tls)
                connect()
            except SettingsError as error:
                self._post(Down("refused", str(error)))
            except ssl.SSLError as error:
                self._post(Down("refused", f"TLS: {error.reason or error}"))
            except (OSError, ValueError, UnavailableError) as error:
                self._post(Down("unavailable", str(error) or type(error).__name__))
            else:
                self.client.loop_start()
                if self._report is None:  # it was dropped meanwhile
                    self.client.disconnect()

        threading.Thread(target=work, name="mqtt-dial", daemon=True).start()

    def publish(self, message: Outgoing) -> None:
        info = self.client.publish(message.topic, message.payload, message.qos, message.retained)
        if message.kept is not None and info.rc == paho.MQTT_ERR_SUCCESS:
            self._under_way[info.mid] = message.kept

    def drop(self) -> None:
        self._report = None
        self.client.disconnect()

    def _on_publish(
        self, _client: paho.Client, _data: object, mid: int, code: ReasonCode, _properties: object
    ) -> None:
        try:
            # On the loop: there `publish` has written down by then what the number stands for.
            self._loop.call_soon_threadsafe(self._published, mid, code.value)
        except RuntimeError:
            pass  # the loop has ended: nobody is left to be told

    def _published(self, mid: int, code: int) -> None:
        kept = self._under_way.pop(mid, None)
        if kept is not None and code == NO_SUBSCRIBERS_CODE:
            self._tell(Unheard(kept))

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        if code.is_failure:
            self._post(_down(code))
            return
        options = SubscribeOptions(qos=1)
        client.subscribe([(name, options) for name in self._filters])

    def _on_subscribe(
        self, _client: paho.Client, _data: object, _mid: int, codes: list[ReasonCode], _properties: object
    ) -> None:
        failed = next((code for code in codes if code.is_failure), None)
        self._post(Up() if failed is None else _down(failed))

    def _on_disconnect(
        self, _client: paho.Client, _data: object, flags: Any, code: ReasonCode, _properties: object
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._post(_down(code))
        else:
            self._post(Down("unavailable", f"the connection broke: {code}"))

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self._post(Arrived(message.topic, bytes(message.payload)))

    def _post(self, event: Told) -> None:
        try:
            self._loop.call_soon_threadsafe(self._tell, event)
        except RuntimeError:
            pass  # the loop has ended: nobody is left to be told

    def _tell(self, event: Told) -> None:
        if self._report is None:
            return
        report = self._report
        if isinstance(event, Down):
            self.drop()
        report(event)


class _VerdictSocket(JudgedSocket):
    """Waits after the handshake for what the broker says of our certificate.

    In TLS 1.3 the client is done before the server has judged it; a refusal comes as an alert where the
    session tickets would come (RFC 8446, section 4.6.1). Whoever writes first may never read it.
    """

    def do_handshake(self, block: bool = False) -> None:
        """Raises SSLError when the certificate is refused."""
        super().do_handshake(block)
        if self.version() != "TLSv1.3":
            return
        timeout_s = self.gettimeout()
        select.select([self], [], [], VERDICT_TIMEOUT_S)
        self.setblocking(False)
        try:
            if not self.recv(1):
                raise ConnectionResetError("the broker closed the connection after the handshake")
            raise ssl.SSLError(1, "the broker spoke before it was asked")
        except ssl.SSLWantReadError:
            pass  # tickets, or nothing: no refusal
        finally:
            self.settimeout(timeout_s)


def _session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho types it not
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.MaximumPacketSize = PACKET_BYTES_MAX
    return properties


def _down(code: ReasonCode) -> Down:
    if code.value == TAKEN_OVER_CODE:
        return Down("taken-over", "another connection with this device's id has taken the session over")
    return Down("refused" if code.value in REFUSED_CODES else "unavailable", f"the broker said: {code}")


def _wait(info: paho.MQTTMessageInfo) -> None:
    try:
        info.wait_for_publish(FAREWELL_TIMEOUT_S)
    except (RuntimeError, ValueError):
        pass  # it was not taken; the will says the same a little later
