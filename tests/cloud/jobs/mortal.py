"""A control plane's roll-out in a process of its own, which dies as by a power cut before its n-th statement.

`main(DATABASE, STATEMENT)`, begun by `tests.mortals`: sweeps once a tick of a clock that goes on where the
last process stopped, until the job is rolled out; it then says so and ends with 0. Before the STATEMENT-th
statement to the database (0 for none) it kills itself. What it publishes it prints, a line each.
"""

import os
import signal
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import sessionmaker

from cloud.database.engine import connect
from cloud.database.models.jobs import Job, JobExecution
from cloud.jobs.service import Jobs
from cloud.jobs.sweep import Sweep
from tests.cloud.conftest import START, Clock

JOB = "job-1"
TICK_S = 2.0
TICKS_MAX = 200


def main(database: str, statement: str) -> None:
    engine = connect(database)
    statements = 0

    def count(*_context: object) -> None:
        nonlocal statements
        statements += 1
        if statements == int(statement):
            os.kill(os.getpid(), signal.SIGKILL)

    sessions = sessionmaker(engine, expire_on_commit=False)
    clock = Clock()
    jobs = Jobs(
        sessions=sessions,
        publish=lambda name, ids, _body: print(ids["device"], name, flush=True),
        clock=clock,
    )
    sweep = Sweep(sessions, jobs)
    with sessions() as session:
        last = session.scalar(sa.select(sa.func.max(JobExecution.queued_at)))
    clock.at = (last or START) + timedelta(seconds=TICK_S)
    event.listen(engine, "before_cursor_execute", count)
    event.listen(engine, "commit", count)
    for _ in range(TICKS_MAX):
        sweep(clock.at)
        with sessions() as session:
            if session.scalars(sa.select(Job.rollout_next_at).where(Job.job == JOB)).one() is None:
                print("rolled out", statements, flush=True)
                return
        clock.forward(TICK_S)
