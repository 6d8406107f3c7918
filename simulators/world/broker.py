"""A broker like mosquitto: sessions wait in its memory for who comes back; killed, it has forgotten them.

A connection that breaks is gone for both sides at once, or, half open, each side believes in it for a while.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from simulators.world.clock import Action, Clock
from simulators.world.cloud_certificates import Certificate
from simulators.world.faults import Fault, Faults
from simulators.world.trace import Trace

Reason = Literal["unavailable", "refused", "taken-over"]

QUEUED_MAX = 1000
"""Messages that wait for one client; more are dropped, newest first, and nobody is told."""
AWAY_MIN_S, AWAY_MAX_S = 1.0, 20.0
UNHEARD_MIN_S, UNHEARD_MAX_S = 0.1, 5.0
"""So long after a kill the consumer subscribes anew; before that nobody hears what devices say."""
NOTICED_S = 0.01
BELIEVED_MIN_S, BELIEVED_MAX_S = 1.0, 45.0
"""How long a side believes in a connection that is gone: one and a half keepalive periods at most."""
LATENCY_MIN_S, LATENCY_MAX_S = 0.005, 0.05
OVERTAKEN_MIN_S, OVERTAKEN_MAX_S = 0.2, 20.0


@dataclass(frozen=True)
class Packet:
    """A message under way; `ids` are the topic's ids; `body` is an object, or bytes where bytes matter."""

    topic: str
    ids: dict[str, str]
    body: Any


