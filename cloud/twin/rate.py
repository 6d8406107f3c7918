"""How many requests a device may make: a burst, and so many a second for longer. Pure."""

from dataclasses import dataclass
from datetime import datetime

from contract.twin import IN_FLIGHT_MAX

PER_S = 10.0
DEVICES_MAX = 20_000
"""Devices remembered; those that have been quiet are forgotten first, which changes nothing for them."""


@dataclass
class _Bucket:
    left: float
    at: datetime


class Rate:
    """One bucket a device; a full one holds `burst` requests and fills again by `per_s` a second."""

    def __init__(self, burst: int = IN_FLIGHT_MAX, per_s: float = PER_S) -> None:
        self._burst = burst
        self._per_s = per_s
        self._buckets: dict[str, _Bucket] = {}

    def take(self, device: str, now: datetime) -> bool:
        """Whether `device` may make a request at `now`; if so it is counted."""
        bucket = self._buckets.get(device)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[device] = _Bucket(float(self._burst), now)
        bucket.left = self._left(bucket, now)
        bucket.at = now
        if bucket.left < 1:
            return False
        bucket.left -= 1
        return True

    def _left(self, bucket: _Bucket, now: datetime) -> float:
        passed_s = max(0.0, (now - bucket.at).total_seconds())
        return min(float(self._burst), bucket.left + passed_s * self._per_s)

    def _forget(self, now: datetime) -> None:
        if len(self._buckets) < DEVICES_MAX:
            return
        full = [name for name, each in self._buckets.items() if self._left(each, now) >= self._burst]
        for name in full or [next(iter(self._buckets))]:
            del self._buckets[name]
