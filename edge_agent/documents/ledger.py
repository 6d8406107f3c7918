"""The kiosk's ledger: which papers it has sent to the printer, and which payments it has begun.

It holds ids and states, nothing of what a paper says and nothing of the person. A row is on the disk when a
verb returns (SQLite, WAL, synchronous FULL).
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_agent.documents.printing import UNSETTLED, Record, State
from edge_agent.errors import UnavailableError

BUSY_S = 5.0
ROWS_MAX = 100_000
"""Rows of papers that are kept; the oldest that have ended make place."""


@dataclass(frozen=True)
class Claim:
    """A payment begun for a document and not settled; `authorisation` is empty until it is known."""

    document: str
    authorisation: str = ""


class Ledger(Protocol):
    """What must survive a power cut. Every verb raises UnavailableError when the disk refuses."""

    def read(self, document: str) -> Record | None:
        """The row of this paper."""

    def write(self, record: Record) -> None:
        """Write the row anew; durable when this returns."""

    def unsettled(self) -> list[Record]:
        """Papers that were sent to the printer and whose end is not known, oldest first."""

    def claims(self) -> list[Claim]:
        """Payments that were begun and not settled, oldest first."""

    def claim(self, claim: Claim) -> None:
        """Write down a payment before the terminal is asked, and again when its authorisation is known."""

    def settle(self, document: str) -> None:
        """The payment is the cloud's affair now, or was released; forget it."""

    def close(self) -> None:
        """Let go of the file."""


class MemoryLedger:
    """A ledger for tests: two dictionaries."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.open_claims: dict[str, Claim] = {}

    def read(self, document: str) -> Record | None:
        """The row of this paper."""
        return self.records.get(document)

    def write(self, record: Record) -> None:
        """Write the row anew."""
        self.records[record.document] = record

    def unsettled(self) -> list[Record]:
        """Papers whose end is not known."""
        return [record for record in self.records.values() if record.state in UNSETTLED]

    def claims(self) -> list[Claim]:
        """Payments not settled."""
        return list(self.open_claims.values())

    def claim(self, claim: Claim) -> None:
        """Write down a payment."""
        self.open_claims[claim.document] = claim

    def settle(self, document: str) -> None:
        """Forget a payment."""
        self.open_claims.pop(document, None)

    def close(self) -> None:
        """Nothing to let go of."""


_SCHEMA = """
CREATE TABLE IF NOT EXISTS papers (
    row INTEGER PRIMARY KEY,
    document TEXT NOT NULL UNIQUE,
    job TEXT NOT NULL,
    state TEXT NOT NULL,
    ipp_job_id INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS claims (
    row INTEGER PRIMARY KEY,
    document TEXT NOT NULL UNIQUE,
    authorisation TEXT NOT NULL
) STRICT;
"""
_WRITE = """
INSERT INTO papers (document, job, state, ipp_job_id) VALUES (?, ?, ?, ?)
ON CONFLICT (document) DO UPDATE
SET job = excluded.job, state = excluded.state, ipp_job_id = excluded.ipp_job_id
"""
_CLAIM = """
INSERT INTO claims (document, authorisation) VALUES (?, ?)
ON CONFLICT (document) DO UPDATE SET authorisation = excluded.authorisation
"""
_MAKE_PLACE = """
DELETE FROM papers WHERE state IN ('printed', 'not-printed') AND row <= (SELECT max(row) FROM papers) - ?
"""


class SqliteLedger:
    """The ledger in a file of its own; used from one thread.

    Raises:
        UnavailableError: the file cannot be opened, or is no ledger.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
            self._do(_MAKE_PLACE, ROWS_MAX)
        except (OSError, sqlite3.Error) as error:
            raise UnavailableError(f"ledger {path}: {error}; see to the disk") from error

    def read(self, document: str) -> Record | None:
        """The row of this paper."""
        rows = self._rows("SELECT document, job, state, ipp_job_id FROM papers WHERE document = ?", document)
        return _record(rows[0]) if rows else None

    def write(self, record: Record) -> None:
        """Write the row anew; on the disk when this returns."""
        self._do(_WRITE, record.document, record.job, record.state.value, record.ipp_job_id)

    def unsettled(self) -> list[Record]:
        """Papers whose end is not known, oldest first."""
        marks = ", ".join("?" * len(UNSETTLED))
        return [
            _record(row)
            for row in self._rows(
                f"SELECT document, job, state, ipp_job_id FROM papers WHERE state IN ({marks}) ORDER BY row",  # noqa: S608 question marks only
                *(state.value for state in UNSETTLED),
            )
        ]

    def claims(self) -> list[Claim]:
        """Payments not settled, oldest first."""
        return [Claim(*row) for row in self._rows("SELECT document, authorisation FROM claims ORDER BY row")]

    def claim(self, claim: Claim) -> None:
        """Write down a payment; on the disk when this returns."""
        self._do(_CLAIM, claim.document, claim.authorisation)

    def settle(self, document: str) -> None:
        """Forget a payment."""
        self._do("DELETE FROM claims WHERE document = ?", document)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _do(self, statement: str, *values: object) -> None:
        try:
            self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise UnavailableError(f"ledger {self._path}: {error}; see to the disk") from error

    def _rows(self, statement: str, *values: object) -> list[tuple[str, ...]]:
        try:
            with closing(self._database.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise UnavailableError(f"ledger {self._path}: {error}; see to the disk") from error


def _record(row: tuple[object, ...]) -> Record:
    document, job, state, ipp_job_id = row
    assert isinstance(document, str)
    assert isinstance(job, str)
    assert ipp_job_id is None or isinstance(ipp_job_id, int)
    return Record(document=document, job=job, state=State(str(state)), ipp_job_id=ipp_job_id)
