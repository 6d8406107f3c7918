"""Moments become dates once the clock is trusted, and not before."""

import pytest

from contract.messages import AT_MAX_MS, AT_MIN_MS
from edge_agent.link.dating import Stamp, date, trusted

NOW_MS = 1_795_423_200_000
FLOOR_MS = 1_790_000_000_000


@pytest.mark.parametrize(
    ("wall_ms", "floor_ms", "right"),
    [
        (0, 0, False),
        (AT_MIN_MS - 1, 0, False),
        (AT_MIN_MS, 0, True),
        (AT_MIN_MS, FLOOR_MS, False),
        (FLOOR_MS, FLOOR_MS, True),
        (AT_MAX_MS + 1, FLOOR_MS, False),
    ],
)
def test_a_clock_that_says_less_than_what_has_passed_is_not_trusted(
    wall_ms: int, floor_ms: int, right: bool
) -> None:
    assert trusted(wall_ms, floor_ms) is right


def test_an_offset_is_dated_by_what_is_learned_later() -> None:
    stamp = Stamp(began=100.0)
    assert not stamp.look(5_000, FLOOR_MS, 105.0)
    moment = stamp.now(5_000, FLOOR_MS, 107.5)
    assert moment == 7_500
    assert date(moment, stamp.origin) is None
    assert stamp.look(NOW_MS, FLOOR_MS, 160.0)
    assert date(moment, stamp.origin) == NOW_MS - 60_000 + 7_500
    assert not stamp.look(NOW_MS, FLOOR_MS, 161.0), "it is news once"


def test_a_date_stays_one() -> None:
    assert date(NOW_MS, None) == date(NOW_MS, 5) == NOW_MS


def test_a_clock_that_loses_the_time_again_is_counted_on_from_where_it_was_right() -> None:
    stamp = Stamp(began=100.0)
    stamp.look(NOW_MS, FLOOR_MS, 100.0)
    assert stamp.now(3_000, FLOOR_MS, 130.0) == NOW_MS + 30_000


def test_an_offset_is_never_taken_for_a_date() -> None:
    stamp = Stamp(began=0.0)
    assert stamp.now(0, 0, 1e12) < AT_MIN_MS
