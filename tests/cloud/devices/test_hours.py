"""Hours in which a device is expected to be off, by the clock on the wall in Prishtina."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.devices.hours import DAYS, HOURS_MAX, Off, Tolerance, expected_until, plan, stretch
from cloud.errors import MalformedError

ZONE = ZoneInfo("Europe/Belgrade")
STRICT = Tolerance(0, 0)
NIGHTS = plan(stretch(day, "17:00", "07:30") for day in DAYS[:5])


def wall(day: int, hour: int, minute: int = 0, month: int = 11, year: int = 2026) -> datetime:
    """A moment by the wall clock; 23 November 2026 is a Monday."""
    return datetime(year, month, day, hour, minute, tzinfo=ZONE).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        (wall(23, 16, 59), None),
        (wall(23, 17, 0), wall(24, 7, 30)),
        (wall(23, 23, 59), wall(24, 7, 30)),
        (wall(24, 7, 30), wall(24, 7, 30)),
        (wall(24, 7, 31), None),
        (wall(28, 7, 0), wall(28, 7, 30)),
        (wall(28, 12, 0), None),
    ],
)
def test_a_stretch_that_ends_earlier_than_it_begins_ends_on_the_next_day(
    now: datetime, until: datetime | None
) -> None:
    assert expected_until(NIGHTS, now, ZONE, STRICT) == until


def test_a_device_may_go_a_little_early_and_come_a_little_late() -> None:
    some = Tolerance(early_s=900, late_s=600)
    assert expected_until(NIGHTS, wall(23, 16, 44), ZONE, some) is None
    assert expected_until(NIGHTS, wall(23, 16, 45), ZONE, some) == wall(24, 7, 40)
    assert expected_until(NIGHTS, wall(24, 7, 40), ZONE, some) == wall(24, 7, 40)
    assert expected_until(NIGHTS, wall(24, 7, 41), ZONE, some) is None


@pytest.mark.parametrize(
    ("evening", "hours"),
    [(wall(27, 20, month=3), 9), (wall(28, 20, month=3), 8), (wall(24, 20, month=10), 10)],
    ids=["a night", "into summer time", "into winter time"],
)
def test_a_night_with_a_change_of_the_clock_is_as_long_as_it_is(evening: datetime, hours: int) -> None:
    nightly = plan(stretch(day, "20:00", "05:00") for day in DAYS)
    until = expected_until(nightly, evening, ZONE, STRICT)
    assert until == evening + timedelta(hours=hours)
    assert expected_until(nightly, evening + timedelta(hours=hours, minutes=1), ZONE, STRICT) is None


def test_the_hour_that_comes_twice_is_covered_twice() -> None:
    twice = (Off(6, time(2, 0), time(3, 0)),)
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    for moment in (first, first + timedelta(hours=1)):
        assert expected_until(twice, moment, ZONE, STRICT) == datetime(2026, 10, 25, 2, 0, tzinfo=UTC)


def test_stretches_that_meet_are_one() -> None:
    closed = plan([stretch("saturday", "00:00", "00:00"), stretch("sunday", "00:00", "00:00"), *NIGHTS])
    assert expected_until(closed, wall(27, 18), ZONE, STRICT) == wall(30, 0)
    assert expected_until(closed, wall(28, 5), ZONE, STRICT) == wall(30, 0)


MINUTES = st.builds(time, st.integers(0, 23), st.integers(0, 59))


@given(
    st.lists(st.builds(Off, st.integers(0, 6), MINUTES, MINUTES), max_size=HOURS_MAX),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - hypothesis takes naive bounds
)
def test_whoever_is_expected_back_is_not_expected_off_a_moment_later(
    stretches: list[Off], naive: datetime
) -> None:
    now = naive.replace(tzinfo=UTC)
    until = expected_until(stretches, now, ZONE, STRICT)
    if until is None:
        return
    assert now <= until <= now + timedelta(days=9)
    later = expected_until(stretches, until + timedelta(seconds=1), ZONE, STRICT)
    assert later is None or until >= now + timedelta(days=7), "a whole week off is looked at a week ahead"


@pytest.mark.parametrize(
    ("day", "begins", "ends"),
    [("Monday", "17:00", "18:00"), ("monday", "24:00", "18:00"), ("monday", "17:00", "7:30")],
)
def test_what_is_no_day_or_no_time_is_refused(day: str, begins: str, ends: str) -> None:
    with pytest.raises(MalformedError):
        stretch(day, begins, ends)


def test_a_week_has_a_bounded_number_of_stretches() -> None:
    many = [Off(n % 7, time(n // 7), time(23)) for n in range(HOURS_MAX + 1)]
    assert len(plan(many[:HOURS_MAX] + many[:3])) == HOURS_MAX
    with pytest.raises(MalformedError, match="at most"):
        plan(many)
