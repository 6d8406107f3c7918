"""Jobs for the rest of the control plane: create, cancel, end in time, and tell who waits for the end."""

import logging
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.devices import Device
from cloud.database.models.jobs import Job
from cloud.database.writing import hold, insert
from cloud.errors import MalformedError, RefusedError
from cloud.jobs import core, store
from cloud.jobs.core import Execution
from cloud.jobs.notices import Notices, Publish, after_commit
from cloud.jobs.store import Stored
from contract.jobs import TIMEOUT_MINUTES_MAX, Status

log = logging.getLogger(__name__)

TARGETS_MAX = 10_000
PENDING_MAX = 100
"""Executions that may wait for one device; more are refused until it has worked some off."""
DOCUMENT_BYTES_MAX = 32_768
"""AWS IoT Jobs' bound on a job document."""
TIMEOUT_MAX_S = TIMEOUT_MINUTES_MAX * 60
SWEPT_MAX = 500
"""Executions ended by one sweep; the next takes the rest."""

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

Ended = Callable[[str, str, Status], None]
"""Takes a job's id, a device and how the execution ended; may be called more than once for one end."""


class Jobs:
    """The job engine; one per process. `session` is always the caller's transaction."""

    def __init__(
        self, *, sessions: sessionmaker[Session], publish: Publish, clock: Callable[[], datetime]
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._hooks: list[Ended] = []
        self.notices = Notices(sessions, publish, clock)

    def on_ended(self, hook: Ended) -> None:
        """Call `hook` after each end of an execution that is not tried again.

        It is called after the commit and must be idempotent: after a crash the sweep calls it again.
        """
        self._hooks.append(hook)

    def create(
        self,
        session: Session,
        job_id: str,
        document: dict[str, Any],
        targets: Sequence[str],
        *,
        in_progress_timeout_s: float,
        queued_expiry_s: float,
        retries: int = 0,
        created_by: str = "control-plane",
    ) -> bool:
        """Queue `document` for each device in `targets`; False for a job id that was there already.

        `document` must have the text `operation`, and neither personal data nor secrets.

        Raises:
            RefusedError: a target is not registered or has too much to do already, or the job id stands
                for another document.
            MalformedError: an id, a document or a time out of bounds.
        """
        _check(job_id, document, targets, in_progress_timeout_s, queued_expiry_s, retries)
        devices = sorted(set(targets))
        hold(session, devices)
        if _stands(session, job_id, document):
            return False
        self._admit(session, devices)
        now = self._clock()
        values = {
            "job": job_id,
            "operation": document["operation"],
            "document": document,
            "created_at": now,
            "created_by": created_by,
            "queued_expiry_s": round(queued_expiry_s),
            "in_progress_timeout_s": round(in_progress_timeout_s),
            "retries": retries,
        }
        new = insert(session, Job).values(values).on_conflict_do_nothing(index_elements=["job"])
        if session.scalar(new.returning(Job.id)) is None:  # ordered elsewhere, for other devices, this moment
            return not _stands(session, job_id, document)
        with self.notices.watch(session, devices):
            store.add(session, devices, core.queued(job_id, 0, store.terms_of(Job(**values)), now))
        log.info("job_created", extra={"job": job_id, "targets": len(devices)})
        return True

    def cancel(self, session: Session, job_id: str) -> int:
        """Cancel what has not ended of a job, whatever it is doing; the number of executions that it ended.

        Raises:
            RefusedError: there is no such job.
        """
        job = session.scalar(sa.select(Job).where(Job.job == job_id))
        if job is None:
            raise RefusedError(f"there is no job {job_id}")
        hold(session, store.devices_of(session, job_id))
        now = self._clock()
        job.canceled_at = job.canceled_at or now
        open_ones = [each for each in store.of_job(session, job_id) if each.execution.status in core.PENDING]
        with self.notices.watch(session, [each.device for each in open_ones]):
            for each in open_ones:
                self.write(session, each, core.cancel(each.execution, now))
        return len(open_ones)

    def cancel_waiting(self, session: Session, device: str) -> int:
        """Cancel what `device` has not ended of any job; the number of executions that it ended."""
        hold(session, [device])
        now = self._clock()
        waiting = store.pending(session, device)
        with self.notices.watch(session, [device]):
            for each in waiting:
                self.write(session, each, core.cancel(each.execution, now))
        return len(waiting)

    def write(self, session: Session, stored: Stored, after: Execution) -> None:
        """Store what became of an execution; its retry, and the news of its end, with it."""
        store.save(session, stored.device, after)
        if after.status in core.PENDING:
            return
        following = core.retry(after, 0, after.updated_at)
        if following is not None:
            store.add(session, [stored.device], following)
            store.mark_told(session, stored.device, after)
            return
        after_commit(session, partial(self._tell, stored.device, after))

    def sweep(self, now: datetime) -> int:
        """End what is over time, and tell of ends that nobody was told of; how many were ended."""
        with self._sessions.begin() as session:
            devices = store.devices_due(session, now, SWEPT_MAX)
            hold(session, devices)
            due = store.due(session, devices, now, SWEPT_MAX)
            with self.notices.watch(session, {each.device for each in due}):
                for each in due:
                    self.write(session, each, core.expire(each.execution, now))
        with self._sessions.begin() as session:
            untold = store.untold(session, SWEPT_MAX)
        for each in untold:
            self._tell(each.device, each.execution)
        return len(due)

    def waiting(self, session: Session, device: str) -> list[str]:
        """The jobs that a device has not ended, oldest first."""
        return [stored.execution.job for stored in store.pending(session, device)]

    def status(self, session: Session, job_id: str, device: str) -> Status | None:
        """The state of the latest execution of a job on a device; None where there is none."""
        stored = store.find(session, job_id, device)
        return stored.execution.status if stored else None

    def _tell(self, device: str, ended: Execution) -> None:
        extra = {"job": ended.job, "device": device, "status": ended.status.value}
        log.info("job_ended", extra=extra)
        try:
            for hook in self._hooks:
                hook(ended.job, device, ended.status)
        except Exception:  # one that waits must not stop the others; the sweep tells it again
            log.exception("job_end_not_told", extra=extra)
            return
        with self._sessions.begin() as session:
            store.mark_told(session, device, ended)

    @staticmethod
    def _admit(session: Session, devices: Sequence[str]) -> None:
        rows = sa.select(Device.device).where(Device.device.in_(devices), Device.decommissioned_at.is_(None))
        missing = sorted(set(devices) - set(session.scalars(rows)))
        if missing:
            raise RefusedError(f"{missing[0]} is not a registered device; see the list of devices")
        for device, count in store.count_pending(session, devices).items():
            if count >= PENDING_MAX:
                raise RefusedError(f"{device} has {count} jobs waiting already; cancel some first")


def _stands(session: Session, job_id: str, document: dict[str, Any]) -> bool:
    """Whether there is such a job.

    Raises:
        RefusedError: it stands for another document.
    """
    known = session.scalar(sa.select(Job.document).where(Job.job == job_id))
    if known is not None and known != document:
        raise RefusedError(f"job {job_id} stands for another document; choose a new id")
    return known is not None


def _check(
    job_id: str,
    document: dict[str, Any],
    targets: Sequence[str],
    in_progress_timeout_s: float,
    queued_expiry_s: float,
    retries: int,
) -> None:
    if not _JOB_ID.fullmatch(job_id):
        raise MalformedError(f"{job_id!r:.80} is no job id: 1 to 64 letters, digits, '-' and '_'")
    if not isinstance(document.get("operation"), str):
        raise MalformedError(f"the document of job {job_id} has no operation")
    if len(msgspec.json.encode(document)) > DOCUMENT_BYTES_MAX:
        raise MalformedError(f"the document of job {job_id} is larger than {DOCUMENT_BYTES_MAX} bytes")
    if not 1 <= len(targets) <= TARGETS_MAX:
        raise MalformedError(f"job {job_id} has {len(targets)} targets: 1 to {TARGETS_MAX} are taken")
    for seconds in (in_progress_timeout_s, queued_expiry_s):
        if not 1 <= seconds <= TIMEOUT_MAX_S:
            raise MalformedError(f"job {job_id}: a time is 1 to {TIMEOUT_MAX_S} seconds, not {seconds}")
    if not 0 <= retries <= core.RETRIES_MAX:
        raise MalformedError(f"job {job_id} is retried at most {core.RETRIES_MAX} times")
