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
from contract.link import Reconnect, Why, check_reconnect
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
from edge_agent.link.dating import Stamp
from edge_agent.link.journal import Deletion, Journal, Message
from edge_agent.link.keeping import Keeper, as_sent, stored_rows, to_the_end, undatable
from edge_agent.link.mqtt import Arrived, Down, Kept, Outgoing, Told, Transport, Unheard, Up
from edge_agent.link.reserve import NoReserve, Reserve
from edge_agent.ports import Handler

log = logging.getLogger(__name__)

ENVELOPE_BYTES_MAX = 512
"""What an envelope adds to a body at most."""
TAKEN_OVER = (
    "another machine uses this device's certificate: find it (a copied disk, a spare that was not enrolled), "
    "revoke the certificate in the control plane, and enrol the right machine anew"
)
TURN_MAX = 200
"""Events that are taken in one turn, so that one transaction stays short."""


@dataclass(frozen=True)
class Counts:
    """What the outbox holds and has refused or dropped since this boot; `bytes` with the overhead of rows.

    `taken_over` is how often another with this device's id took the connection.
    """

    waiting: int
    bytes: int
    dropped: int
    refused: int
    taken_over: int


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
    report: Told


@dataclass(frozen=True)
class _Loose:
    """The journal has more room to give back than one turn may take the time for."""


_Item = _Order | o.LeftOut | o.Acked | o.Undatable | o.ReserveMade | _Redial | _Told | _Loose


def _machine_ms() -> int:
    return int(time.time() * 1000)


