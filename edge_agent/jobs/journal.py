"""Executions on the disk: what was begun, how it ended, and whether the cloud knows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol, cast

import msgspec

from contract.jobs import Execution, Status
from edge_agent.jobs.core import SETTLED_KEPT, Entry, Key, key
from edge_agent.link.journal import open_database, transaction
from edge_agent.ports import Outcome

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE executions (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    job       TEXT NOT NULL,
    execution INTEGER NOT NULL,
    handed    BLOB NOT NULL,
    attempts  INTEGER NOT NULL,
    status    TEXT,
    details   BLOB,
    settled   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (job, execution)
);
"""


class Journal(Protocol):
    """Where executions are written down; one caller at a time, durable when a call returns.

    Each write raises UnavailableError when the disk is full; nothing was changed then.
    """

    def entries(self) -> list[Entry]:
        """All of them, in the order of their beginning."""

    def begin(self, execution: Execution) -> None:
        """A new execution begins."""

    def attempt(self, which: Key, attempts: int) -> None:
        """It was begun and resumed so often."""

    def conclude(self, which: Key, outcome: Outcome) -> None:
        """It ended, and the cloud is to hear how: also where an older outcome had been settled.

        A full disk can lose an outcome and keep its settling; after a restart the job then ends anew.
        """

    def settle(self, which: Key) -> None:
        """The cloud knows; only the last `SETTLED_KEPT` of these are remembered."""

    def close(self) -> None:
        """Give the disk back."""


class MemoryJournal:
    """The journal for tests: survives the agent, not the process."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}

    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def begin(self, execution: Execution) -> None:
        assert key(execution) not in self._entries
        self._entries[key(execution)] = Entry(execution, 1, None, settled=False)

    def attempt(self, which: Key, attempts: int) -> None:
        self._change(which, lambda entry: replace(entry, attempts=attempts))

    def conclude(self, which: Key, outcome: Outcome) -> None:
        self._change(which, lambda entry: replace(entry, outcome=outcome, settled=False))

    def settle(self, which: Key) -> None:
        self._change(which, lambda entry: replace(entry, settled=True))
        settled = [k for k, entry in self._entries.items() if entry.settled]
        for old in settled[:-SETTLED_KEPT]:
            del self._entries[old]

    def close(self) -> None:
        """Nothing to give back."""

    def _change(self, which: Key, change: Callable[[Entry], Entry]) -> None:
        if which in self._entries:
            self._entries[which] = change(self._entries[which])


class SqliteJournal:
    """The journal of a device. Calls may come from different threads, one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = open_database(path, _SCHEMA, SCHEMA_VERSION)

    def entries(self) -> list[Entry]:
        rows = self._db.execute(
            "SELECT handed, attempts, status, details, settled FROM executions ORDER BY number"
        )
        return [
            Entry(
                msgspec.json.decode(handed, type=Execution),
                attempts,
                None if status is None else _outcome(status, details),
                settled=bool(settled),
            )
            for handed, attempts, status, details, settled in rows
        ]

    def begin(self, execution: Execution) -> None:
        with transaction(self._db, self._path):
            self._db.execute(
                "INSERT INTO executions (job, execution, handed, attempts) VALUES (?, ?, ?, 1)",
                (*key(execution), msgspec.json.encode(execution)),
            )

    def attempt(self, which: Key, attempts: int) -> None:
        with transaction(self._db, self._path):
            self._db.execute(
                "UPDATE executions SET attempts = ? WHERE job = ? AND execution = ?", (attempts, *which)
            )

    def conclude(self, which: Key, outcome: Outcome) -> None:
        with transaction(self._db, self._path):
            self._db.execute(
                "UPDATE executions SET status = ?, details = ?, settled = 0 WHERE job = ? AND execution = ?",
                (outcome.status, msgspec.json.encode(outcome.details), *which),
            )

    def settle(self, which: Key) -> None:
        with transaction(self._db, self._path):
            self._db.execute("UPDATE executions SET settled = 1 WHERE job = ? AND execution = ?", which)
            self._db.execute(
                "DELETE FROM executions WHERE settled = 1 AND number NOT IN "
                "(SELECT number FROM executions WHERE settled = 1 ORDER BY number DESC LIMIT ?)",
                (SETTLED_KEPT,),
            )

    def close(self) -> None:
        self._db.close()


def _outcome(status: str, details: bytes) -> Outcome:
    ended = cast(Literal[Status.SUCCEEDED, Status.FAILED, Status.REJECTED], Status(status))
    return Outcome(ended, msgspec.json.decode(details, type=dict[str, str]))
