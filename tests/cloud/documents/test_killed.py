"""The control plane is killed at each step of a paper: one paper, one job, one payment."""

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.engine import connect
from cloud.database.models.documents import Document, DocumentChange, DocumentSerial
from cloud.database.models.jobs import Job
from cloud.documents.contents import Contents, Part, load_key
from simulators.services.payments import payments_app
from simulators.services.registries import registries_app
from tests.cloud.documents.desk import CITY
from tests.cloud.documents.mortal import DOCUMENT, POINTS
from tests.ports.serving import served

ROOT = Path(__file__).parents[3]
LIVE_S = 60


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with served(registries_app(CITY)) as url:
        yield url


@pytest.fixture
def payments() -> Iterator[str]:
    with served(payments_app()) as url:
        yield url


def live(folder: Path, registry: str, payments: str, point: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.cloud.documents.mortal", str(folder), registry, payments, point],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIVE_S,
    )


@pytest.mark.parametrize("point", POINTS)
def test_killed_once_and_restarted(point: str, tmp_path: Path, registry: str, payments: str) -> None:
    first = live(tmp_path, registry, payments, point)
    assert first.returncode == -signal.SIGKILL, f"{point} was never reached: {first.stderr[-2000:]}"
    second = live(tmp_path, registry, payments, "-")
    assert second.returncode == 0, second.stderr[-2000:]
    statement = httpx.get(f"{payments}/statement").json()
    assert statement["captured_references"] == [DOCUMENT]
    assert statement["states"] == {"captured": {"count": 1, "amount_cents": 400}}
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    with Session(engine) as session:
        row = session.get(Document, DOCUMENT)
        assert row is not None
        (job,) = session.scalars(sa.select(Job))
        (serial,) = session.scalars(sa.select(DocumentSerial))
        pdf = Contents(load_key(tmp_path), timedelta(days=1)).get(session, DOCUMENT, Part.SEALED)
        path = list(session.scalars(sa.select(DocumentChange.state).order_by(DocumentChange.number)))
    engine.dispose()
    assert pdf is not None
    assert hashlib.sha256(pdf).hexdigest() == row.sha256 == job.document["sha256"]
    assert serial.last == 1
    assert len(path) == len(set(path)), f"a state was entered twice: {path}"
    assert path[-1] == "closed"
    _nothing_personal_in_workflows(tmp_path)


def _nothing_personal_in_workflows(folder: Path) -> None:
    """What DBOS has stored carries ids only."""
    database = sqlite3.connect(folder / "fleet.db")
    stored = json.dumps(
        [
            database.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("workflow_status", "operation_outputs", "notifications")
        ],
        default=str,
    )
    database.close()
    assert DOCUMENT in stored
    person = next(iter(CITY.persons.values()))
    for secret in (person.surname, person.given_names, person.personal_number, person.person):
        assert secret not in stored
