"""Updates on the disk: each as one row, replaced as a whole; what is written survives a power cut."""

from pathlib import Path
from typing import Protocol

import msgspec

from contract.updates import UPDATE, ApplyUpdate, Component
from edge_agent.link.journal import open_database, transaction
from edge_agent.updates.core import KEPT_ENDED
from edge_agent.updates.messages import Entry

SCHEMA_VERSION = 1
DAMAGED = "damaged"
"""State of a row that cannot be read: none of the table's, so that it is rolled back."""

_SCHEMA = """
CREATE TABLE updates (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT NOT NULL UNIQUE,
    component TEXT NOT NULL,
    version   TEXT NOT NULL,
    state     TEXT NOT NULL,
    settled   INTEGER NOT NULL,
    entry     BLOB NOT NULL
);
"""


class Journal(Protocol):
    """Where updates are written down; one caller at a time, durable when a call returns."""

    def entries(self, component: Component) -> list[Entry]:
        """Those of one component, in the order of their assignment."""

    def save(self, entry: Entry) -> None:
        """Write it over what is there; only the last `KEPT_ENDED` that ended and were told are remembered.

        Raises:
            UnavailableError: the disk is full; nothing was changed.
        """

    def close(self) -> None:
        """Give the disk back."""


class MemoryJournal:
    """The journal for tests: survives the agent, not the process."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def entries(self, component: Component) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.order.component == component]

    def save(self, entry: Entry) -> None:
        self._entries[entry.update] = entry
        settled = [update for update, each in self._entries.items() if _settled(each)]
        for old in settled[:-KEPT_ENDED]:
            del self._entries[old]

    def close(self) -> None:
        """Nothing to give back."""


class SqliteJournal:
    """The journal of a device. Calls may come from different threads, one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = open_database(path, _SCHEMA, SCHEMA_VERSION)

    def entries(self, component: Component) -> list[Entry]:
        rows = self._db.execute(
            "SELECT id, component, version, state, entry FROM updates WHERE component = ? ORDER BY number",
            (component.value,),
        )
        return [_read(*row) for row in rows]

    def save(self, entry: Entry) -> None:
        order = entry.order
        with transaction(self._db, self._path):
            self._db.execute(
                "INSERT INTO updates (id, component, version, state, settled, entry) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "state = excluded.state, settled = excluded.settled, entry = excluded.entry",
                (
                    order.update,
                    order.component.value,
                    order.version,
                    entry.state,
                    _settled(entry),
                    msgspec.json.encode(entry),
                ),
            )
            self._db.execute(
                "DELETE FROM updates WHERE settled = 1 AND number NOT IN "
                "(SELECT number FROM updates WHERE settled = 1 ORDER BY number DESC LIMIT ?)",
                (KEPT_ENDED,),
            )

    def close(self) -> None:
        self._db.close()


def _settled(entry: Entry) -> bool:
    return entry.state in UPDATE.ends and entry.told >= entry.revision


def _read(update: str, component: str, version: str, state: str, content: bytes) -> Entry:
    """A row that another version of the agent has written in its own way is not guessed at."""
    try:
        return msgspec.json.decode(content, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError):
        order = ApplyUpdate(update=update, component=Component(component), path="", version=version)
        return Entry(order=order, state=state if state in UPDATE.ends else DAMAGED, told=1)
