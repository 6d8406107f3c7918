"""Charts stay inside their frame, their ticks are round, and gaps stay gaps."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.telemetry.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, chart, spark

SINCE, UNTIL = 1_000_000, 1_900_000


def test_a_line_from_corner_to_corner() -> None:
    drawn = chart(
        "cpu_pct", [(SINCE, 0.0), (UNTIL, 100.0)], since=SINCE, until=UNTIL, step_s=900, low=0, high=100
    )
    assert drawn.lines == (f"{LEFT:.1f},{HEIGHT - BOTTOM:.1f} {WIDTH - RIGHT:.1f},{TOP:.1f}",)
    assert [tick.value for tick in drawn.up] == [0, 50, 100]
    assert (drawn.digits, drawn.last) == (0, 100.0)
    assert [tick.value for tick in drawn.across] == [SINCE, 1_225_000, 1_450_000, 1_675_000, UNTIL]


def test_nothing_is_drawn_where_nothing_was_measured() -> None:
    points = [(SINCE, 1.0), (SINCE + 10_000, 2.0), (SINCE + 60_000, 3.0)]
    drawn = chart("cpu_pct", points, since=SINCE, until=UNTIL, step_s=10)
    assert len(drawn.lines) == 1
    assert len(drawn.lines[0].split()) == 2
    assert len(drawn.dots) == 1


@given(st.lists(st.floats(-1e13, 1e13), min_size=1, max_size=20))
def test_every_point_is_inside_the_frame(values: list[float]) -> None:
    points = [(SINCE + 1000 * number, value) for number, value in enumerate(values)]
    drawn = chart("clock_skew_ms", points, since=SINCE, until=UNTIL, step_s=1)
    ticks = [tick.value for tick in drawn.up]
    assert ticks == sorted(set(ticks))
    assert 2 <= len(ticks) <= 7
    for pair in " ".join(drawn.lines).split():
        x, y = map(float, pair.split(","))
        assert LEFT <= x <= WIDTH
        assert TOP <= y <= HEIGHT - BOTTOM


def test_a_spark_needs_two_values() -> None:
    assert spark([(SINCE, 1.0)], since=SINCE, until=UNTIL, low=0, high=100) == ""
    assert (
        spark([(SINCE, 0.0), (UNTIL, 100.0)], since=SINCE, until=UNTIL, low=0, high=100)
        == "0.0,27.0 120.0,1.0"
    )
