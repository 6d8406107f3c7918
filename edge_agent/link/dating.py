"""When things happened, on a machine whose clock may not be right yet: pure, time is an argument.

As long as the wall clock is not trusted, moments are milliseconds since the boot of the agent began; once it
is, the wall clock of that beginning is known, and they can be dated. A number below `AT_MIN_MS` is such an
offset, any other is a date.
"""

from dataclasses import dataclass

from contract.messages import AT_MAX_MS, AT_MIN_MS

Instant = float
"""Seconds of a clock that never jumps."""


@dataclass
class Stamp:
    """The clock of one boot, which began at `began`; `origin` is that as a date, None before it is known."""

    began: Instant
    origin: int | None = None

    @property
    def trusted(self) -> bool:
        """Whether moments of this boot can be dated."""
        return self.origin is not None

    def look(self, wall_ms: int, floor_ms: int, now: Instant) -> bool:
        """Look at the wall clock, which cannot be right below `floor_ms`; whether it is trusted since now."""
        if self.origin is not None or not trusted(wall_ms, floor_ms):
            return False
        self.origin = wall_ms - self._offset(now)
        return True

    def now(self, wall_ms: int, floor_ms: int, now: Instant) -> int:
        """The present moment: a date, or an offset."""
        if trusted(wall_ms, floor_ms):
            return wall_ms
        return self._offset(now) if self.origin is None else self.origin + self._offset(now)

    def _offset(self, now: Instant) -> int:
        return min(max(0, int((now - self.began) * 1000)), AT_MIN_MS - 1)


def trusted(wall_ms: int, floor_ms: int) -> bool:
    """Whether the wall clock can be right: not before `floor_ms`, which the device knows has passed."""
    return max(AT_MIN_MS, floor_ms) <= wall_ms <= AT_MAX_MS


def date(at: int, origin: int | None) -> int | None:
    """`at` as a date; None as long as nobody knows when its boot began."""
    if at >= AT_MIN_MS:
        return at
    return None if origin is None else min(origin + at, AT_MAX_MS)
