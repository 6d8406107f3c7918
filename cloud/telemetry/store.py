"""What the telemetry way needs of a time-series store, and the points that go into it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from contract.telemetry import Value

MEASUREMENT = "health"


class Point(NamedTuple):
    """What one device measured at one moment: `at` is its wall clock in ms since 1970 UTC.

    A named tuple, because ten thousand of them are made in a second. Each value is of its metric's type.
    Another `measurement` than that of devices' health is for stores that Grafana reads (`own_metrics`).
    """

    device: str
    site: str
    kind: str
    at: int
    values: tuple[tuple[str, Value], ...]
    measurement: str = MEASUREMENT


@dataclass(frozen=True)
class Last:
    """The newest value of a metric and when it was measured (ms since 1970 UTC)."""

    at: int
    value: float


class TelemetryStore(Protocol):
    """A time-series store. Writing a point again changes nothing: (device, metric, at) is what it is."""

    def write(self, points: Sequence[Point]) -> None:
        """Store all of `points`; durable as far as the store promises when this returns.

        Raises:
            UnavailableError: it does not answer; the same call later may succeed.
            RefusedError: it will never take these points.
        """

    def latest(self, devices: Sequence[str], since: int, until: int) -> dict[str, dict[str, Last]]:
        """The newest value of each metric of each device in `since` < at <= `until` (ms).

        Raises:
            UnavailableError: it does not answer.
        """

    def series(
        self, device: str, metric: str, since: int, until: int, step_s: int
    ) -> list[tuple[int, float]]:
        """Means of one metric over steps: (end of the step in ms, mean), ascending, without empty steps.

        Steps end at multiples of `step_s`; the values are those with `since` < at <= `until` (ms), both
        rounded down to a multiple.

        Raises:
            UnavailableError: it does not answer.
        """

    def forget(self, before: int) -> None:
        """Delete what was measured before `before` (ms), where the store does not do so by itself."""

    def close(self) -> None:
        """Let go of files and connections."""


def floor_ms(at: int, step_s: int) -> int:
    """`at` (ms) rounded down to a multiple of `step_s`."""
    return at // (step_s * 1000) * (step_s * 1000)
