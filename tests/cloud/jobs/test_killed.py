"""The control plane is killed in a roll-out, wherever: the rate holds, and no device is left out."""

import random
import signal

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.devices import Device
from cloud.database.models.jobs import Job, JobExecution, JobWaiting
from cloud.jobs.rollout import WINDOW
from cloud.jobs.service import Jobs
from tests.cloud.conftest import START, Clock
from tests.cloud.jobs import mortal
from tests.cloud.jobs.mortal import JOB
from tests.mortals import live

DEVICES = [f"kiosk-{number:02}" for number in range(40)]
RATE = 120
KILLS = 3
RUN_S = 120.0


def run(url: str, statement: int) -> tuple[int, str]:
    done = live(mortal.main, url, str(statement), timeout_s=RUN_S)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, done.stdout


def order(sessions: sessionmaker[Session]) -> None:
    jobs = Jobs(sessions=sessions, publish=lambda *_: None, clock=Clock())
    with sessions.begin() as session:
        session.add_all(Device(device=each, kind="kiosk", site="x", registered_at=START) for each in DEVICES)
    with sessions.begin() as session:
        document = {"operation": "restart-agent"}
        terms = {"in_progress_timeout_s": 600.0, "queued_expiry_s": 86_400.0}
        jobs.create(session, JOB, document, DEVICES, per_minute=RATE, **terms)


@pytest.mark.parametrize("seed", [1])
def test_a_roll_out_goes_on_where_it_was_killed(
    sessions: sessionmaker[Session], database_url: str, seed: int
) -> None:
    roll_out_with_kills(sessions, database_url, seed, KILLS)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_a_roll_out_goes_on_wherever_it_was_killed(
    sessions: sessionmaker[Session], database_url: str, seed: int
) -> None:
    roll_out_with_kills(sessions, database_url, seed, 3 * KILLS)


def roll_out_with_kills(sessions: sessionmaker[Session], url: str, seed: int, kills: int) -> None:
    order(sessions)
    rng = random.Random(seed)
    killed = 0
    for _ in range(kills):
        code, _ = run(url, rng.randint(3, 60))
        killed += code == -signal.SIGKILL
    assert killed >= kills / 2
    code, said = run(url, 0)
    assert code == 0
    assert "rolled out" in said
    with sessions() as session:
        rows = session.scalars(sa.select(JobExecution)).all()
        job = session.scalars(sa.select(Job)).one()
        waiting = session.scalar(sa.select(sa.func.count()).select_from(JobWaiting))
    assert sorted(row.device for row in rows) == DEVICES, "each device once"
    assert {(row.number, row.status) for row in rows} == {(1, "QUEUED")}
    assert (waiting, job.state) == (0, "IN_PROGRESS")
    for begin in {row.queued_at for row in rows}:
        assert sum(begin <= row.queued_at < begin + WINDOW for row in rows) <= RATE
    for at in {row.queued_at for row in rows}:
        assert sum(row.queued_at == at for row in rows) <= RATE * 5 / 60 + 1, "no burst after a restart"
