"""Records on the disk: SQLite, one row for each recording; what is saved survives a power cut."""

from pathlib import Path

import msgspec

from edge_agent.link.journal import open_database, transaction
from edge_agent.recordings.records import Record

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE recordings (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    recording TEXT NOT NULL UNIQUE,
    record    BLOB NOT NULL
);
"""


class Memory:
    """The database at `path`. Calls may come from different threads, one after the other."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Raises:
            SettingsError: it cannot be opened there, or a newer agent wrote it.
        """
        self._path = path
        self._db = open_database(path, _SCHEMA, SCHEMA_VERSION)

    def load(self) -> tuple[tuple[Record, ...], list[str]]:
        """Every record, the oldest recording first, and the names of those that are damaged."""
        records, damaged = [], []
        for name, content in self._db.execute("SELECT recording, record FROM recordings ORDER BY number"):
            try:
                records.append(msgspec.json.decode(content, type=Record))
            except msgspec.DecodeError:
                damaged.append(name)
        return tuple(records), damaged

    def save(self, record: Record) -> None:
        """Put a record in the place of the last one; durable when this returns.

        Raises:
            UnavailableError: the disk is full; the last one is still there.
        """
        with transaction(self._db, self._path):
            self._db.execute(
                "INSERT INTO recordings (recording, record) VALUES (?, ?) "
                "ON CONFLICT (recording) DO UPDATE SET record = excluded.record",
                (record.recording, msgspec.json.encode(record)),
            )

    def forget(self, recording: str) -> None:
        """Remove a record.

        Raises:
            UnavailableError: the disk is full; it is still there.
        """
        with transaction(self._db, self._path):
            self._db.execute("DELETE FROM recordings WHERE recording = ?", (recording,))

    def close(self) -> None:
        """Give the disk back."""
        self._db.close()
