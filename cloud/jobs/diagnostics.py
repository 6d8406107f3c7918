"""Bundles of diagnostics that devices hand in: bytes in the objects folder, what they are in the database."""

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.jobs import Diagnostics
from cloud.database.writing import hold
from cloud.errors import MalformedError
from cloud.files import write_durably

log = logging.getLogger(__name__)

BYTES_MAX = 262_144
"""Largest bundle."""
KEPT_MAX = 20
"""Bundles kept of each device; the oldest goes first."""
KEY_LENGTH_MAX = 64


class _Bundle(msgspec.Struct):
    job: str = ""


class Bundles:
    """The store of bundles in `folder`; `new_id` makes a UUIDv7."""

    def __init__(
        self,
        folder: Path,
        sessions: sessionmaker[Session],
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._folder = folder
        self._sessions = sessions
        self._clock = clock
        self._new_id = new_id

    def receive(self, device: str, data: bytes) -> str:
        """Keep a bundle and give its id. Of one job on one device the last bundle stays, under one id.

        Raises:
            MalformedError: it is no JSON object, or too large.
        """
        key = _key(data)
        now = self._clock()
        digest = hashlib.sha256(data).hexdigest()
        with self._sessions.begin() as session:
            hold(session, [device])
            row = session.scalar(
                sa.select(Diagnostics).where(Diagnostics.device == device, Diagnostics.key == key)
            )
            if row is None:
                row = Diagnostics(id=self._new_id(), device=device, key=key)
                session.add(row)
            row.size, row.sha256, row.received_at = len(data), digest, now
            self._write(row.id, data)
            session.flush()
            forgotten = self._forget(session, device)
            kept = row.id
        for old in forgotten:
            self.path(old).unlink(missing_ok=True)
        log.info("diagnostics_received", extra={"device": device, "bundle": kept, "size": len(data)})
        return kept

    def path(self, bundle: str) -> Path:
        """Where the bytes of `bundle` (an id of ours) are."""
        return self._folder / f"{bundle}.json"

    def _write(self, bundle: str, data: bytes) -> None:
        """Whole or not at all, and on the disk before the database says so."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(self.path(bundle), data)

    @staticmethod
    def _forget(session: Session, device: str) -> list[str]:
        newest = sa.select(Diagnostics).where(Diagnostics.device == device)
        old = session.scalars(
            newest.order_by(Diagnostics.received_at.desc(), Diagnostics.id.desc()).offset(KEPT_MAX)
        ).all()
        for row in old:
            session.delete(row)
        return [row.id for row in old]


def of_device(session: Session, device: str) -> list[Diagnostics]:
    """The bundles of `device`, newest first."""
    rows = sa.select(Diagnostics).where(Diagnostics.device == device)
    return list(session.scalars(rows.order_by(Diagnostics.received_at.desc(), Diagnostics.id.desc())))


def _key(data: bytes) -> str:
    if len(data) > BYTES_MAX:
        raise MalformedError(f"the bundle has {len(data)} bytes; at most {BYTES_MAX} are taken")
    try:
        bundle = msgspec.json.decode(data, type=_Bundle)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"the bundle is no JSON object with a job: {error}") from error
    return bundle.job[:KEY_LENGTH_MAX] or hashlib.sha256(data).hexdigest()
