"""What time does to jobs, in transactions of bounded size; what one sweep leaves, the next takes.

Every step finds in the database what is to be done, so that a control plane that was killed in the middle,
or another one on the same database, goes on where it stopped.
"""

import logging
from datetime import datetime

from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import for_reading
from cloud.database.writing import hold
from cloud.jobs import core, rollout, store
from cloud.jobs.service import Jobs
from contract.jobs import PER_MINUTE_MAX

log = logging.getLogger(__name__)

SWEPT_MAX = 500
"""Executions ended, told of or erased by one sweep."""
ROLLED_MAX = 50
"""Jobs that one sweep rolls out further, and devices that have left that it looks at."""
SHOWN_MAX = PER_MINUTE_MAX * rollout.CATCH_UP // rollout.WINDOW + 1
"""Devices that one step of a roll-out can reach."""


class Sweep:
    """Called again and again by `cloud.jobs.run`."""

    def __init__(self, sessions: sessionmaker[Session], jobs: Jobs) -> None:
        self._sessions = sessions
        self._reading = for_reading(sessions)
        self._jobs = jobs

    def __call__(self, now: datetime) -> int:
        """Do all of it once; how many executions were over time."""
        self.remove()
        expired = self.expire(now)
        self.roll(now)
        self.tell()
        self.erase()
        return expired

    def remove(self) -> None:
        """End what devices had to do that have left the fleet."""
        with self._reading() as session:
            devices = store.devices_gone(session, ROLLED_MAX)
        for device in devices:
            with self._sessions.begin() as session:
                self._jobs.remove(session, device)

    def expire(self, now: datetime) -> int:
        """End what is over time; how many executions."""
        with self._reading() as session:
            devices = store.devices_due(session, now, SWEPT_MAX)
        if not devices:
            return 0
        with self._sessions.begin() as session:
            hold(session, devices)
            due = store.due(session, devices, now, SWEPT_MAX)
            with self._jobs.notices.watch(session, {each.device for each in due}):
                for each in sorted(due, key=lambda each: each.execution.job):  # jobs are held in one order
                    self._jobs.write(session, each, core.expire(each.execution, now))
        return len(due)

    def roll(self, now: datetime) -> int:
        """Show jobs to the devices whose turn has come; how many devices."""
        with self._reading() as session:
            jobs = store.rolling(session, now, ROLLED_MAX)
        return sum(self._roll(job, now) for job in jobs)

    def _roll(self, job_id: str, now: datetime) -> int:
        with self._sessions.begin() as session:
            ahead = store.waiting(session, job_id, SHOWN_MAX)
            hold(session, ahead)
            job = store.held(session, job_id)
            if job is None or job.per_minute is None or job.rollout_next_at is None:
                return 0
            if store.waiting(session, job_id, SHOWN_MAX) != ahead:
                return 0  # another control plane was here in between
            recent = store.shown_since(session, job_id, now - rollout.WINDOW)
            waiting = store.count_waiting(session, job_id)
            step = rollout.step(job.per_minute, job.rollout_next_at, recent, waiting, now)
            job.rollout_next_at = step.next_at
            shown = self._jobs.show(session, job, ahead[: step.count], now)
        if step.count:
            log.info("job_shown", extra={"job": job_id, "devices": shown, "waiting": waiting - step.count})
        return shown

    def erase(self) -> None:
        """Erase jobs that were deleted."""
        with self._reading() as session:
            jobs = store.deleted(session, ROLLED_MAX)
        left = SWEPT_MAX
        for job in jobs:
            with self._sessions.begin() as session:
                left -= store.erase(session, job, left)
            if left <= 0:
                return

    def tell(self) -> None:
        """Tell of ends that nobody was told of."""
        with self._reading() as session:
            untold = store.untold(session, SWEPT_MAX)
        for each in untold:
            self._jobs.tell(each.device, each.execution)