class Wire:
    """One direction of one connection: what is sent first arrives first, unless it is overtaken."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        self._last = 0.0

    def carry(self, arrive: Action, *, lossy: bool = True, ordered: bool = False) -> None:
        """Let something arrive, once, twice or never; `ordered` keeps its place whatever happens."""
        faults = self._faults
        for _ in range(2 if faults.happens(Fault.DUPLICATION) else 1):
            if lossy and faults.happens(Fault.LOSS):
                continue
            now = self._clock.now
            at = now + faults.rng.uniform(LATENCY_MIN_S, LATENCY_MAX_S) + faults.delay_s()
            if not ordered and faults.happens(Fault.REORDERING):
                at += faults.stream(Fault.REORDERING).uniform(OVERTAKEN_MIN_S, OVERTAKEN_MAX_S)
            else:
                at = self._last = max(at, self._last)
            self._clock.later(at - now, arrive)


@dataclass(eq=False)
class Connection:
    """One connection of a device, with its will.

    `dead`: nothing passes any more, whatever the sides believe. `deaf`: nothing is given to the device, and
    both sides think that all is well. `unsent`: what the device's socket still held is lost with its memory.
    `down` is told the reason; `unheard` what was taken, and could be given to nobody. `shown` is the device's
    certificate, in worlds that have them.
    """

    device: str
    will: Packet
    receive: Callable[[Packet], None]
    down: Callable[[Reason], None]
    taken: Callable[[Packet], None]
    unheard: Callable[[Packet], None]
    up_wire: Wire
    down_wire: Wire
    shown: Certificate | None = None
    dead: bool = False
    deaf: bool = False
    unsent: bool = False


@dataclass
class _Session:
    connection: Connection | None = None
    waiting: deque[Packet] = field(default_factory=deque)


class Consumer(Protocol):
    """The control plane, as the broker sees it."""

    up: bool

    def take(self, device: str, packet: Packet) -> bool:
        """Whether it is acknowledged; False when the consumer died over it."""


class Broker:
    """One broker, between the devices and one consumer."""

    def __init__(self, clock: Clock, faults: Faults, trace: Trace) -> None:
        self.up = True
        self.consumer: Consumer | None = None
        self.unreachable_for: set[str] = set()
        self.queue_max = int(faults.strength(Fault.BROKER_DROPS)) or QUEUED_MAX
        self.queued_most = 0
        self.dials: list[tuple[float, str]] = []
        """Every attempt to connect, with the moment at which it was begun."""
        self.admits: Callable[[Certificate], bool] = lambda _certificate: True
        self.admitted: dict[str, float] = {}
        """When each certificate, by its serial, was first let in."""
        self.turned_away: Counter[str] = Counter()
        """How often each was not."""
        self.presence_dropped: set[str] = set()
        """Devices of which a presence message was dropped: what is believed of them may be old."""
        self._clock = clock
        self._faults = faults
        self._trace = trace
        self._sessions: dict[str, _Session] = {}
        self._unacknowledged: dict[int, tuple[str, Packet]] = {}
        self._numbers = 0
        self._wire = Wire(clock, faults)
        self._busy_until = 0.0
        self._heard_from = 0.0
        self._consumer_lives = 0

    # --- devices ---

    def connection(
        self,
        device: str,
        will: Packet,
        *,
        receive: Callable[[Packet], None],
        down: Callable[[Reason], None],
        taken: Callable[[Packet], None],
        unheard: Callable[[Packet], None],
        shown: Certificate | None = None,
    ) -> Connection:
        """A connection that is yet to be dialed."""
        wires = Wire(self._clock, self._faults), Wire(self._clock, self._faults)
        return Connection(device, will, receive, down, taken, unheard, *wires, shown)

    def dial(self, connection: Connection, established: Action) -> None:
        """Connect in a moment, or tell `connection.down`."""
        self.dials.append((self._clock.now, connection.device))

        def answer() -> None:
            if connection.dead:
                return
            if not self.up or connection.device in self.unreachable_for:
                connection.dead = True
                connection.down("unavailable")
                return
            if connection.shown is not None and not self._lets_in(connection.shown):
                connection.dead = True
                connection.down("refused")
                return
            session = self._sessions.setdefault(connection.device, _Session())
            if session.connection is connection:
                return  # a connection is made once, whatever comes twice
            if session.connection is not None:
                self._take_over(session.connection, connection)
            session.connection = connection
            established()
            while session.waiting and session.connection is connection and not connection.dead:
                self._deliver(session, session.waiting.popleft())

        connection.up_wire.carry(answer, lossy=False)

    def _lets_in(self, shown: Certificate) -> bool:
        if not self.admits(shown):
            self.turned_away[shown.serial] += 1
            return False
        self.admitted.setdefault(shown.serial, self._clock.now)
        return True

    def hang_up(self, connection: Connection) -> None:
        """The device ends the connection in order; its will is void."""
        connection.dead = True
        session = self._sessions.get(connection.device)
        if session is not None and session.connection is connection:
            session.connection = None

    def cut(self, connection: Connection, *, device_knows: bool = False) -> None:
        """The connection breaks; each side notices it at once, or after a while."""
        if connection.dead:
            return
        connection.dead = True
        half_open = self._faults.happens(Fault.HALF_OPEN, 0.5)
        self._break(connection, half_open=half_open, device_knows=device_knows)

    def cut_off(self, device: str) -> None:
        """Nothing of this device gets through until `unreachable_for` has it no more."""
        self.unreachable_for.add(device)
        session = self._sessions.get(device)
        if session is not None and session.connection is not None:
            self.cut(session.connection)

    def from_device(self, connection: Connection, packet: Packet) -> None:
        """A device publishes; whether it arrives is another matter."""
        if connection.dead:
            return
        if self._faults.happens(Fault.LINK_CUT):
            self.cut(connection)
            return
        connection.deaf = connection.deaf or self._faults.happens(Fault.DEAF)
        if self._faults.happens(Fault.HALF_OPEN):
            connection.dead = True
            self._break(connection, half_open=True, device_knows=False)
            return

        def arrive() -> None:
            if not self.up or connection.unsent or (presence and self._was_taken_over(connection)):
                return
            connection.taken(packet)
            if not presence and self._clock.now < self._heard_from:
                connection.unheard(packet)
                return
            self._offer(connection.device, packet)

        presence = packet.topic == "presence"
        connection.up_wire.carry(arrive, lossy=not presence, ordered=presence)

    def _was_taken_over(self, connection: Connection) -> bool:
        """Whether the broker has closed this connection for a newer one: what was under way on it is lost."""
        session = self._sessions.get(connection.device)
        return session is not None and session.connection not in (None, connection)

    def _break(self, connection: Connection, *, half_open: bool, device_knows: bool) -> None:
        stream = self._faults.stream(Fault.HALF_OPEN)

        def after() -> float:
            return stream.uniform(BELIEVED_MIN_S, BELIEVED_MAX_S) if half_open else NOTICED_S

        self._clock.later(after(), lambda: self._lost(connection))
        if not device_knows:
            self._clock.later(after(), lambda: connection.down("unavailable"))

    def _lost(self, connection: Connection, reason: Reason = "unavailable") -> None:
        """The broker notices, or the device comes anew: the will is published."""
        session = self._sessions.get(connection.device)
        if session is None or session.connection is not connection:
            return
        session.connection = None
        if not connection.dead:
            connection.dead = True
            self._clock.later(NOTICED_S, lambda: connection.down(reason))
        if self.up:
            self._offer(connection.device, connection.will)

    def _take_over(self, old: Connection, new: Connection) -> None:
        """A device comes anew while its old connection is believed in.

        One broker publishes the old will first; of several that share their sessions one may be late with
        it, and then the will of an earlier boot comes after the word of the new one.
        """
        if old.will.body.boot != new.will.body.boot and self._faults.happens(Fault.HALF_OPEN, 0.5):
            late_s = self._faults.stream(Fault.HALF_OPEN).uniform(BELIEVED_MIN_S, BELIEVED_MAX_S)
            self._clock.later(late_s, lambda: self._offer(old.device, old.will))
            self._sessions[old.device].connection = None
            old.dead = True
            self._clock.later(late_s, lambda: old.down("unavailable"))
        else:
            self._lost(old, "taken-over")

    # --- the consumer ---

    def to_device(self, device: str, packet: Packet) -> None:
        """The consumer publishes to a device."""
        session = self._sessions.get(device)
        if self.up and session is not None:
            self._deliver(session, packet)

    def consumer_is_back(self) -> None:
        """What it had not acknowledged comes again."""
        self._consumer_lives += 1
        self._busy_until = self._clock.now
        life = self._consumer_lives
        for number in list(self._unacknowledged):
            self._wire.carry(lambda n=number: self._hand_over(n, life), lossy=False, ordered=True)  # type: ignore[misc]  # mypy types no defaults of lambdas

    def kill(self) -> None:
        """Gone with every session and every queue; back after a while."""
        self._faults.bites[Fault.BROKER_KILL] += 1
        self._trace("broker", "KILLED with its sessions and queues")
        self.up = False
        connections = [s.connection for s in self._sessions.values() if s.connection is not None]
        self._sessions.clear()
        self._unacknowledged.clear()
        for connection in connections:
            self.cut(connection)
        stream = self._faults.stream(Fault.BROKER_KILL)
        self._clock.later(stream.uniform(AWAY_MIN_S, AWAY_MAX_S), self._back)

    def _back(self) -> None:
        stream = self._faults.stream(Fault.BROKER_KILL)
        self._heard_from = self._clock.now + stream.uniform(UNHEARD_MIN_S, UNHEARD_MAX_S)
        self.up = True

    def _offer(self, device: str, packet: Packet) -> None:
        # What is retained is given again whenever the consumer comes back, so that loss does not last.
        if packet.topic != "presence" and self._faults.happens(Fault.LOSS):
            return
        if len(self._unacknowledged) >= self.queue_max:
            self._faults.bites[Fault.BROKER_DROPS] += 1
            self._trace("broker", f"dropped {packet.topic} of {device}: the consumer's queue is full")
            if packet.topic == "presence":
                self.presence_dropped.add(device)
            return
        self._numbers += 1
        number = self._numbers
        self._unacknowledged[number] = (device, packet)
        self.queued_most = max(self.queued_most, len(self._unacknowledged))
        ordered = packet.topic == "presence"
        life = self._consumer_lives
        self._wire.carry(lambda: self._hand_over(number, life), lossy=False, ordered=ordered)

    def _hand_over(self, number: int, life: int) -> None:
        if number not in self._unacknowledged or life != self._consumer_lives:
            return
        slow_s = self._faults.strength(Fault.SLOW_CONSUMER)
        if slow_s:
            self._faults.bites[Fault.SLOW_CONSUMER] += 1
        self._busy_until = max(self._clock.now, self._busy_until) + slow_s
        if self._busy_until > self._clock.now:
            self._clock.later(self._busy_until - self._clock.now, lambda: self._consume(number, life))
        else:
            self._consume(number, life)

    def _consume(self, number: int, life: int) -> None:
        """What a consumer that died had in hand is handed over anew."""
        if number not in self._unacknowledged or life != self._consumer_lives:
            return
        if self.consumer is None or not self.consumer.up:
            return
        device, packet = self._unacknowledged[number]
        if self.consumer.take(device, packet):
            self._unacknowledged.pop(number, None)

    def _deliver(self, session: _Session, packet: Packet) -> None:
        connection = session.connection
        if connection is None or connection.dead:
            if len(session.waiting) < self.queue_max:
                session.waiting.append(packet)
            else:
                self._faults.bites[Fault.BROKER_DROPS] += 1
            return

        def arrive() -> None:
            if not connection.dead and not connection.deaf:
                connection.receive(packet)

        connection.down_wire.carry(arrive)
