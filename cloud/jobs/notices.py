"""Telling devices that their list of work has changed, after the change is committed.

A notice can be lost; it is repeated when the device comes online and when the broker comes back.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.jobs import shapes, store
from cloud.jobs.core import next_of
from cloud.jobs.store import Stored
from contract.jobs import Notify, NotifyNext, Status
from contract.messages import encode

log = logging.getLogger(__name__)

Publish = Callable[[str, dict[str, str], bytes], None]
"""Takes a topic's name, its ids and a payload; `cloud.broker.Broker.publish` is the real one."""


def after_commit(session: Session, do: Callable[[], None]) -> None:
    """Call `do` once, when `session` has committed. Savepoints count as commits: do not use them here."""

    def done(_session: Session) -> None:
        try:
            do()
        except Exception:  # the change stands; what follows from it is found again by the sweep
            log.exception("after_commit_failed")

    sa.event.listen(session, "after_commit", done, once=True)


class Notices:
    """Publishes `notify` and `notify-next`; one at a time, so that the last one told is the newest."""

    def __init__(
        self, sessions: sessionmaker[Session], publish: Publish, clock: Callable[[], datetime]
    ) -> None:
        self._sessions = sessions
        self._publish = publish
        self._clock = clock
        self._one = threading.Lock()

    @contextmanager
    def watch(self, session: Session, devices: Iterable[str]) -> Iterator[None]:
        """What changes inside is told to those of `devices` that it concerns, after the commit."""
        before = store.pending_of(session, devices)
        yield
        after = store.pending_of(session, before)
        for device, old in before.items():
            new = after[device]
            headed = _head(old) != _head(new)
            if headed or _listed(old) != _listed(new):
                after_commit(session, partial(self._tell, device, headed))

    def announce(self, device: str) -> None:
        """Tell `device` what is next for it, changed or not."""
        self._tell(device, True)

    def announce_all(self) -> None:
        """Tell every device that has something to do; after the broker came back."""
        with self._sessions.begin() as session:
            devices = store.devices_with_work(session)
        for device in devices:
            self.announce(device)

    def _tell(self, device: str, headed: bool, /) -> None:
        with self._one:
            with self._sessions.begin() as session:
                pending = store.pending(session, device)
            now = self._clock()
            listed = {
                status.value: summaries
                for status in (Status.IN_PROGRESS, Status.QUEUED)
                if (summaries := shapes.summaries(pending, status))
            }
            self._publish(
                "job-notify", {"device": device}, encode(Notify(timestamp=shapes.seconds(now), jobs=listed))
            )
            if headed:
                head = _next(pending)
                told = shapes.execution(head, now) if head else None
                notice = NotifyNext(timestamp=shapes.seconds(now), execution=told)
                self._publish("job-notify-next", {"device": device}, encode(notice))


def _next(pending: list[Stored]) -> Stored | None:
    head = next_of(stored.execution for stored in pending)
    return next((stored for stored in pending if stored.execution is head), None)


def _head(pending: list[Stored]) -> tuple[str, int] | None:
    head = _next(pending)
    return (head.execution.job, head.execution.number) if head else None


def _listed(pending: list[Stored]) -> list[tuple[str, int, Status]]:
    return [(each.execution.job, each.execution.number, each.execution.status) for each in pending]
