"""Line charts as numbers for an SVG: pure geometry, drawn by the template."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 600
HEIGHT = 180
LEFT = 56
RIGHT = 8
TOP = 10
BOTTOM = 26
TICKS = 4
"""Steps of the vertical axis, about."""
GAP_STEPS = 2.5
"""Points that lie further apart than so many steps are not joined: nothing was measured between them."""
FLAT = 1e-6
"""Values that differ by less than this part of their size are drawn as one."""
SPARK_WIDTH = 120
SPARK_HEIGHT = 28


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where (in units of the drawing), and of what value (or ms since 1970 UTC)."""

    at: float
    value: float


@dataclass(frozen=True)
class Chart:
    """One line chart. `lines` are the `points` of SVG polylines, `dots` points that stand alone."""

    metric: str
    lines: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    points: tuple[tuple[int, float], ...]
    digits: int

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1]


def chart(
    metric: str,
    points: Sequence[tuple[int, float]],
    *,
    since: int,
    until: int,
    step_s: int,
    low: float | None = None,
    high: float | None = None,
) -> Chart:
    """The chart of `points` (ms, value), at least one; its scale has `low` and `high` in it."""
    values = [value for _, value in points] + [end for end in (low, high) if end is not None]
    ticks = _ticks(min(values), max(values))
    bottom, top = ticks[0], ticks[-1]

    def x(at: float) -> float:
        return round(LEFT + (at - since) / (until - since) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        share = (min(max(value, bottom), top) - bottom) / (top - bottom)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    runs = _runs(points, step_s * 1000 * GAP_STEPS)
    quarter = (until - since) / 4
    return Chart(
        metric=metric,
        lines=tuple(" ".join(f"{x(at)},{y(value)}" for at, value in run) for run in runs if len(run) > 1),
        dots=tuple((x(run[0][0]), y(run[0][1])) for run in runs if len(run) == 1),
        across=tuple(Tick(x(since + i * quarter), since + i * quarter) for i in range(5)),
        up=tuple(Tick(y(tick), tick) for tick in ticks),
        points=tuple(points),
        digits=_digits(ticks[1] - ticks[0]),
    )


def spark(points: Sequence[tuple[int, float]], *, since: int, until: int, low: float, high: float) -> str:
    """The `points` of one small polyline without axes; '' for fewer than two values."""
    if len(points) < 2:
        return ""
    return " ".join(
        f"{(at - since) / (until - since) * SPARK_WIDTH:.1f},"
        f"{SPARK_HEIGHT - 1 - (min(max(value, low), high) - low) / (high - low) * (SPARK_HEIGHT - 2):.1f}"
        for at, value in points
    )


def _runs(points: Sequence[tuple[int, float]], gap_ms: float) -> list[list[tuple[int, float]]]:
    runs: list[list[tuple[int, float]]] = []
    for point in points:
        if not runs or point[0] - runs[-1][-1][0] > gap_ms:
            runs.append([])
        runs[-1].append(point)
    return runs


def _ticks(low: float, high: float) -> list[float]:
    """Round values from below `low` to above `high`, at equal steps of 1, 2 or 5 times a power of ten."""
    size = max(abs(low), abs(high), 1.0)
    span = high - low if high - low > size * FLAT else size
    rough = span / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, _digits(step)) for number in range(first, max(last, first + 1) + 1)]


def _digits(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9))
