"""A way to the broker for hundreds of devices in one process: all on the event loop, and no thread.

It keeps the promises of `edge_agent.link.mqtt.Transport`; the agent's own has a thread for each connection.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence

from cloud.telemetry.quick_mqtt import read_publish
from contract.errors import MalformedError
from edge_agent.errors import SettingsError
from edge_agent.link.mqtt import (
    CONNECT_TIMEOUT_S,
    FAREWELL_TIMEOUT_S,
    NO_SUBSCRIBERS_CODE,
    QUEUED_MAX,
    REFUSED_CODES,
    TAKEN_OVER_CODE,
    Arrived,
    Down,
    Kept,
    Outgoing,
    Report,
    Unheard,
    Up,
)
from simulators.load import packets
from simulators.load.tally import Dials


class LoadTransport:
    """The broker at an address; `context` makes the TLS context once, and None is a plain connection."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        client_id: str,
        keepalive_s: int,
        context: Callable[[], ssl.SSLContext] | None,
        dials: Dials,
    ) -> None:
        self._address = host, port
        self._client_id = client_id
        self._keepalive_s = keepalive_s
        self._make_context = context
        self._context: ssl.SSLContext | None = None
        self._dials = dials
        self._connection: _Connection | None = None
        self._opening: asyncio.Task[None] | None = None

    def dial(self, filters: Sequence[str], will: Outgoing, report: Report) -> None:
        self.hang_up()
        self._dials.begun(asyncio.get_running_loop().time())
        hello = packets.connect(self._client_id, self._keepalive_s, will)
        self._connection = _Connection(hello, filters, self._keepalive_s, report, self._dials)
        self._opening = asyncio.create_task(self._open(self._connection))

    def publish(self, message: Outgoing) -> None:
        if self._connection is not None:
            self._connection.publish(message)

    def hang_up(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._connection is not None:
            self._connection.drop()
        self._connection = self._opening = None

    async def close(self, last: Outgoing) -> None:
        connection = self._connection
        if connection is not None and connection.up:
            connection.publish(last)
            try:
                async with asyncio.timeout(FAREWELL_TIMEOUT_S):
                    await connection.taken()
            except TimeoutError:
                pass  # it was not taken; the will says the same a little later
            connection.say_good_bye()
        self.hang_up()

    async def _open(self, connection: "_Connection") -> None:
        host, port = self._address
        try:
            if self._make_context is not None and self._context is None:
                self._context = self._make_context()
            named = host if self._context is not None else None
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, host, port, ssl=self._context, server_hostname=named
                )
        except SettingsError as error:
            connection.fall(Down("refused", str(error)))
        except ssl.SSLError as error:
            connection.fall(Down("refused", f"TLS: {error.reason or error}"))
        except (OSError, TimeoutError) as error:
            connection.fall(Down("unavailable", str(error) or type(error).__name__))


class _Connection(asyncio.Protocol):
    """One dial and what becomes of it."""

    def __init__(
        self, hello: bytes, filters: Sequence[str], keepalive_s: int, report: Report, dials: Dials
    ) -> None:
        self.up = False
        self._hello = hello
        self._filters = filters
        self._keepalive_s = keepalive_s
        self._report: Report | None = report
        self._dials = dials
        self._loop = asyncio.get_running_loop()
        self._wire: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._mid = 0
        self._in_flight: dict[int, Kept | None] = {}
        self._in_flight_max = 0
        self._queue: deque[Outgoing] = deque(maxlen=QUEUED_MAX)
        self._idle = asyncio.Event()
        self._ping: asyncio.TimerHandle | None = None
        self._answered = True

    def publish(self, message: Outgoing) -> None:
        """Now, or when the broker has taken some of those before; the oldest of too many is left out."""
        self._queue.append(message)
        self._send_waiting()

    async def taken(self) -> None:
        """Wait until the broker has acknowledged everything."""
        while self._in_flight or self._queue:
            self._idle.clear()
            await self._idle.wait()

    def say_good_bye(self) -> None:
        self._write(packets.GOOD_BYE)

    def drop(self) -> None:
        """End it; nothing more is reported."""
        self._report = None
        self.up = False
        if self._ping is not None:
            self._ping.cancel()
        if self._wire is not None:
            self._wire.close()

    def fall(self, down: Down) -> None:
        """Report once that it is over."""
        report = self._report
        self.drop()
        if report is not None:
            report(down)

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        if self._report is None:  # it was dropped meanwhile
            transport.abort()
            return
        transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            for packet in packets.take(self._buffer):
                self._handle(packet)
        except (MalformedError, IndexError) as error:
            self.fall(Down("unavailable", f"the broker cannot be understood: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, ssl.SSLError):
            self.fall(Down("refused", f"TLS: {exc.reason or exc}"))
        else:
            self.fall(Down("unavailable", f"the connection broke: {exc or 'it was closed'}"))

    # --- inside ---

    def _handle(self, packet: packets.Packet) -> None:
        match packet.kind:
            case packets.CONNACK:
                code, self._in_flight_max = packets.accepted(packet.body)
                if code:
                    self.fall(_down(code))
                else:
                    self._write(packets.subscribe(self._next_mid(), self._filters))
            case packets.SUBACK:
                self._subscribed(packets.worst(packet.body))
            case packets.PUBLISH:
                message = read_publish(packet.first, packet.body)
                if message.qos:
                    self._write(packets.puback(message.mid))
                if self._report is not None:
                    self._report(Arrived(message.topic, message.payload))
            case packets.PUBACK:
                kept = self._in_flight.pop(int.from_bytes(packet.body[:2], "big"), None)
                if kept is not None and packet.body[2:3] == bytes((NO_SUBSCRIBERS_CODE,)) and self._report:
                    self._report(Unheard(kept))
                self._send_waiting()
                self._idle.set()
            case packets.PINGRESP:
                self._answered = True
            case packets.DISCONNECT:
                self.fall(_down(packet.body[0] if packet.body else 0))

    def _subscribed(self, code: int) -> None:
        if code or self._report is None:
            self.fall(_down(code))
            return
        self.up = True
        self._dials.succeeded(self._loop.time())
        self._beat()
        self._report(Up())

    def _beat(self) -> None:
        """PINGREQ each keep-alive; who has not answered the one before is gone (3.1.2.10)."""
        if not self._answered:
            self.fall(Down("unavailable", "the broker does not answer"))
            return
        self._answered = False
        self._write(packets.PING)
        self._ping = self._loop.call_later(self._keepalive_s, self._beat)

    def _send_waiting(self) -> None:
        while self.up and self._queue and len(self._in_flight) < self._in_flight_max:
            message = self._queue.popleft()
            mid = 0
            if message.qos:
                mid = self._next_mid()
                self._in_flight[mid] = message.kept
            self._write(packets.publish(message, mid))
            self._dials.published += not message.retained  # presence is no message of the outbox

    def _next_mid(self) -> int:
        self._mid = self._mid % 65_535 + 1
        while self._mid in self._in_flight:
            self._mid = self._mid % 65_535 + 1
        return self._mid

    def _write(self, data: bytes) -> None:
        if self._wire is not None:
            self._wire.write(data)


def _down(code: int) -> Down:
    if code == TAKEN_OVER_CODE:
        return Down("taken-over", "another connection with this device's id has taken the session over")
    return Down("refused" if code in REFUSED_CODES else "unavailable", f"the broker said: 0x{code:02x}")
