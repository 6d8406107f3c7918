"""The outbox on the disk: SQLite with a synced write-ahead log; what is written survives a power cut."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec

from contract.link import DroppedRange
from contract.messages import AT_MIN_MS, Lane
from edge_agent.errors import SettingsError, UnavailableError
from edge_agent.link import compaction

SCHEMA_VERSION = 1
BOOTS_KEPT = 50
"""Boots without messages are remembered for diagnostics, and no longer than this."""

_SCHEMA = """
CREATE TABLE boots (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    boot   TEXT NOT NULL UNIQUE,
    at     INTEGER NOT NULL
);
CREATE TABLE outbox (
    number INTEGER NOT NULL REFERENCES boots (number),
    lane   TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    must   INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    topic  TEXT NOT NULL,
    body   BLOB NOT NULL,
    PRIMARY KEY (number, lane, seq)
) WITHOUT ROWID;
"""
_SINCE_B = """
CREATE TABLE IF NOT EXISTS pending (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    ranges BLOB NOT NULL
);
"""
"""Beside the layout and not in it, so that an agent that was rolled back still knows the file."""


@dataclass(frozen=True)
class Message:
    """One kept message; `body` is its JSON.

    `at` is when it happened: ms of the wall clock, or since its boot began where that was not trusted
    (`dating.Stamp`). `origin` is when its boot began, None as long as nobody knows; only `read` tells it.
    """

    boot: str
    lane: Lane
    seq: int
    must: bool
    at: int
    topic: str
    body: bytes
    origin: int | None = None


@dataclass(frozen=True)
class Kept:
    """What stands in the journal of one message, without its body; `size` is the body's bytes.

    `at` and `origin` as in `Message`.
    """

    boot: str
    lane: Lane
    seq: int
    must: bool
    at: int
    size: int
    origin: int | None = None


@dataclass(frozen=True)
class Deletion:
    """Everything of `boot` and `lane` from `first` to `last`."""

    boot: str
    lane: Lane
    first: int
    last: int


class Journal(Protocol):
    """Where messages wait; one caller at a time."""

    @property
    def loose(self) -> bool:
        """Whether it holds much room on the disk that nothing in it needs."""

    def begin(self, boot: str, at: int) -> None:
        """Write down that `boot` begins at wall clock `at` (ms), 0 if it is not trusted; durable at the end.

        Raises:
            UnavailableError: the disk is full; nothing was changed.
        """

    def date(self, boot: str, origin: int) -> None:
        """Write down that `boot` began at `origin` (ms), now that it is known; durable when this returns.

        Raises:
            UnavailableError: the disk is full; nothing was changed.
        """

    def kept(self) -> list[Kept]:
        """What waits, oldest boot first, then by sequence."""

    def pending(self) -> list[DroppedRange]:
        """What was dropped and is not declared yet."""

    def write(
        self,
        appends: Sequence[Message],
        deletions: Sequence[Deletion],
        pending: Sequence[DroppedRange] | None = None,
    ) -> None:
        """Do all of it or nothing; durable when this returns. `pending` replaces what stood, None leaves it.

        Raises:
            UnavailableError: the disk is full; nothing was changed.
        """

    def read(self, boot: str, lane: Lane, seq: int) -> Message | None:
        """One message, None if it is not there."""

    def give_back(self) -> bool:
        """Give some of the room that nothing needs back to the disk; whether another call would give more.

        Raises:
            UnavailableError: the disk is too full even for that; nothing was changed.
        """

    def close(self) -> None:
        """Give the disk back."""


class MemoryJournal:
    """The journal for tests: survives the agent, not the process."""

    loose = False

    def __init__(self) -> None:
        self.boots: dict[str, int] = {}
        self.messages: dict[tuple[str, Lane, int], Message] = {}
        self.ranges: list[DroppedRange] = []

    def begin(self, boot: str, at: int) -> None:
        assert boot not in self.boots
        self.boots[boot] = at

    def date(self, boot: str, origin: int) -> None:
        self.boots[boot] = origin

    def pending(self) -> list[DroppedRange]:
        return list(self.ranges)

    def kept(self) -> list[Kept]:
        order = {boot: number for number, boot in enumerate(self.boots)}
        rows = sorted(self.messages.values(), key=lambda m: (order[m.boot], m.lane, m.seq))
        return [
            Kept(m.boot, m.lane, m.seq, m.must, m.at, len(m.body), _origin(self.boots[m.boot])) for m in rows
        ]

    def write(
        self,
        appends: Sequence[Message],
        deletions: Sequence[Deletion],
        pending: Sequence[DroppedRange] | None = None,
    ) -> None:
        if pending is not None:
            self.ranges = list(pending)
        for message in appends:
            assert message.boot in self.boots
            self.messages[message.boot, message.lane, message.seq] = message
        for gone in deletions:
            for key in [k for k in self.messages if k[:2] == (gone.boot, gone.lane)]:
                if gone.first <= key[2] <= gone.last:
                    del self.messages[key]

    def read(self, boot: str, lane: Lane, seq: int) -> Message | None:
        found = self.messages.get((boot, lane, seq))
        return None if found is None else replace(found, origin=_origin(self.boots[boot]))

    def give_back(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to give back."""


