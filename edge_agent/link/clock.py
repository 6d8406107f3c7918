"""What a device may believe of the time: its own clock, unless that is behind a moment which is surely past.

Pure. After a power cut without a clock that goes on, a device wakes in 1970. It remembers a floor: the last
time that the cloud told it over a connection whose other end was proven. A clock that says less was not set;
what the cloud has told since the start is believed in its place, and before that nothing but the floor.
"""

from contract.messages import AT_MAX_MS, AT_MIN_MS

Instant = float
"""Seconds of a clock that never jumps."""

SAVE_STEP_MS = 86_400_000
"""The floor is written when it has moved by a day: once a day, whatever the cloud says."""
SAVE_WAIT_S = 3600.0
"""Nor is it written more often than this, should the cloud's own clock be at odds with itself."""


class DeviceClock:
    """`saved_ms` is the floor on the disk (0 for none), `base_ms` what certificates prove to be past.

    `ceiling_ms` is the end of this device's certificate: nobody's word lifts the floor further, so that a
    cloud whose clock was far ahead for a moment cannot make a device refuse it ever after.
    """

    def __init__(self, saved_ms: int, base_ms: int, ceiling_ms: int) -> None:
        self._saved_ms = saved_ms
        self._base_ms = max(base_ms, AT_MIN_MS)
        self._ceiling_ms = ceiling_ms
        self._floor_ms = max(saved_ms, self._base_ms)
        self._told: tuple[int, Instant] | None = None
        self._save_not_before: Instant | None = None

    @property
    def floor_ms(self) -> int:
        """A moment that is surely past."""
        return self._floor_ms

    def told(self, server_ms: int, now: Instant) -> int | None:
        """The cloud says that it is `server_ms`; gives the floor where it is to be written down now.

        The cloud's word moves the floor both ways, so that one that was too high does not stay so.
        """
        if not AT_MIN_MS <= server_ms <= AT_MAX_MS:
            return None
        self._told = server_ms, now
        self._floor_ms = max(self._base_ms, min(server_ms, self._ceiling_ms))
        if abs(self._floor_ms - self._saved_ms) < SAVE_STEP_MS:
            return None
        if self._save_not_before is not None and now < self._save_not_before:
            return None
        self._save_not_before = now + SAVE_WAIT_S
        self._saved_ms = self._floor_ms
        return self._floor_ms

    def renewed(self, not_before_ms: int, ceiling_ms: int) -> None:
        """The device's certificate is another one; it begins and ends at these moments."""
        self._base_ms = max(self._base_ms, not_before_ms)
        self._ceiling_ms = ceiling_ms
        self._floor_ms = max(self._floor_ms, self._base_ms)

    def best_ms(self, wall_ms: int, now: Instant) -> int:
        """The time for what happens now; below the floor as long as nobody knows it.

        `wall_ms` is the machine's clock. Where that can be right it counts, even if the cloud's differs: the
        cloud estimates each device's difference itself.
        """
        if self._floor_ms <= wall_ms <= AT_MAX_MS:
            return wall_ms
        told = self._cloud_ms(now)
        return wall_ms if told is None else told

    def certain_ms(self, wall_ms: int, now: Instant) -> int:
        """The time to judge our own certificate by: the cloud's where it was told; never below the floor."""
        told = self._cloud_ms(now)
        return max(self._floor_ms, min(wall_ms, AT_MAX_MS)) if told is None else told

    def judge_ms(self, wall_ms: int) -> int | None:
        """The moment to judge certificates of others by, in place of a clock that is behind the floor."""
        return self._floor_ms if wall_ms < self._floor_ms else None

    def _cloud_ms(self, now: Instant) -> int | None:
        if self._told is None:
            return None
        told_ms, at = self._told
        return max(self._floor_ms, told_ms + round((now - at) * 1000))
