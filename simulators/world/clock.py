"""Simulated time: a heap of what is to happen, and when."""

import heapq
from collections.abc import Callable

STEPS_MAX = 300_000
"""A history that takes more has run away."""

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