class SqliteJournal:
    """The journal of a device. Calls may come from different threads, one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = open_database(path, _SCHEMA, SCHEMA_VERSION)
        with transaction(self._db, path):
            self._db.execute(_SINCE_B)
        self._numbers: dict[str, int] = dict(self._db.execute("SELECT boot, number FROM boots"))
        self._loose = compaction.is_loose(self._db, path)

    @property
    def loose(self) -> bool:
        return self._loose

    def begin(self, boot: str, at: int) -> None:
        with transaction(self._db, self._path):
            cursor = self._db.execute("INSERT INTO boots (boot, at) VALUES (?, ?)", (boot, at))
            number = cursor.lastrowid
            assert number is not None
            self._db.execute(
                "DELETE FROM boots WHERE number <= ? AND number NOT IN (SELECT number FROM outbox)",
                (number - BOOTS_KEPT,),
            )
        self._numbers[boot] = number

    def date(self, boot: str, origin: int) -> None:
        with transaction(self._db, self._path):
            self._db.execute("UPDATE boots SET at = ? WHERE boot = ?", (origin, boot))

    def pending(self) -> list[DroppedRange]:
        row = self._db.execute("SELECT ranges FROM pending").fetchone()
        return [] if row is None else msgspec.json.decode(row[0], type=list[DroppedRange])

    def kept(self) -> list[Kept]:
        rows = self._db.execute(
            "SELECT boot, lane, seq, must, outbox.at, length(body), boots.at "
            "FROM outbox JOIN boots USING (number) ORDER BY number, lane, seq"
        )
        return [
            Kept(boot, Lane(lane), seq, bool(must), at, size, _origin(began))
            for boot, lane, seq, must, at, size, began in rows
        ]

    def write(
        self,
        appends: Sequence[Message],
        deletions: Sequence[Deletion],
        pending: Sequence[DroppedRange] | None = None,
    ) -> None:
        with transaction(self._db, self._path):
            if pending is not None:
                ranges = msgspec.json.encode(list(pending))
                self._db.execute("INSERT OR REPLACE INTO pending (one, ranges) VALUES (1, ?)", (ranges,))
            self._db.executemany(
                "INSERT INTO outbox (number, lane, seq, must, at, topic, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(self._numbers[m.boot], m.lane, m.seq, m.must, m.at, m.topic, m.body) for m in appends],
            )
            self._db.executemany(
                "DELETE FROM outbox WHERE number = ? AND lane = ? AND seq BETWEEN ? AND ?",
                [(self._numbers[d.boot], d.lane, d.first, d.last) for d in deletions],
            )
        if deletions:
            self._loose = compaction.is_loose(self._db, self._path)

    def read(self, boot: str, lane: Lane, seq: int) -> Message | None:
        row = self._db.execute(
            "SELECT must, outbox.at, topic, body, boots.at FROM outbox JOIN boots USING (number) "
            "WHERE number = ? AND lane = ? AND seq = ?",
            (self._numbers.get(boot), lane, seq),
        ).fetchone()
        if row is None:
            return None
        must, at, topic, body, began = row
        return Message(boot, lane, seq, bool(must), at, topic, body, _origin(began))

    def give_back(self) -> bool:
        with _full_disk_told(self._path):
            more = compaction.give_back(self._db, self._path)
        self._loose = more
        return more

    def close(self) -> None:
        self._db.close()


def _origin(began: int) -> int | None:
    return began if began >= AT_MIN_MS else None


@contextmanager
def transaction(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All that is done within, or nothing; durable when it ends.

    Raises:
        UnavailableError: the disk is full; nothing was changed.
    """
    with _full_disk_told(path), db:
        db.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def _full_disk_told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in compaction.DISK_FULL_CODES:
            raise UnavailableError(f"{path}: the disk is full; free some space") from error
        raise


def open_database(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """A database whose commits are on the disk when they return; made with `schema` if it is new.

    Raises:
        SettingsError: it cannot be opened there, or a newer agent wrote it.
        UnavailableError: the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        compaction.allow(db)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # a commit is synced before it returns
        db.execute("PRAGMA cache_size = -256")  # KiB; the agent is small and its tables are smaller
        found: int = db.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            db.executescript(f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = {version:d}; COMMIT;")
    except (OSError, sqlite3.DatabaseError) as error:
        if isinstance(error, sqlite3.Error) and error.sqlite_errorcode in compaction.DISK_FULL_CODES:
            raise UnavailableError(f"{path}: the disk is full; free some space") from error
        raise SettingsError(f"{path}: {error}; data_dir must be a folder that the agent may write") from error
    if found not in (0, version):
        db.close()
        raise SettingsError(
            f"{path} has layout {found}, this agent knows {version}: "
            "run the agent that wrote it until it is empty"
        )
    compaction.begin(db, path)
    return db
