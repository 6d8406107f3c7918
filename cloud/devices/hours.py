"""Weekly hours in which a device is expected to be off, in the city's civil time. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from cloud.errors import MalformedError

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HOURS_MAX = 21
"""Stretches of one site or device: three a day."""

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class Tolerance:
    """How much earlier than planned a device may go off, and how much later it may be back, in seconds."""

    early_s: float = 900.0
    late_s: float = 900.0


@dataclass(frozen=True, order=True)
class Off:
    """One stretch a week: it begins on `day` (0 is Monday) at `begins`; one that does not end later than it
    begins ends on the next day."""

    day: int
    begins: time
    ends: time


def stretch(day: str, begins: str, ends: str) -> Off:
    """A stretch as a person or a program gives it, with times such as `17:30`.

    Raises:
        MalformedError: there is no such day, or no such time.
    """
    if day not in DAYS:
        raise MalformedError(f"{day!r:.40} is no day; give one of {', '.join(DAYS)}")
    return Off(DAYS.index(day), _clock(begins), _clock(ends))


def plan(stretches: Iterable[Off]) -> tuple[Off, ...]:
    """The stretches of a week in their order, each once.

    Raises:
        MalformedError: there are too many.
    """
    found = tuple(sorted(set(stretches)))
    if len(found) > HOURS_MAX:
        raise MalformedError(f"{len(found)} stretches in a week: at most {HOURS_MAX} are taken")
    return found


def expected_until(week: Sequence[Off], now: datetime, zone: tzinfo, tolerance: Tolerance) -> datetime | None:
    """Until when a device that is off now is off as expected; None when it should be there.

    Stretches are turned into moments before they are compared, so that a night with a change to or from
    summer time is as long as it is.
    """
    early, late = timedelta(seconds=tolerance.early_s), timedelta(seconds=tolerance.late_s)
    today = now.astimezone(zone).date()
    until = None
    for begins, ends in sorted(_moments(week, today, zone)):
        if begins - early <= (until or now) <= ends + late and (until is None or ends + late > until):
            until = ends + late
    return until


def _moments(week: Sequence[Off], today: date, zone: tzinfo) -> Iterable[tuple[datetime, datetime]]:
    """The stretches from yesterday's to those a week ahead as moments."""
    for offset in range(-2, 8):
        begun = today + timedelta(days=offset)
        for off in week:
            if off.day == begun.weekday():
                ended = begun if off.ends > off.begins else begun + timedelta(days=1)
                yield _moment(begun, off.begins, zone), _moment(ended, off.ends, zone)


def _moment(day: date, at: time, zone: tzinfo) -> datetime:
    """The moment of a civil time; moments are compared in UTC, because Python compares those of one zone by
    their civil time."""
    return datetime.combine(day, at, zone).astimezone(UTC)


def _clock(text: str) -> time:
    found = _CLOCK.fullmatch(text)
    if not found:
        raise MalformedError(f"{text!r:.20} is no time; give hours and minutes such as 17:30")
    return time(int(found[1]), int(found[2]))
