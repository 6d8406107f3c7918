"""Samples all readings every few seconds and hands them to the link as droppable messages."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence

from contract.messages import Lane
from contract.telemetry import BY_NAME, Sample, TelemetryBatch, Value
from edge_agent.ports import Link

Readings = Callable[[], Mapping[str, Value | None]]
"""Gives metrics by name; None and what is left out could not be read."""


class Telemetry:
    """The health of one device. `readings` are asked in their order; a later one may not repeat a metric."""

    def __init__(self, *, link: Link, period_s: float, readings: Sequence[Readings]) -> None:
        self._link = link
        self._period_s = period_s
        self._readings = readings
        self._paced = asyncio.Event()

    @property
    def period_s(self) -> float:
        """The time from one sample to the next."""
        return self._period_s

    def pace(self, period_s: float) -> None:
        """From now on sample every `period_s`, beginning at once."""
        self._period_s = float(period_s)
        self._paced.set()

    async def run(self) -> None:
        """Sample until cancelled; the beat does not drift with the time that a sample takes."""
        while True:
            self._paced.clear()
            started, beat, period_s = time.monotonic(), 0, self._period_s
            while not self._paced.is_set():
                await self.sample(self._link.stamp())
                beat = max(beat + 1, math.floor((time.monotonic() - started) / period_s))
                await self._pause(started + beat * period_s - time.monotonic())

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, wait_s)):
                await self._paced.wait()
        except TimeoutError:
            pass  # the beat has come

    async def sample(self, stamp: int) -> None:
        """Take one sample at `stamp`, the link's word for now; it dates what was measured by no clock."""
        values: dict[str, Value] = {}
        for readings in self._readings:
            for name, value in readings().items():
                assert name in BY_NAME, name
                assert name not in values, name
                if value is not None and _within(name, value):
                    values[name] = value
        if values:
            batch = TelemetryBatch(samples=[Sample(at=stamp, values=values)])
            await self._link.send("telemetry", {}, batch, lane=Lane.TELEMETRY, must=False)


def _within(name: str, value: Value) -> bool:
    """A sensor that says the impossible has said nothing; one bad value must not cost the whole sample."""
    metric = BY_NAME[name]
    return math.isfinite(value) and metric.low <= value <= metric.high
