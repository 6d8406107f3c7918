"""How many devices a job may be shown to now, at a constant rate: every decision, no I/O.

The rate is AWS IoT Jobs' `maximumPerMinute`: a bound within any 60 seconds, and here also a pace. Time that
was lost, because the control plane was away, is not made up for.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(seconds=60)
CATCH_UP = timedelta(seconds=5)
"""A step that comes so late still shows what was due in between; more would be a burst."""


@dataclass(frozen=True)
class Step:
    """Show the job to `count` devices now, and look again at `next_at`; None when nobody is left."""

    count: int
    next_at: datetime | None


def step(per_minute: int, next_at: datetime, recent: int, waiting: int, now: datetime) -> Step:
    """What the roll-out does at `now`.

    `next_at` is when the next device is due, `recent` how many were shown the job within the last `WINDOW`
    up to `now`, `waiting` how many still are to be.
    """
    interval = WINDOW / per_minute
    due_at = max(next_at, now - CATCH_UP)
    due = (now - due_at) // interval + 1 if now >= due_at else 0
    count = max(0, min(due, per_minute - recent, waiting))
    return Step(count, None if count == waiting else due_at + count * interval)