class Link:
    """The link of one device; see `edge_agent.ports.Link` for what each call promises.

    `clock_ms` is the device's clock (ms since 1970 UTC), right or wrong; `floor_ms` says which time has
    surely passed: a clock that says less is not trusted.
    """

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
        reserve: Reserve | None = None,
        stamp: Stamp | None = None,
        floor_ms: Callable[[], int] = lambda: AT_MIN_MS,
        clock_ms: Callable[[], int] = _machine_ms,
    ) -> None:
        self._device = device
        self._kind = kind
        self._agent = agent
        self._root = root
        self._boot = boot
        self._journal = journal
        self._transport = transport
        self._floor_ms = floor_ms
        self._clock_ms = clock_ms
        self._stamp = stamp or Stamp(time.monotonic())
        self._stamp.look(clock_ms(), floor_ms(), time.monotonic())
        self._dated = self._stamp.trusted
        kept = [row for row in journal.kept() if row.boot != boot]
        stored = stored_rows(kept, time.monotonic(), clock_ms() if self._dated else None)
        self._outbox = o.Outbox(boot, stored, bounds, journal.pending(), clock_trusted=self._dated)
        self._keeper = Keeper(journal, reserve or NoReserve(), self._outbox)
        self._reconnection = r.Reconnection(chance, time.monotonic())
        self._chance = chance
        self._items: deque[_Item] = deque(
            o.Undatable(row.boot, row.lane, row.seq) for row in kept if undatable(row)
        )
        self._wake = asyncio.Event()
        self._handlers: dict[str, list[Handler]] = {"ack": [self._on_ack], "reconnect": [self._on_reconnect]}
        self._connected: list[Callable[[], None]] = []
        self._disconnected: list[Callable[[], None]] = []
        self._turned_away: list[Callable[[str], None]] = []
        self._dials = 0
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
        return Counts(box.rows, box.bytes, box.dropped, box.refused, self._reconnection.taken_over)

    @property
    def full(self) -> bool:
        """Whether no new work may begin; see `edge_agent.ports.Link`."""
        return self._outbox.full

    def stamp(self) -> int:
        """The moment for a sample; see `edge_agent.ports.Link`."""
        return self._stamp.now(self._clock_ms(), self._floor_ms(), time.monotonic())

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
        self._put(_Order(o.Recorded(lane, must, len(data)), topic, data, self.stamp(), taken))
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
        now = self._at_least_ms()
        payload = seal(
            encode(body), boot=self._boot, lane=Lane.LIVE, seq=0, at=now, sent=now, historical=False
        )
        self.publish(topic_name, ids, payload, qos=0)

    def left_out(self, lane: Lane, why: Why) -> None:
        """Something that should have been sent was not even made; it is declared, and counted as dropped."""
        self._put(o.LeftOut(lane, why))

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
            await self._make_reserve()
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
        """One round: ask the cores, write, tell, publish, give back room."""
        now = time.monotonic()
        self._reconnect(r.TimePassed(), now)
        effects = await self._look_at_the_clock(now)
        orders: dict[tuple[Lane, int], _Order] = {}
        for item in items:
            effects += self._take(item, now, orders)
        effects += self._outbox.handle(o.TimePassed(), now)
        refused = await self._write(effects, orders)
        for key, order in orders.items():
            _tell(order, _refused(order) if key in refused and order.event.must else None)
        if any(isinstance(effect, o.HangUp) for effect in effects):
            self._give_up(now)
        if any(isinstance(effect, o.MakeReserve) for effect in effects):
            await self._make_reserve()
        publishes = [effect for effect in effects if isinstance(effect, o.Publish)]
        for outgoing in await to_the_end(self._sealed, publishes) if publishes else []:
            if self.connected:
                self._transport.publish(outgoing)
        if await self._keeper.give_back(now):
            self._put(_Loose())

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
            case o.LeftOut() | o.Acked() | o.Undatable() | o.ReserveMade():
                return self._outbox.handle(item, now)
            case _Redial():
                return self._dial_anew(item, now)
            case _Loose():
                return []
            case _Told():
                return self._hear(item.report, now) if item.dial == self._dials else []
            case _:
                assert_never(item)

    def _hear(self, report: Told, now: float) -> list[o.Effect]:
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
            case Unheard(kept):
                return self._outbox.handle(o.Unheard(*kept, self._chance.uniform(0.0, 1.0)), now)
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
        if event.reason == "taken-over":
            log.error(
                "link_taken_over", extra={"times": self._reconnection.taken_over, "sentence": TAKEN_OVER}
            )
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

    def _give_up(self, now: float) -> None:
        self._transport.hang_up()
        self._go_down(
            Down("unavailable", "nothing was acknowledged for long: the connection is given up"), now
        )

    async def _write(
        self, effects: Sequence[o.Effect], orders: Mapping[tuple[Lane, int], _Order]
    ) -> set[tuple[Lane, int]]:
        """Which of `orders` the disk did not take; they never existed."""
        appends = {
            key: Message(self._boot, *key, order.event.must, order.at, order.topic, order.body)
            for key, order in orders.items()
        }
        declared = {(Lane.EVENTS, e.seq): e for e in effects if isinstance(e, o.Declare)}
        topic = topics.build("dropped", root=self._root, device=self._device)
        for key, e in declared.items():
            appends[key] = Message(self._boot, *key, True, self.stamp(), topic, e.body)
            log.warning("messages_dropped", extra={"count": sum(each.count for each in e.ranges)})
        deletions = [
            Deletion(e.boot, e.lane, 0 if isinstance(e, o.Forget) else e.seq, e.seq)
            for e in effects
            if isinstance(e, o.Forget | o.Drop)
        ]
        return await self._keeper.write(appends, declared, deletions, time.monotonic())

    async def _make_reserve(self) -> None:
        if not await self._keeper.make_reserve():
            self._outbox.handle(o.DiskFull(), time.monotonic())
        elif self._outbox.scarce:
            self._put(o.ReserveMade())

    async def _look_at_the_clock(self, now: float) -> list[o.Effect]:
        """Once the clock is trusted, write down when this boot began; only then may its samples go."""
        self._stamp.look(self._clock_ms(), self._floor_ms(), now)
        if self._dated or self._stamp.origin is None:
            return []
        try:
            await to_the_end(self._journal.date, self._boot, self._stamp.origin)
        except UnavailableError as error:
            log.error("clock_not_written", extra={"sentence": str(error)})  # noqa: TRY400 the same
            return []
        self._dated = True
        log.warning("clock_trusted", extra={"origin": self._stamp.origin})
        return self._outbox.handle(o.ClockTrusted(), now)

    def _sealed(self, publishes: Sequence[o.Publish]) -> list[Outgoing]:
        """The messages as they go to the broker; what is no longer in the journal is left out."""
        found = []
        for p in publishes:
            message = self._journal.read(p.boot, p.lane, p.seq)
            if message is not None:
                at, body = as_sent(message, self._at_least_ms())
                payload = seal(
                    body,
                    boot=p.boot,
                    lane=p.lane,
                    seq=p.seq,
                    at=at,
                    sent=self._at_least_ms(),
                    historical=p.historical,
                    kept_from=p.kept_from,
                )
                found.append(Outgoing(message.topic, payload, 1, kept=Kept(p.boot, p.lane, p.seq)))
        return found

    def _filters(self) -> list[str]:
        return [topics.subscription(name, root=self._root, device=self._device) for name in self._handlers]

    def _presence(self, *, online: bool) -> Outgoing:
        presence = Presence(
            boot=self._boot,
            at=self._at_least_ms(),
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

    def _on_reconnect(self, _ids: Mapping[str, str], payload: bytes) -> None:
        told = read(payload, Reconnect)
        check_reconnect(told)
        # Not by way of the queue: the loss that it speaks of may stand there already.
        self._reconnect(r.Told(told.min_s, told.max_s, told.valid_s), time.monotonic())

    def _told(self, dial: int, report: Told) -> None:
        self._put(_Told(dial, report))

    def _at_least_ms(self) -> int:
        """The device's clock, or what has surely passed, so that a message is still an envelope."""
        return min(max(self._clock_ms(), self._floor_ms(), AT_MIN_MS), AT_MAX_MS)

    def _put(self, item: _Item) -> None:
        self._items.append(item)
        self._wake.set()


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
