"""A published repository, three devices, and the updates of one control plane with its real jobs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Received
from cloud.database.models.devices import Device
from cloud.devices import groups
from cloud.jobs import store
from cloud.jobs.service import Jobs
from cloud.updates.catalogue import Catalogue
from cloud.updates.service import Tools, Updates
from contract.messages import AT_MIN_MS, Envelope, Lane
from contract.updates import UpdateNews
from firmware_tools.repository import Repository, make_keys
from tests.cloud.conftest import START, Clock

AGENT, OLDER, BOARD = "agent/agent-0.10.0.zip", "agent/agent-0.9.0.zip", "firmware/io-1.3.0.bin"
DEVICES = {"kiosk-01": "kiosk", "kiosk-02": "kiosk", "hall-01": "recorder"}


@dataclass
class Plane:
    """The updates, and what they are made of."""

    updates: Updates
    jobs: Jobs
    catalogue: Catalogue
    repository: Path
    sessions: sessionmaker[Session]
    clock: Clock
    after: list[Callable[[], None]] = field(default_factory=list)

    def news(self, update: str, device: str, **said: Any) -> None:
        """A device tells where an update stands."""
        told = {"component": "agent", "version": "0.10.0", "revision": 1, "state": "downloading"} | said
        body = msgspec.convert({"update": update} | told, UpdateNews)
        envelope = Envelope(
            boot="b",
            lane=Lane.EVENTS,
            seq=1,
            at=AT_MIN_MS,
            sent=AT_MIN_MS,
            body=msgspec.Raw(msgspec.json.encode(body)),
        )
        with self.sessions.begin() as session:
            ids = {"device": device, "update": said.get("topic", update)}
            self.updates.on_news(Received(device, ids, b"", envelope, self.clock.at, session))


@pytest.fixture
def plane(sessions: sessionmaker[Session], clock: Clock, tmp_path: Path) -> Plane:
    return control_plane(sessions, clock, tmp_path)


def control_plane(sessions: sessionmaker[Session], clock: Clock, folder: Path) -> Plane:
    """One with its keys and its repository in `folder`."""
    make_keys(folder / "keys")
    repository = Repository(folder / "repository", folder / "keys", clock.at)
    repository.create()
    for path, version in ((OLDER, "0.9.0"), (AGENT, "0.10.0"), (BOARD, "1.3.0")):
        (folder / "file").write_bytes(path.encode() * 100)
        repository.add(path, folder / "file", version)
    repository.publish()
    catalogue = Catalogue(folder / "repository", folder / "keys" / "timestamp-1.pem")
    jobs = Jobs(sessions=sessions, publish=lambda *_: None, clock=clock)

    def create(
        session: Session, job: str, document: msgspec.Struct, devices: Any, per_minute: int | None
    ) -> None:
        told = msgspec.to_builtins(document)
        jobs.create(
            session,
            job,
            told,
            devices,
            in_progress_timeout_s=60,
            queued_expiry_s=600,
            per_minute=per_minute,
        )

    def details(job: str, device: str) -> dict[str, str]:
        with sessions() as session:
            found = store.find(session, job, device)
        return found.execution.details if found is not None else {}

    updates = Updates(
        Tools(
            sessions,
            catalogue,
            create,
            partial(jobs.cancel, force=True),
            details,
            clock,
            groups.names,
            groups.members,
        )
    )
    jobs.on_ended(updates.on_job_ended)
    with sessions.begin() as session:
        for device, kind in DEVICES.items():
            session.add(
                Device(device=device, kind=kind, site="x", registered_at=datetime(2026, 1, 1, tzinfo=UTC))
            )
    assert clock.at == START
    return Plane(updates, jobs, catalogue, folder / "repository", sessions, clock)
