"""When each device was heard last, and since when this ingest listens: what presence needs of telemetry.

What `note` and `turn` are told in the ingest's thread, another takes with `take` and writes down.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.presence import PresenceEars, PresenceHeard
from cloud.database.writing import insert
from cloud.telemetry.core import Sorted

BREAK = timedelta(seconds=15)
"""Whoever does not come back to the broker for so long, because the store is away, has not listened."""


@dataclass(frozen=True)
class Heard:
    """Since when we listen without a break, None when we do not; and what is new since the last time."""

    since: datetime | None
    at: datetime
    devices: Mapping[str, datetime]


class Hearing:
    """Notes what is heard; the clock is the server's.

    For `drain_s` after we began to listen nothing that arrives is a sign of life: it may have waited at the
    broker for as long as nobody listened.
    """

    def __init__(self, drain_s: float) -> None:
        self._drain = timedelta(seconds=drain_s)
        self._lock = threading.Lock()
        self._since: datetime | None = None
        self._turned: datetime | None = None
        self._new: dict[str, datetime] = {}

    def turn(self, now: datetime, connected: bool) -> None:
        """The ingest asks the broker for more, or has lost it."""
        with self._lock:
            if not connected:
                self._since = None
            elif self._since is None or not self._turning(now):
                self._since = now
            self._turned = now

    def note(self, outcome: Sorted, now: datetime) -> None:
        """A batch is stored; any message of a device is a sign of its life."""
        with self._lock:
            if self._since is not None and self._turning(now) and now - self._since >= self._drain:
                for key in outcome.marks:
                    self._new[key.device] = now

    def take(self, now: datetime) -> Heard:
        """What is new; told once."""
        with self._lock:
            new, self._new = self._new, {}
            return Heard(self._since if self._turning(now) else None, now, new)

    def _turning(self, now: datetime) -> bool:
        """Whether the last turn was a moment ago; a clock that was set back says no, too."""
        return self._turned is not None and self._turned <= now <= self._turned + BREAK


def write(session: Session, name: str, heard: Heard) -> None:
    """Write down what the ingest called `name` has heard, and whether it listens."""
    if heard.since is None:
        session.execute(sa.update(PresenceEars).where(PresenceEars.name == name).values(since=None))
    else:
        ears = insert(session, PresenceEars).values(name=name, since=heard.since, at=heard.at)
        session.execute(
            ears.on_conflict_do_update(index_elements=["name"], set_={"since": heard.since, "at": heard.at})
        )
    if heard.devices:
        new = insert(session, PresenceHeard)
        session.execute(
            new.on_conflict_do_update(index_elements=["device"], set_={"heard_at": new.excluded.heard_at}),
            [{"device": device, "heard_at": at} for device, at in sorted(heard.devices.items())],
        )
