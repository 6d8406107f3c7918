"""What happened in a world, line by line with its simulated time; bounded, and as a digest of it all."""

import hashlib
from collections import deque

from simulators.world.clock import Clock

LINES_MAX = 50_000
"""The last so many lines are kept to be read; the digest has all of them."""


class Trace:
    """Takes lines when `on`; costs next to nothing when not."""

    def __init__(self, clock: Clock, *, on: bool = False) -> None:
        self.on = on
        self.lines: deque[str] = deque(maxlen=LINES_MAX)
        self.count = 0
        self._clock = clock
        self._digest = hashlib.sha256()

    def __call__(self, who: str, what: object) -> None:
        """`who` did or saw `what`."""
        if not self.on:
            return
        line = f"{self._clock.now:10.3f} {who:10} {what}"
        self.count += 1
        self.lines.append(line)
        self._digest.update(line.encode() + b"\n")

    @property
    def digest(self) -> str:
        """Of every line so far."""
        return self._digest.hexdigest()
