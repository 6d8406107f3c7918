"""Simulated time: a heap of what is to happen and when, and the wall clocks that people and devices read."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime

from simulators.world.faults import Fault, Faults

STEPS_MAX = 300_000
"""A history that takes more has run away."""
START = datetime(2026, 1, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
DAY_MS = 86_400_000
TRUSTED_MIN_S, TRUSTED_MAX_S = 5.0, 120.0
"""How long after a cold start a device is told the time."""

Action = Callable[[], None]


class Clock:
    """The only clock of a world; what is due at one moment happens in the order of its planning."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._heap: list[tuple[float, int, Action]] = []
        self._planned = 0

    def later(self, delay_s: float, action: Action) -> None:
        """Do `action` in `delay_s` seconds."""
        assert delay_s >= 0
        self._planned += 1
        heapq.heappush(self._heap, (self.now + delay_s, self._planned, action))

    def run(self, until: float) -> None:
        """Let time pass until `until`, or until nothing is planned any more."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heapq.heappop(self._heap)
            self.steps += 1
            assert self.steps < STEPS_MAX, f"more than {STEPS_MAX} steps: something runs in a ring"
            action()
        self.now = max(self.now, until)


class Wall:
    """A device's wall clock: right, unless it drifts, is stepped, or was never set."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        self._rate = 1.0
        self._step_ms = 0
        self._cold_at: float | None = None
        self.wrong = False
        """Whether it ever said a time that looks right and is not."""
        share = faults.strength(Fault.CLOCK_DRIFT)
        if share:
            self.wrong = True
            self._rate += share * faults.stream(Fault.CLOCK_DRIFT).choice((-1, 1))
            faults.bites[Fault.CLOCK_DRIFT] += 1

    def ms(self) -> int:
        """What it says, in ms since 1970."""
        if self._cold_at is not None:
            return int((self._clock.now - self._cold_at) * 1000)
        return START_MS + self._step_ms + int(self._clock.now * self._rate * 1000)

    def power_on(self) -> None:
        """The machine starts; it may have lost the time, until somebody tells it."""
        if not self._faults.happens(Fault.COLD_CLOCK):
            return
        self._cold_at = self._clock.now
        told_s = self._faults.stream(Fault.COLD_CLOCK).uniform(TRUSTED_MIN_S, TRUSTED_MAX_S)
        self._clock.later(told_s, self._set)

    def step(self) -> None:
        """It jumps by a day, and back after some minutes."""
        self.wrong = True
        stream = self._faults.stream(Fault.CLOCK_STEP)
        self._step_ms = stream.choice((-DAY_MS, DAY_MS))
        self._clock.later(stream.uniform(60, 400), self._set)

    def heal(self) -> None:
        """It is right from now on."""
        self._rate = 1.0
        self._set()

    def _set(self) -> None:
        self._step_ms, self._cold_at = 0, None
