"""A time-series store in a dictionary, for tests."""

from collections.abc import Sequence

from cloud.telemetry.store import Last, Point, floor_ms
from contract.telemetry import Value


class MemoryStore:
    """See `cloud.telemetry.store.TelemetryStore`; `values` is everything, by device, metric and time."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, int], Value] = {}

    def write(self, points: Sequence[Point]) -> None:
        """Store."""
        for point in points:
            for metric, value in point.values:
                self.values[point.device, metric, point.at] = value

    def latest(self, devices: Sequence[str], since: int, until: int) -> dict[str, dict[str, Last]]:
        """The newest of each."""
        found: dict[str, dict[str, Last]] = {}
        for (device, metric, at), value in sorted(self.values.items(), key=lambda item: item[0][2]):
            if device in devices and since < at <= until:
                found.setdefault(device, {})[metric] = Last(at, float(value))
        return found

    def series(
        self, device: str, metric: str, since: int, until: int, step_s: int
    ) -> list[tuple[int, float]]:
        """Means over steps."""
        steps: dict[int, list[float]] = {}
        since, until = floor_ms(since, step_s), floor_ms(until, step_s)
        for (owner, name, at), value in self.values.items():
            if (owner, name) == (device, metric) and since < at <= until:
                steps.setdefault(-floor_ms(-at, step_s), []).append(float(value))
        return [(end, sum(values) / len(values)) for end, values in sorted(steps.items())]

    def forget(self, before: int) -> None:
        """Delete what is old."""
        for key in [key for key in self.values if key[2] < before]:
            del self.values[key]

    def close(self) -> None:
        """Nothing to let go of."""
