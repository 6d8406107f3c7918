"""Another machine with the identity of a device, as a copied disk makes it: it takes the session for a while.

It is as stubborn as agents are that do not know of it: whenever it loses the session, it comes back soon.
"""

import random
from collections.abc import Callable

from contract.messages import Presence
from simulators.world.broker import Broker, Connection, Packet, Reason
from simulators.world.clock import START_MS, Clock
from simulators.world.cloud_certificates import Certificate
from simulators.world.faults import Fault, Faults

STAYS_MIN_S, STAYS_MAX_S = 60.0, 400.0
BACK_MIN_S, BACK_MAX_S = 2.0, 15.0


class Double:
    """One such machine; what is sent to it is lost."""

    def __init__(self, name: str, clock: Clock, faults: Faults, broker: Broker) -> None:
        self.copy: Callable[[], Certificate | None] = lambda: None
        """The certificate on the disk that is copied."""
        self._shown: Certificate | None = None
        self._name = name
        self._clock = clock
        self._faults = faults
        self._broker = broker
        self._until = -1.0
        self._starts = 0
        self._connection: Connection | None = None

    def come(self) -> None:
        """Somebody switches it on."""
        self._until = self._clock.now + self._stream.uniform(STAYS_MIN_S, STAYS_MAX_S)
        self._starts += 1
        self._shown = self.copy()
        self._clock.later(self._until - self._clock.now, self._leave_if_due)
        if self._connection is None:
            self._dial()

    def go(self) -> None:
        """It is found, and switched off."""
        self._until = -1.0
        if self._connection is not None:
            self._broker.hang_up(self._connection)
            self._connection = None

    @property
    def _stream(self) -> random.Random:
        return self._faults.stream(Fault.DOUBLE)

    def _leave_if_due(self) -> None:
        if self._clock.now >= self._until:
            self.go()

    def _dial(self) -> None:
        if self._clock.now >= self._until or self._connection is not None:
            return
        connection = self._broker.connection(
            self._name,
            Packet("presence", {}, self._presence(online=False)),
            receive=lambda _packet: None,
            down=lambda reason: self._down(connection, reason),
            taken=lambda _packet: None,
            unheard=lambda _packet: None,
            shown=self._shown,
        )
        self._connection = connection
        self._broker.dial(connection, lambda: self._up(connection))

    def _up(self, connection: Connection) -> None:
        self._broker.from_device(connection, Packet("presence", {}, self._presence(online=True)))

    def _down(self, connection: Connection, _reason: Reason) -> None:
        if self._connection is connection:
            self._connection = None
            self._clock.later(self._stream.uniform(BACK_MIN_S, BACK_MAX_S), self._dial)

    def _presence(self, *, online: bool) -> Presence:
        at = START_MS + int(self._clock.now * 1000)
        return Presence(
            boot=f"double-{self._starts}", at=at, online=online, kind="device", agent="1", connection=1
        )
