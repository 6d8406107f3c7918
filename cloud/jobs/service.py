"""Jobs for the rest of the control plane: create, cancel, delete; and the row of a job through its life."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from contract.jobs import JOB, PER_MINUTE_MAX, RETRIES_MAX, TIMEOUT_MINUTES_MAX, JobState, Status

log = logging.getLogger(__name__)

TARGETS_MAX = 10_000
PENDING_MAX = 100
"""Executions that may wait for one device; more are refused until it has worked some off."""
DOCUMENT_BYTES_MAX = 32_768
"""AWS IoT Jobs' bound on a job document."""
TIMEOUT_MAX_S = TIMEOUT_MINUTES_MAX * 60

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
        per_minute: int | None = None,
        wish: Mapping[str, Any] | None = None,
    ) -> bool:
        """Queue `document` for each device in `targets`; False for a job id that was there already.

        With `per_minute` the sweep shows it to so many devices a minute, else all see it at once.
        `document` must have the text `operation`, and neither personal data nor secrets; `wish` is kept with
        the job, as JSON.

        Raises:
            RefusedError: a target is not registered or has too much to do already, or the job id stands
                for another document.
            MalformedError: an id, a document, a time or the rate out of bounds.
        """
        _check(job_id, document, targets, in_progress_timeout_s, queued_expiry_s, retries, per_minute)
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
            "state": JOB.initial if per_minute else JOB.apply(JOB.initial, "begin"),
            "targets": len(devices),
            "wish": dict(wish or {}),
            "per_minute": per_minute,
            "rollout_next_at": now if per_minute else None,
        }
        new = insert(session, Job).values(values).on_conflict_do_nothing(index_elements=["job"])
        if session.scalar(new.returning(Job.id)) is None:  # ordered elsewhere, for other devices, this moment
            return not _stands(session, job_id, document)
        log.info("job_created", extra={"job": job_id, "targets": len(devices), "per_minute": per_minute})
        if per_minute:
            store.wait(session, job_id, devices)
            return True
        with self.notices.watch(session, devices):
            store.add(session, devices, core.queued(job_id, 0, store.terms_of(Job(**values)), now))
        return True

    def cancel(self, session: Session, job_id: str, *, force: bool = False) -> int:
        """Cancel what nobody has begun of a job, with `force` also what devices work on; how many it ended.

        What goes on is never tried again. A job that has ended stays as it is.

        Raises:
            RefusedError: there is no such job.
        """
        job = self._held(session, job_id)
        now = self._clock()
        if JOB.allows(job.state, "cancel"):
            job.state = JOB.apply(job.state, "cancel")
            job.canceled_at = now
        never = self._never_shown(session, job, "cancel", now)
        open_ones = [each for each in store.of_job(session, job_id) if each.execution.status in core.PENDING]
        ended = 0
        with self.notices.watch(session, [each.device for each in open_ones]):
            for each in open_ones:
                after = core.cancel(each.execution, now, force=force)
                self.write(session, each, after)
                ended += after.status not in core.PENDING
        return never + ended

    def remove(self, session: Session, device: str) -> int:
        """End whatever a device had to do, because it has left the fleet; how many executions."""
        hold(session, [device])
        now = self._clock()
        waiting = store.jobs_waiting_for(session, device)
        for job_id in waiting:
            job = store.held(session, job_id)
            if job is not None:
                self._end_unseen(session, job, [device], "remove", now)
        pending = sorted(store.pending(session, device), key=lambda each: each.execution.job)
        with self.notices.watch(session, [device]):
            for each in pending:
                self.write(session, each, core.remove(each.execution, now))
        return len(waiting) + len(pending)

    def delete(self, session: Session, job_id: str) -> None:
        """Let a job that has ended be erased, by the sweep.

        Raises:
            RefusedError: there is no such job, or a device has not ended it.
        """
        job = self._held(session, job_id)
        if job.state == JobState.DELETION_IN_PROGRESS:
            return
        if not JOB.allows(job.state, "delete"):
            raise RefusedError(f"job {job_id} has not ended; cancel it first")
        if store.is_pending(session, job_id):
            raise RefusedError(
                f"a device still works on job {job_id}; wait for its end, or cancel with force"
            )
        job.state = JOB.apply(job.state, "delete")
        log.info("job_deleted", extra={"job": job_id})

    def write(self, session: Session, stored: Stored, after: Execution) -> None:
        """Store what became of an execution; its retry, the end of its job, and the news of it, with it."""
        store.save(session, stored.device, after)
        if after.status in core.PENDING:
            return
        following = core.retry(after, 0, after.updated_at)
        if following is not None:
            store.add(session, [stored.device], following)
            store.mark_told(session, stored.device, after)
            return
        self.complete(session, after.job)
        after_commit(session, partial(self.tell, stored.device, after))

    def complete(self, session: Session, job_id: str) -> None:
        """Let a job end if no device has anything of it to do any more."""
        job = store.held(session, job_id)
        if job is not None and JOB.allows(job.state, "complete") and not store.is_pending(session, job_id):
            job.state = JOB.apply(job.state, "complete")
            job.rollout_next_at = None
            session.flush()
            log.info("job_completed", extra={"job": job_id})

    def show(self, session: Session, job: Job, devices: Iterable[str], now: datetime) -> int:
        """Let devices that waited for a held job see it, but for those that have left; how many see it."""
        chosen = list(devices)
        gone = store.gone(session, chosen)
        seen = [device for device in chosen if device not in gone]
        store.wait_no_more(session, job.job, seen)
        if JOB.allows(job.state, "begin") and seen:
            job.state = JOB.apply(job.state, "begin")
        if seen:
            with self.notices.watch(session, seen):
                store.add(session, seen, core.queued(job.job, 0, store.terms_of(job), now))
        if gone:
            self._end_unseen(session, job, sorted(gone), "remove", now)
        return len(seen)

    def waiting(self, session: Session, device: str) -> list[str]:
        """The jobs that a device has not ended, oldest first."""
        return [stored.execution.job for stored in store.pending(session, device)]

    def status(self, session: Session, job_id: str, device: str) -> Status | None:
        """The state of the latest execution of a job on a device; None where there is none."""
        stored = store.find(session, job_id, device)
        return stored.execution.status if stored else None

    def tell(self, device: str, ended: Execution) -> None:
        """Tell those who wait of an end, and write down that they know it."""
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

    def _held(self, session: Session, job_id: str) -> Job:
        hold(session, store.devices_of(session, job_id))
        job = store.held(session, job_id)
        if job is None:
            raise RefusedError(f"there is no job {job_id}")
        return job

    def _never_shown(self, session: Session, job: Job, event: str, now: datetime) -> int:
        waiting = store.waiting(session, job.job)
        self._end_unseen(session, job, waiting, event, now)
        return len(waiting)

    def _end_unseen(
        self, session: Session, job: Job, devices: Sequence[str], event: str, now: datetime
    ) -> None:
        """End a held job on devices that waited for it and never saw it; the sweep tells of it."""
        if devices:
            unseen = core.queued(job.job, 0, store.terms_of(job), now)
            ended = core.cancel(unseen, now, force=True) if event == "cancel" else core.remove(unseen, now)
            store.add(session, devices, ended)
            store.wait_no_more(session, job.job, devices)
        if not store.count_waiting(session, job.job):
            job.rollout_next_at = None
        session.flush()
        self.complete(session, job.job)

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
    per_minute: int | None,
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
    if not 0 <= retries <= RETRIES_MAX:
        raise MalformedError(f"job {job_id} is retried 0 to {RETRIES_MAX} times, not {retries}")
    if per_minute is not None and not 1 <= per_minute <= PER_MINUTE_MAX:
        raise MalformedError(
            f"job {job_id}: 1 to {PER_MINUTE_MAX} devices a minute are taken, not {per_minute}"
        )
