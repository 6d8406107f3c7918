"""A constant rate is never exceeded within any minute, is kept up when nothing hinders, and never bursts."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cloud.jobs.rollout import CATCH_UP, WINDOW, Step, step
from contract.jobs import PER_MINUTE_MAX

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def roll(per_minute: int, devices: int, moments: list[float]) -> list[float]:
    """When each device was shown the job, if the roll-out looks at these moments."""
    shown: list[float] = []
    next_at: datetime | None = START
    for moment in sorted(moments):
        if next_at is None:
            break
        recent = sum(moment - WINDOW.total_seconds() < each <= moment for each in shown)
        made = step(per_minute, next_at, recent, devices - len(shown), at(moment))
        shown += [moment] * made.count
        next_at = made.next_at
    assert (next_at is None) == (len(shown) == devices)
    return shown


def test_the_first_device_is_due_at_once_and_the_others_one_interval_apart() -> None:
    assert step(2, START, 0, 3, START) == Step(1, at(30))
    assert step(2, at(30), 1, 2, at(29)) == Step(0, at(30))
    assert step(2, at(30), 1, 2, at(31)) == Step(1, at(60))
    assert step(2, at(60), 1, 1, at(60)) == Step(1, None)


def test_a_step_that_comes_often_enough_keeps_the_rate() -> None:
    for per_minute in (1, 7, 60, PER_MINUTE_MAX):
        shown = roll(per_minute, 10 * per_minute, [number * 2.0 for number in range(300)])
        assert 10 * per_minute - per_minute / 20 - 1 <= len(shown) <= 10 * per_minute


def test_lost_time_is_not_made_up_for() -> None:
    shown = roll(600, 1000, [0.0, 2.0, 4.0, 604.0])
    assert shown.count(604.0) <= 600 * CATCH_UP / WINDOW + 1


def test_a_job_without_devices_left_is_not_looked_at_again() -> None:
    assert step(10, START, 0, 0, START) == Step(0, None)


@given(
    st.integers(1, 120),
    st.integers(1, 400),
    st.lists(st.floats(0, 600, allow_nan=False), max_size=120),
)
def test_no_minute_has_more_than_the_rate(per_minute: int, devices: int, moments: list[float]) -> None:
    shown = roll(per_minute, devices, moments)
    for begin in shown:
        within = [each for each in shown if begin <= each < begin + WINDOW.total_seconds()]
        assert len(within) <= per_minute
