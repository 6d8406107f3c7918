"""The control plane is killed at each step of a paper: one paper, one job, one payment."""

import hashlib
import json
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.documents import Document, DocumentChange, DocumentSerial
from cloud.database.models.jobs import Job
from cloud.documents.contents import Contents, Part, load_key
from simulators.services.payments import payments_app
from simulators.services.registries import registries_app
from tests.cloud.documents import mortal
from tests.cloud.documents.desk import CITY
from tests.cloud.documents.mortal import DOCUMENT, POINTS
from tests.mortals import live
from tests.ports.serving import served

ON_POSTGRESQL = ("seal after", "offer after", "capture after")
"""The rest of the points is played there by `make long`."""
CASES = [
    *(("sqlite", point) for point in POINTS),
    *(
        pytest.param("postgresql", point, marks=() if point in ON_POSTGRESQL else pytest.mark.long)
        for point in POINTS
    ),
]


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with served(registries_app(CITY)) as url:
        yield url


@pytest.fixture
def payments() -> Iterator[str]:
    with served(payments_app()) as url:
        yield url


@pytest.mark.parametrize(("database_url", "point"), CASES, indirect=["database_url"])
def test_killed_once_and_restarted(
    point: str, tmp_path: Path, database_url: str, engine: sa.Engine, registry: str, payments: str
) -> None:
    given = (str(tmp_path), database_url, registry, payments)
    first = live(mortal.main, *given, point)
    assert first.returncode == -signal.SIGKILL, f"{point} was never reached: {first.stderr[-2000:]}"
    second = live(mortal.main, *given, "-")
    assert second.returncode == 0, second.stderr[-2000:]
    statement = httpx.get(f"{payments}/statement").json()
    assert statement["captured_references"] == [DOCUMENT]
    assert statement["states"] == {"captured": {"count": 1, "amount_cents": 400}}
    with Session(engine) as session:
        row = session.get(Document, DOCUMENT)
        assert row is not None
        (job,) = session.scalars(sa.select(Job))
        (serial,) = session.scalars(sa.select(DocumentSerial))
        pdf = Contents(load_key(tmp_path), timedelta(days=1)).get(session, DOCUMENT, Part.SEALED)
        path = list(session.scalars(sa.select(DocumentChange.state).order_by(DocumentChange.number)))
    assert pdf is not None
    assert hashlib.sha256(pdf).hexdigest() == row.sha256 == job.document["sha256"]
    assert serial.last == 1
    assert len(path) == len(set(path)), f"a state was entered twice: {path}"
    assert path[-1] == "closed"
    _nothing_personal_in_workflows(engine)


def _nothing_personal_in_workflows(engine: sa.Engine) -> None:
    """What DBOS has stored carries ids only."""
    schema = "dbos." if engine.dialect.name == "postgresql" else ""
    with engine.connect() as connection:
        stored = json.dumps(
            [
                [list(row) for row in connection.execute(sa.text(f"SELECT * FROM {schema}{table}"))]
                for table in ("workflow_status", "operation_outputs", "notifications")
            ],
            default=str,
        )
    assert DOCUMENT in stored
    person = next(iter(CITY.persons.values()))
    for secret in (person.surname, person.given_names, person.personal_number, person.person):
        assert secret not in stored
