"""What the broker says of itself on `$SYS` (mosquitto(8), "Broker status"), as figures. Pure.

A broker drops messages for a client whose queue is full and tells the publisher that they are taken, so its
own counters are the only sign of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite

SYSTEM_PREFIX = "$SYS/"
FIGURES = {
    "$SYS/broker/publish/messages/dropped": "dropped",
    "$SYS/broker/clients/connected": "connections",
    "$SYS/broker/clients/total": "sessions",
    "$SYS/broker/store/messages/count": "stored_messages",
    "$SYS/broker/store/messages/bytes": "stored_bytes",
    "$SYS/broker/messages/received": "received",
    "$SYS/broker/messages/sent": "sent",
}
"""The metric of `contract.telemetry.BROKER_METRICS` that each topic is."""
SYSTEM_TOPICS = ("$SYS/broker/uptime", *FIGURES)
FRESH_FOR = timedelta(seconds=60)
"""The uptime comes every 10 s; other figures come when they change."""
DROPS_REMEMBERED = timedelta(minutes=5)
NEAR_PCT = 80.0
"""Connections in per cent of the bound from which on somebody must act."""
FIGURE_LENGTH_MAX = 32


@dataclass(frozen=True)
class Broker:
    """The broker's figures as of `at`; `values` by metric. `drops` is what was lost in the last minutes."""

    at: datetime
    values: Mapping[str, float]
    drops: int

    @property
    def full_pct(self) -> float:
        """Connections in per cent of the bound."""
        return self.values.get("full_pct", 0.0)

    @property
    def near_full(self) -> bool:
        """Whether new devices may soon be turned away."""
        return self.full_pct >= NEAR_PCT


class BrokerFigures:
    """Takes what comes on `$SYS`; `connections_max` is what the broker's configuration allows."""

    def __init__(self, connections_max: int) -> None:
        self._connections_max = connections_max
        self._values: dict[str, float] = {}
        self._at: datetime | None = None
        self._drops: tuple[tuple[datetime, int], ...] = ()

    def take(self, topic: str, payload: bytes, now: datetime) -> None:
        """One figure; what is none is left out."""
        self._at = now
        metric = FIGURES.get(topic)
        if metric is None or len(payload) > FIGURE_LENGTH_MAX:
            return
        try:
            value = float(payload)
        except ValueError:
            return
        if not isfinite(value):
            return
        if metric == "dropped":
            self._note_drops(int(value), now)
        self._values = self._values | {metric: value}

    def now(self, now: datetime) -> Broker | None:
        """The figures; None while the broker says nothing of itself."""
        if self._at is None or now - self._at > FRESH_FOR:
            return None
        values = dict(self._values)
        if "connections" in values:
            values["full_pct"] = round(100 * values["connections"] / self._connections_max, 1)
        drops = sum(count for at, count in self._drops if now - at <= DROPS_REMEMBERED)
        values["drops_5min"] = drops
        return Broker(self._at, values, drops)

    def _note_drops(self, total: int, now: datetime) -> None:
        """The counter only grows; one that fell belongs to a broker that was started anew."""
        before = self._values.get("dropped")
        new = total if before is None or total < before else total - int(before)
        kept = tuple(each for each in self._drops if now - each[0] <= DROPS_REMEMBERED)
        # What it had counted before we asked for the first time may be long ago.
        self._drops = kept if before is None or new == 0 else (*kept, (now, new))
