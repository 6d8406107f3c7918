"""Both databases of the ledger, and devices that are in the registry."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.devices import Device
from cloud.link.books import Books
from cloud.telemetry.ledger import Ledger
from tests.cloud.conftest import Clock

Register = Callable[..., None]


@pytest.fixture
def telemetry(tmp_path: Path) -> Iterator[Ledger]:
    """The telemetry database, as the ingest writes it."""
    ledger = Ledger(tmp_path / "telemetry.db")
    yield ledger
    ledger.close()


@pytest.fixture
def books(sessions: sessionmaker[Session], telemetry: Ledger, clock: Clock) -> Books:
    """Both databases, read together."""
    return Books(sessions, telemetry.sessions, clock)


@pytest.fixture
def register(sessions: sessionmaker[Session], clock: Clock) -> Register:
    """`register("kiosk-01", …)`: they are in the registry, and connected."""

    def add(*devices: str, site: str = "Prishtina", presence: str = "online") -> None:
        with sessions.begin() as session:
            for device in devices:
                session.add(
                    Device(device=device, kind="kiosk", site=site, registered_at=clock.at, presence=presence)
                )

    return add
