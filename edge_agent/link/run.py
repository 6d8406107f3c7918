"""Carries out what the outbox and the reconnection decide, and is the link as the other ways see it.

One task does it all: it takes what has come in, asks the cores, writes to the journal in one transaction (so
that many senders share one sync), tells the senders, and publishes.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, assert_never

import msgspec

from contract import topics
from contract.errors import MalformedError
from contract.messages import (
    AT_MAX_MS,
    AT_MIN_MS,
    MESSAGE_BYTES_MAX,
    Ack,
    Lane,
    Presence,
    encode,
    read,
    seal,
)
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.link import outbox as o
from edge_agent.link import reconnection as r
from edge_agent.link.journal import Deletion, Journal, Kept, Message
from edge_agent.link.mqtt import Arrived, Down, Outgoing, Transport, Up
from edge_agent.ports import Handler

log = logging.getLogger(__name__)

ENVELOPE_BYTES_MAX = 512
"""What an envelope adds to a body at most."""
TURN_MAX = 200
"""Events that are taken in one turn, so that one transaction stays short."""


@dataclass(frozen=True)
class Counts:
    """What the outbox holds and has refused or dropped since this boot; `bytes` with the overhead of rows."""

    waiting: int
    bytes: int
    dropped: int
    refused: int


@dataclass(frozen=True)
class _Order:
    """A message that somebody wants to send, and the future that tells them."""

    event: o.Recorded
    topic: str
    body: bytes
    at: int
    taken: "asyncio.Future[None]"


@dataclass(frozen=True)
class _Redial:
    """A wish to connect anew, and the future that tells that the old connection is gone."""

    begun: "asyncio.Future[None]"


@dataclass(frozen=True)
class _Told:
    """What the transport reports of the dial with this number."""

    dial: int
    report: Up | Down | Arrived


_Item = _Order | o.Acked | _Redial | _Told


class Link:
    """The link of one device; see `edge_agent.ports.Link` for what each call promises."""

    def __init__(
        self,
        *,
        device: str,
        kind: str,
        agent: str,
        root: str,
        boot: str,
        bounds: o.Bounds,
        journal: Journal,
        transport: Transport,
        chance: r.Chance,
    ) -> None:
        self._device = device
        self._kind = kind
        self._agent = agent
        self._root = root
        self._boot = boot
        self._journal = journal
        self._transport = transport
        self._outbox = o.Outbox(boot, _stored(journal.kept(), boot), bounds)
        self._reconnection = r.Reconnection(chance, time.monotonic())
        self._items: deque[_Item] = deque()
        self._wake = asyncio.Event()
        self._handlers: dict[str, list[Handler]] = {"ack": [self._on_ack]}
        self._connected: list[Callable[[], None]] = []
        self._disconnected: list[Callable[[], None]] = []
        self._turned_away: list[Callable[[str], None]] = []
        self._dials = 0
        self._unforgotten: list[Deletion] = []
        self.malformed = 0

    @property
    def boot(self) -> str:
        """The id of this start of the agent."""
        return self._boot

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted this device and its subscriptions stand."""
        return self._reconnection.state == "up"

    @property
    def counts(self) -> Counts:
        """For telemetry and diagnostics."""
        box = self._outbox
        return Counts(box.rows, box.bytes, box.dropped, box.refused)

    async def send(
        self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct, *, lane: Lane, must: bool
    ) -> None:
        """Keep `body` until the cloud has stored it; durable when this returns, unless it was dropped.

        Raises:
            RefusedError: `must`, and the outbox or the disk is full; or the message is too large.
        """
        data = encode(body)
        if len(data) + ENVELOPE_BYTES_MAX > MESSAGE_BYTES_MAX:
            raise RefusedError(
                f"{topic_name} of {len(data)} bytes is too large to send; larger things go by HTTPS"
            )
        topic = topics.build(topic_name, root=self._root, device=self._device, **ids)
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(_Order(o.Recorded(lane, must, len(data)), topic, data, _wall_ms(), taken))
        await taken

    def publish(
        self, topic_name: str, ids: Mapping[str, str], payload: bytes, qos: Literal[0, 1] = 1
    ) -> None:
        """Publish now and keep nothing; dropped while the link is down."""
        if self.connected:
            topic = topics.build(topic_name, root=self._root, device=self._device, **ids)
            self._transport.publish(Outgoing(topic, payload, qos))

    def publish_live(self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct) -> None:
        """Publish `body` in an envelope of the live lane, at QoS 0; dropped while the link is down."""
        now = _wall_ms()
        payload = seal(
            encode(body), boot=self._boot, lane=Lane.LIVE, seq=0, at=now, sent=now, historical=False
        )
        self.publish(topic_name, ids, payload, qos=0)

    def subscribe(self, topic_name: str, handler: Handler) -> None:
        """Before `run`: call `handler` with the ids and the payload of each message of this topic."""
        assert topics.BY_NAME[topic_name].sender == "cloud", topic_name
        self._handlers.setdefault(topic_name, []).append(handler)

    def on_connected(self, handler: Callable[[], None]) -> None:
        """Before `run`: call `handler` whenever the link has come up."""
        self._connected.append(handler)

    def on_disconnected(self, handler: Callable[[], None]) -> None:
        """Before `run`: call `handler` whenever the link has gone down."""
        self._disconnected.append(handler)

    def on_refused(self, handler: Callable[[str], None]) -> None:
        """Before `run`: call `handler` with a sentence whenever the broker, or TLS, has said no."""
        self._turned_away.append(handler)

    async def redial(self) -> None:
        """Connect anew at once; when this returns, nothing more is heard of the connection before."""
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(_Redial(begun))
        await begun

    async def run(self) -> None:
        """Keep the link until cancelled; then say offline and end."""
        try:
            while True:
                await self._wait()
                taken = [self._items.popleft() for _ in range(min(len(self._items), TURN_MAX))]
                await self._turn(taken)
        finally:
            await self._transport.close(self._presence(online=False))

    async def _wait(self) -> None:
        deadlines = [at for at in (self._outbox.deadline(), self._reconnection.deadline()) if at is not None]
        if self._items:
            return
        self._wake.clear()
        try:
            wait_s = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            pass  # a deadline has come, and the cores know which

    async def _turn(self, items: Sequence[_Item]) -> None:
        """One round: ask the cores, write, publish, tell."""
        now = time.monotonic()
        self._reconnect(r.TimePassed(), now)
        effects: list[o.Effect] = []
        orders: dict[tuple[Lane, int], _Order] = {}
        for item in items:
            effects += self._take(item, now, orders)
        effects += self._outbox.handle(o.TimePassed(), now)
        written = await self._write(effects, orders)
        for order in orders.values():
            _tell(order, None if written or not order.event.must else _refused(order))
        publishes = [effect for effect in effects if isinstance(effect, o.Publish)]
        for outgoing in await asyncio.to_thread(self._sealed, publishes) if publishes else []:
            if self.connected:
                self._transport.publish(outgoing)

    def _take(self, item: _Item, now: float, orders: dict[tuple[Lane, int], _Order]) -> list[o.Effect]:
        match item:
            case _Order():
                effects = self._outbox.handle(item.event, now)
                for effect in effects:
                    match effect:
                        case o.Append(lane, seq):
                            orders[lane, seq] = item
                        case o.Refuse():
                            _tell(item, _refused(item))
                        case o.Skip():
                            _tell(item, None)
                return effects
            case o.Acked():
                return self._outbox.handle(item, now)
            case _Redial():
                return self._dial_anew(item, now)
            case _Told():
                return self._hear(item.report, now) if item.dial == self._dials else []
            case _:
                assert_never(item)

    def _hear(self, report: Up | Down | Arrived, now: float) -> list[o.Effect]:
        match report:
            case Up():
                self._reconnect(r.Established(), now)
                return self._outbox.handle(o.Connected(), now) if self._come_up() else []
            case Down():
                self._go_down(report, now)
                return self._outbox.handle(o.Disconnected(), now)
            case Arrived():
                self._deliver(report)
                return []
            case _:
                assert_never(report)

    def _dial_anew(self, item: _Redial, now: float) -> list[o.Effect]:
        was_up = self.connected
        self._reconnect(r.Asked(), now)
        log.info("link_dialed_anew", extra={"was_up": was_up})
        if was_up:
            for handler in self._disconnected:
                handler()
        if not item.begun.done():
            item.begun.set_result(None)
        return self._outbox.handle(o.Disconnected(), now)

    def _come_up(self) -> bool:
        if not self.connected:
            return False
        log.info("link_connected", extra={"boot": self._boot, "waiting": self._outbox.rows})
        self._transport.publish(self._presence(online=True))
        for handler in self._connected:
            handler()
        return True

    def _go_down(self, event: Down, now: float) -> None:
        was_up = self.connected
        self._reconnect(r.Lost(event.reason), now)
        wait_s = round((self._reconnection.deadline() or now) - now, 1)
        name = "link_lost" if was_up else "link_not_established"
        log.warning(name, extra={"reason": event.reason, "sentence": event.sentence, "retry_in_s": wait_s})
        if was_up:
            for handler in self._disconnected:
                handler()
        if event.reason == "refused":
            for turned_away in self._turned_away:
                turned_away(event.sentence)

    def _reconnect(self, event: r.Event, now: float) -> None:
        for effect in self._reconnection.handle(event, now):
            match effect:
                case r.Dial():
                    self._dials += 1
                    report = partial(self._told, self._dials)
                    self._transport.dial(self._filters(), self._presence(online=False), report)
                case r.HangUp():
                    self._transport.hang_up()
                    log.warning(
                        "link_not_established", extra={"reason": "unavailable", "sentence": "no answer"}
                    )
                case _:
                    assert_never(effect)

    async def _write(self, effects: Sequence[o.Effect], orders: Mapping[tuple[Lane, int], _Order]) -> bool:
        """Whether the disk took it; if not, what was to be appended never existed."""
        deletions = [
            Deletion(e.boot, e.lane, 0 if isinstance(e, o.Forget) else e.seq, e.seq)
            for e in effects
            if isinstance(e, o.Forget | o.Drop)
        ]
        appends = [
            Message(self._boot, lane, seq, order.event.must, order.at, order.topic, order.body)
            for (lane, seq), order in orders.items()
        ]
        deletions = [*self._unforgotten, *deletions]
        if not appends and not deletions:
            return True
        try:
            await asyncio.to_thread(self._journal.write, appends, deletions)
        except UnavailableError as error:
            log.error("outbox_not_written", extra={"sentence": str(error), "messages": len(appends)})  # noqa: TRY400 the sentence says it all
            self._unforgotten = deletions
            for lane, seq in orders:
                self._outbox.handle(o.Unwritten(lane, seq), time.monotonic())
            return False
        self._unforgotten = []
        return True

    def _sealed(self, publishes: Sequence[o.Publish]) -> list[Outgoing]:
        """The messages as they go to the broker; what is no longer in the journal is left out."""
        found = []
        for p in publishes:
            message = self._journal.read(p.boot, p.lane, p.seq)
            if message is not None:
                payload = seal(
                    message.body,
                    boot=p.boot,
                    lane=p.lane,
                    seq=p.seq,
                    at=message.at,
                    sent=_wall_ms(),
                    historical=p.historical,
                    kept_from=p.kept_from,
                )
                found.append(Outgoing(message.topic, payload, 1))
        return found

    def _filters(self) -> list[str]:
        return [topics.subscription(name, root=self._root, device=self._device) for name in self._handlers]

    def _presence(self, *, online: bool) -> Outgoing:
        presence = Presence(
            boot=self._boot,
            at=_wall_ms(),
            online=online,
            kind=self._kind,
            agent=self._agent,
            connection=self._dials,
        )
        topic = topics.build("presence", root=self._root, device=self._device)
        return Outgoing(topic, encode(presence), 1, retained=True)

    def _deliver(self, message: Arrived) -> None:
        try:
            name, ids = topics.parse(message.topic, root=self._root)
            for handler in self._handlers.get(name, []):
                handler(ids, message.payload)
        except MalformedError as error:
            self.malformed += 1
            log.warning("message_malformed", extra={"sentence": str(error), "bytes": len(message.payload)})

    def _on_ack(self, _ids: Mapping[str, str], payload: bytes) -> None:
        ack = read(payload, Ack)
        self._put(o.Acked(ack.boot, ack.lane, ack.seq))

    def _told(self, dial: int, report: Up | Down | Arrived) -> None:
        self._put(_Told(dial, report))

    def _put(self, item: _Item) -> None:
        self._items.append(item)
        self._wake.set()


def _stored(kept: Sequence[Kept], boot: str) -> list[o.Stored]:
    """Ages are taken by the wall clock once, here; from now on a clock that jumps changes nothing."""
    now, wall = time.monotonic(), _wall_ms()
    return [
        o.Stored(k.boot, k.lane, k.seq, k.size, k.must, now - max(0, wall - k.at) / 1000)
        for k in kept
        if k.boot != boot
    ]


def _wall_ms() -> int:
    """The wall clock; one that was never set says 2020, so that a message is still an envelope."""
    return min(max(int(time.time() * 1000), AT_MIN_MS), AT_MAX_MS)


def _refused(order: _Order) -> RefusedError:
    return RefusedError(
        f"{order.topic}: the outbox is full of messages that must be kept; nothing new is taken until the "
        "cloud has acknowledged some, or the disk has room"
    )


def _tell(order: _Order, error: RefusedError | None) -> None:
    if order.taken.done():
        return
    if error is None:
        order.taken.set_result(None)
    else:
        order.taken.set_exception(error)
