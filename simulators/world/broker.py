"""A broker like mosquitto: sessions wait in its memory for who comes back; killed, it has forgotten them."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from simulators.world.clock import Clock
from simulators.world.faults import Faults

QUEUED_MAX = 100
"""Messages that wait for one client; more are dropped, newest first, and nobody is told."""
AWAY_MIN_S, AWAY_MAX_S = 1.0, 20.0
NOTICED_MIN_S, NOTICED_MAX_S = 0.01, 45.0
"""How long a client believes in a connection that is gone: one and a half keepalive periods at most."""
CONSUMER_BACK_S = 2.0


@dataclass(frozen=True)
class Packet:
    """A message under way; `ids` are the topic's ids, `body` is an object and not its bytes."""

    topic: str
    ids: dict[str, str]
    body: Any


@dataclass(eq=False)
class Connection:
    """One connection of a device. `buffer_lost`: what was under way from it never left the device."""

    device: str
    receive: Callable[[Packet], None]
    down: Callable[[], None]
    taken: Callable[[Packet], None]
    alive: bool = True
    buffer_lost: bool = False


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

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self.up = True
        self.kills = 0
        self.consumer: Consumer | None = None
        self.unreachable_for: set[str] = set()
        self._clock = clock
        self._faults = faults
        self._sessions: dict[str, _Session] = {}
        self._unacknowledged: dict[int, tuple[str, Packet]] = {}
        self._numbers = 0

    def dial(self, connection: Connection, established: Callable[[], None]) -> None:
        """Connect in a moment, or tell `connection.down`."""

        def answer() -> None:
            if not connection.alive:
                return
            cut_off = connection.device in self.unreachable_for
            if not self.up or cut_off or self._faults.happens(self._faults.mix.loss):
                connection.alive = False
                connection.down()
                return
            session = self._sessions.setdefault(connection.device, _Session())
            if session.connection is not None:
                self.cut(session.connection)
            session.connection = connection
            established()
            while session.waiting and connection.alive:
                self._deliver(connection, session.waiting.popleft())

        self._clock.later(self._faults.delay_s(), answer)

    def cut(self, connection: Connection) -> None:
        """The connection is gone; the device notices it after a while."""
        if not connection.alive:
            return
        connection.alive = False
        session = self._sessions.get(connection.device)
        if session is not None and session.connection is connection:
            session.connection = None
        self._clock.later(self._faults.rng.uniform(NOTICED_MIN_S, NOTICED_MAX_S), connection.down)

    def cut_off(self, device: str) -> None:
        """Nothing of this device gets through until `unreachable_for` has it no more."""
        self.unreachable_for.add(device)
        session = self._sessions.get(device)
        if session is not None and session.connection is not None:
            self.cut(session.connection)

    def from_device(self, connection: Connection, packet: Packet) -> None:
        """A device publishes; whether it arrives is another matter."""
        if not connection.alive:
            return
        if self._faults.happens(self._faults.mix.link_cut):
            self.cut(connection)
            return

        def arrive() -> None:
            if not self.up or connection.buffer_lost:
                return
            connection.taken(packet)
            if len(self._unacknowledged) < QUEUED_MAX:
                self._offer(connection.device, packet)

        self._legs(arrive)

    def to_device(self, device: str, packet: Packet) -> None:
        """The consumer publishes to a device."""
        session = self._sessions.get(device)
        if not self.up or session is None:
            return
        if session.connection is not None:
            self._deliver(session.connection, packet)
        elif len(session.waiting) < QUEUED_MAX:
            session.waiting.append(packet)

    def consumer_is_back(self) -> None:
        """What it had not acknowledged comes again."""
        for number in list(self._unacknowledged):
            self._clock.later(self._faults.delay_s(), lambda n=number: self._hand_over(n))  # type: ignore[misc]  # mypy types no defaults of lambdas

    def kill(self) -> None:
        """Gone with every session and every queue; back after a while."""
        self.up = False
        self.kills += 1
        for session in list(self._sessions.values()):
            if session.connection is not None:
                self.cut(session.connection)
        self._sessions.clear()
        self._unacknowledged.clear()
        self._clock.later(self._faults.rng.uniform(AWAY_MIN_S, AWAY_MAX_S), self._back)

    def _back(self) -> None:
        self.up = True

    def _offer(self, device: str, packet: Packet) -> None:
        self._numbers += 1
        number = self._numbers
        self._unacknowledged[number] = (device, packet)
        self._clock.later(self._faults.delay_s(), lambda: self._hand_over(number))

    def _hand_over(self, number: int) -> None:
        if number not in self._unacknowledged or self.consumer is None or not self.consumer.up:
            return
        device, packet = self._unacknowledged[number]
        if self.consumer.take(device, packet):
            self._unacknowledged.pop(number, None)

    def _deliver(self, connection: Connection, packet: Packet) -> None:
        def arrive() -> None:
            if connection.alive:
                connection.receive(packet)

        self._legs(arrive)

    def _legs(self, arrive: Callable[[], None]) -> None:
        copies = 2 if self._faults.happens(self._faults.mix.duplicate) else 1
        for _ in range(copies):
            if not self._faults.happens(self._faults.mix.loss):
                self._clock.later(self._faults.delay_s(), arrive)
