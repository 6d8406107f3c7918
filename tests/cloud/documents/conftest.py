"""A control plane's documents that run, and one of which only the counter is used."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.cloud.conftest import Clock
from tests.cloud.documents.desk import Desk


@pytest.fixture
def desk(sessions: sessionmaker[Session], clock: Clock, tmp_path: Path) -> Iterator[Desk]:
    """With workflows that run."""
    with Desk(sessions, clock, str(tmp_path)).open() as desk:
        yield desk
