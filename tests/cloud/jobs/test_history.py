"""Whatever operators, devices, time and killed control planes do to jobs, in any order: the rules hold.

The real engine on a real database; a second book is kept of what each device was told.
"""

import tempfile
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy.orm import sessionmaker

from cloud.broker import Received
from cloud.database.engine import connect
from cloud.database.models.devices import Device
from cloud.database.models.jobs import Job, JobExecution, JobWaiting
from cloud.jobs.core import PENDING
from cloud.jobs.requests import Requests
from cloud.jobs.rollout import WINDOW
from cloud.jobs.service import Jobs
from cloud.jobs.sweep import Sweep
from contract.jobs import JOB, JobState, Status
from tests.cloud.conftest import START, Clock, migrated

DEVICES = [f"kiosk-{number:02}" for number in range(5)]
PENDING_STATES = [status.value for status in PENDING]
REPORTS = ("FAILED", "FAILED", "SUCCEEDED", "REJECTED")
IN_PROGRESS_S, QUEUED_S = 60, 90
devices = st.sampled_from(DEVICES)


class History(RuleBasedStateMachine):
    """One fleet of five; jobs are numbered. Whatever is chosen is chosen from what there is."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.engine = connect(migrated(Path(self.folder.name) / "fleet.db"))
        self.sessions = sessionmaker(self.engine, expire_on_commit=False)
        self.clock = Clock()
        self.jobs: list[str] = []
        self.retries: dict[str, int] = {}
        self.rate: dict[str, int | None] = {}
        self.canceled: dict[str, datetime] = {}
        self.seen: dict[tuple[str, str, int], datetime] = {}
        """What `start-next` handed out, and when first: by job, device and try."""
        self.ends: Counter[tuple[str, str]] = Counter()
        self.gone: set[str] = set()

    @initialize()
    def begin(self) -> None:
        with self.sessions.begin() as session:
            session.add_all(
                Device(device=each, kind="kiosk", site="x", registered_at=START) for each in DEVICES
            )
        self.start_control_plane()

    def start_control_plane(self) -> None:
        self.service = Jobs(sessions=self.sessions, publish=lambda *_: None, clock=self.clock)
        self.service.on_ended(lambda job, device, _status: self.ends.update([(job, device)]))
        self.answers: list[tuple[str, Any]] = []
        self.requests = Requests(
            self.service, lambda name, _ids, body: self.answers.append((name, msgspec.json.decode(body)))
        )
        self.sweep = Sweep(self.sessions, self.service)

    # --- what happens ---

    @precondition(lambda self: len(self.jobs) < 3)
    @rule(
        chosen=st.sets(devices, min_size=2),
        rate=st.sampled_from([None, 1, 2, 3]),
        retries=st.integers(0, 2),
    )
    def order(self, chosen: set[str], rate: int | None, retries: int) -> None:
        chosen = chosen - self.gone
        if not chosen:
            return
        job = f"job-{len(self.jobs)}"
        with self.sessions.begin() as session:
            assert self.service.create(
                session,
                job,
                {"operation": "restart-agent"},
                sorted(chosen),
                in_progress_timeout_s=IN_PROGRESS_S,
                queued_expiry_s=QUEUED_S,
                retries=retries,
                per_minute=rate,
            )
        self.jobs.append(job)
        self.rate[job], self.retries[job] = rate, retries

    @rule(seconds=st.sampled_from([0.5, 2, 2, 2, 7, 31, 60, 200]))
    def time_passes_and_the_sweep_comes(self, seconds: float) -> None:
        self.clock.forward(seconds)
        self.sweep(self.clock.at)

    @rule(seconds=st.sampled_from([0, 20, 300]))
    def the_control_plane_is_away_and_starts_anew(self, seconds: float) -> None:
        self.clock.forward(seconds)
        self.start_control_plane()

    def ask(self, device: str, name: str, body: dict[str, Any], job: str = "") -> list[tuple[str, Any]]:
        self.answers.clear()
        ids = {"device": device} | ({"job": job} if job else {})
        handler = self.requests.start_next if name == "job-start-next" else self.requests.update
        with self.sessions.begin() as session:
            message = Received(device, ids, msgspec.json.encode(body), None, self.clock.at, session)
            handler(message)
        return [answer for answer in self.answers if answer[0].startswith(name)]

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), patience_s=st.sampled_from([0, 0, 95]))
    def devices_ask_for_work(self, data: st.DataObject, patience_s: float) -> None:
        """Sometimes so late that what waited is over, and no sweep has come by."""
        asking = data.draw(st.lists(st.sampled_from(self.busy()), min_size=1, max_size=5))
        self.clock.forward(patience_s)
        for device in asking:
            self.ask_for_work(device)

    def ask_for_work(self, device: str) -> None:
        ((_, body),) = self.ask(device, "job-start-next", {})
        execution = body.get("execution")
        if execution is None:
            return
        key = execution["jobId"], device, execution.get("executionNumber", 1)
        if key not in self.seen:
            since = self.queued_at(*key)
            assert self.clock.at < since + timedelta(seconds=QUEUED_S), "an expired command was begun"
            assert key[0] not in self.canceled, "something began after the cancel"
            self.seen[key] = self.clock.at

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), statuses=st.lists(st.sampled_from(REPORTS), min_size=1, max_size=5))
    def devices_report(self, data: st.DataObject, statuses: list[str]) -> None:
        for status in statuses:
            job, device, number = data.draw(st.sampled_from(list(self.seen)))
            self.ask(device, "job-update", {"status": status, "executionNumber": number}, job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), force=st.booleans())
    def an_operator_cancels(self, data: st.DataObject, force: bool) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        with self.sessions.begin() as session:
            self.service.cancel(session, job, force=force)
        with self.sessions() as session:
            if session.scalar(sa.select(Job.state).where(Job.job == job)) == JobState.CANCELED:
                self.canceled.setdefault(job, self.clock.at)

    @precondition(lambda self: len(self.gone) < 2 and len(self.jobs) > 1)
    @rule(device=devices)
    def a_device_leaves(self, device: str) -> None:
        self.gone.add(device)
        with self.sessions.begin() as session:
            session.get_one(Device, device).decommissioned_at = self.clock.at

    # --- what holds ---

    def busy(self) -> list[str]:
        """The devices that have something to do."""
        with self.sessions() as session:
            rows = sa.select(JobExecution.device).where(JobExecution.status.in_(PENDING_STATES)).distinct()
            return sorted(session.scalars(rows))

    def queued_at(self, job: str, device: str, number: int) -> datetime:
        with self.sessions() as session:
            rows = sa.select(JobExecution.queued_at).where(
                JobExecution.job == job, JobExecution.device == device, JobExecution.number == number
            )
            return session.scalars(rows).one()

    def executions(self, job: str) -> list[JobExecution]:
        with self.sessions() as session:
            rows = sa.select(JobExecution).where(JobExecution.job == job).order_by(JobExecution.id)
            return list(session.scalars(rows))

    @invariant()
    def no_minute_shows_a_job_to_more_devices_than_its_rate(self) -> None:
        for job in self.jobs:
            rate = self.rate[job]
            if rate is None:
                continue
            first = [row for row in self.executions(job) if row.number == 1 and _visible(row)]
            moments = [row.queued_at for row in first]
            for begin in moments:
                assert sum(begin <= each < begin + WINDOW for each in moments) <= rate

    @invariant()
    def each_target_has_exactly_one_execution_for_each_try(self) -> None:
        for job in self.jobs:
            rows = self.executions(job)
            assert max(Counter((row.device, row.number) for row in rows).values(), default=1) == 1
            with self.sessions() as session:
                targets = session.scalars(sa.select(Job.targets).where(Job.job == job)).one()
                waiting = set(session.scalars(sa.select(JobWaiting.device).where(JobWaiting.job == job)))
            begun = {row.device for row in rows}
            assert not waiting & begun
            assert len(waiting) + len(begun) == targets
            for device in begun:
                tries = [row for row in rows if row.device == device]
                assert [row.number for row in tries] == list(range(1, len(tries) + 1))
                assert len(tries) <= self.retries[job] + 1
                assert all(row.status in ("FAILED", "TIMED_OUT") for row in tries[:-1])

    @invariant()
    def nothing_is_queued_after_a_cancel(self) -> None:
        for job, at in self.canceled.items():
            for row in self.executions(job):
                assert row.status != "QUEUED"
                assert row.queued_at <= at

    @invariant()
    def a_job_stands_where_its_executions_stand(self) -> None:
        for job in self.jobs:
            with self.sessions() as session:
                row = session.scalars(sa.select(Job).where(Job.job == job)).one()
                waits = session.scalar(sa.select(sa.func.count()).where(JobWaiting.job == job))
            pending = any(each.status in PENDING_STATES for each in self.executions(job))
            assert row.state in JOB.states
            if row.state == JobState.SCHEDULED:
                assert waits
                assert not any(_visible(each) for each in self.executions(job))
            if row.state == JobState.IN_PROGRESS:
                assert pending or waits
            if row.state == JobState.COMPLETED:
                assert not pending
                assert not waits
            assert (row.rollout_next_at is not None) == bool(waits)

    @invariant()
    def nobody_is_told_of_an_end_twice(self) -> None:
        assert all(count == 1 for count in self.ends.values())

    def teardown(self) -> None:
        """Hours later everything has ended, and whoever waits knows."""
        try:
            for _ in range(60):
                self.clock.forward(61)
                self.sweep(self.clock.at)
            for job in self.jobs:
                rows = self.executions(job)
                assert all(row.status not in PENDING_STATES and row.told for row in rows)
                assert {device for done, device in self.ends if done == job} == {row.device for row in rows}
        finally:
            self.engine.dispose()
            self.folder.cleanup()


def _visible(row: JobExecution) -> bool:
    """Whether its device could see it: one that was cancelled or removed before its turn never was."""
    unseen = row.status in (Status.CANCELED, Status.REMOVED) and row.queued_at == row.updated_at
    return not unseen


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)


@pytest.mark.long
class TestLongHistory(History.TestCase):  # type: ignore[misc] # hypothesis makes the class
    """The same, for longer."""

    settings = settings(max_examples=400, stateful_step_count=60, deadline=None)
