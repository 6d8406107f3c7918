"""What the ingest knows of each device's link and of itself, as points for the store that Grafana reads.

Pure: outcomes and the time come in, points come out. A device that is enrolled and silent has a point as
well, which is how a panel and an alert see it; one that is only awaited has none. With several ingest
processes each knows only what it took.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from cloud.telemetry.core import Member, Sorted
from cloud.telemetry.store import Point

PERIOD = timedelta(seconds=10)
LINK = "link"
INGEST = "ingest"
"""Measurements; what is in them is in `contract.telemetry`."""
SITE = "cloud"
KIND = "service"
"""Tags of the points that are about ourselves."""


class OwnMetrics:
    """`name` is this process's; it began to listen at `now`."""

    def __init__(self, name: str, now: datetime) -> None:
        self._name = name
        self._since = self._next = now
        self._heard: dict[str, datetime] = {}
        self._skews: dict[str, int] = {}
        self._lag_ms: float | None = None
        self._samples = self._refused = self._lost = 0

    def note(self, outcome: Sorted, now: datetime) -> None:
        """A batch is stored."""
        for key in outcome.marks:
            self._heard[key.device] = now
        self._skews |= outcome.skews
        self._samples += outcome.samples
        self._refused += len(outcome.refused) + sum(outcome.excess.values())
        self._lost += outcome.lost
        if outcome.oldest is not None:
            lag_ms = max(0.0, now.timestamp() * 1000 - outcome.oldest)
            self._lag_ms = lag_ms if self._lag_ms is None else max(self._lag_ms, lag_ms)

    def due(self, now: datetime) -> bool:
        """Whether it is time for `points`; at once after a clock was set back."""
        return not self._next - PERIOD <= now < self._next

    def points(self, members: Mapping[str, Member], now: datetime) -> list[Point]:
        """One of each device that was ever enrolled or is heard, and one of ourselves.

        The next ones are due a period later.
        """
        self._next = now + PERIOD
        self._heard = {device: at for device, at in self._heard.items() if device in members}
        self._skews = {device: skew for device, skew in self._skews.items() if device in members}
        at_ms = int(now.timestamp() * 1000)
        found = []
        for device, member in members.items():
            if not member.enrolled and device not in self._heard:
                continue
            silent = now - self._heard.get(device, self._since)
            silent_s = max(0.0, round(silent.total_seconds(), 1))
            values: list[tuple[str, float | int]] = [("silent_s", silent_s)]
            if device in self._skews:
                values.append(("skew_ms", float(self._skews[device])))
            found.append(Point(device, member.site, member.kind, at_ms, tuple(values), LINK))
        own: list[tuple[str, float | int]] = [
            ("samples", self._samples),
            ("refused", self._refused),
            ("lost", self._lost),
        ]
        if self._lag_ms is not None:
            own.append(("lag_ms", round(self._lag_ms, 1)))
            self._lag_ms = None
        found.append(Point(self._name, SITE, KIND, at_ms, tuple(own), INGEST))
        return found
