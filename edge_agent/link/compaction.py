"""A database gives the room of what was deleted back to the disk, one bounded step at a time.

SQLite keeps the pages of deleted rows in its file. A file that is made here knows who points to each page
(`auto_vacuum = INCREMENTAL`), so that a step moves its last pages into free ones, however much is in it; the
file itself becomes shorter at the next checkpoint. A file from before is written anew once, in one go.
A step is a transaction of its own after that of the deletion: one that finds no room in the log, or is cut
off, changes nothing. Sources: sqlite.org on `auto_vacuum`, `incremental_vacuum`, `VACUUM` and on the log.
"""

import logging
import shutil
import sqlite3
from pathlib import Path

log = logging.getLogger(__name__)

DISK_FULL_CODES = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""The second: there is no room for the index of the write-ahead log."""
FREE_BYTES_KEPT = 2**20
"""Free room that stays in the file for what comes next, so that a queue that comes and goes costs nothing."""
STEP_BYTES = 2**20
"""Of the file in one step, which takes a tenth more in the log: 4 to 7 ms on a machine that was idle."""
START_STEPS_MAX = 16
"""Before the agent goes on with its start; the outbox does the rest while it runs."""
REWRITE_BYTES_MAX = 4 * 2**20
"""A file from before is written anew when no more is left in it: that passes through memory in one go."""
LOG_BYTES_KEPT = 4 * 2**20
"""A log that one large transaction has made longer than this is cut when it begins anew."""


def allow(db: sqlite3.Connection) -> None:
    """Before the journal's mode is set, which makes the file: from then on it waits for `VACUUM`."""
    if not _is_movable(db):  # where it is set, setting it again would be a write at each start
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute(f"PRAGMA journal_size_limit = {LOG_BYTES_KEPT}")


def is_loose(db: sqlite3.Connection, path: Path) -> bool:
    """Whether a step would give room back: many pages are free, or the file is longer than all of them."""
    page, pages, free = _number(db, "page_size"), _number(db, "page_count"), _number(db, "freelist_count")
    if free * page >= FREE_BYTES_KEPT + STEP_BYTES:
        return _is_movable(db) or (pages - free) * page <= REWRITE_BYTES_MAX
    return path.stat().st_size - pages * page >= STEP_BYTES


def give_back(db: sqlite3.Connection, path: Path) -> bool:
    """Do one step; whether another one would give back more.

    Raises:
        sqlite3.OperationalError: no room for the log (`DISK_FULL_CODES`); nothing was changed.
    """
    before = _number(db, "page_count"), path.stat().st_size
    page, free = _number(db, "page_size"), _number(db, "freelist_count")
    if free * page < FREE_BYTES_KEPT + STEP_BYTES:
        _empty_the_log(db)
    elif _is_movable(db):
        # Not `execute`: a page is a step of this statement, and sqlite3 takes only the first.
        db.executescript(f"PRAGMA incremental_vacuum({STEP_BYTES // page})")
    else:
        _write_anew(db, path)
    return (_number(db, "page_count"), path.stat().st_size) != before and is_loose(db, path)


def begin(db: sqlite3.Connection, path: Path) -> None:
    """At a start: write a file from before anew, and give back what is free, as far as there is room."""
    try:
        if not _is_movable(db):
            _write_anew(db, path)
        for _ in range(START_STEPS_MAX):
            if not is_loose(db, path) or not give_back(db, path):
                return
    except sqlite3.OperationalError as error:
        sentence = f"{path} could not be made smaller ({error}): it is used as it is, and tried again"
        log.warning("database_not_compacted", extra={"sentence": sentence})


def _empty_the_log(db: sqlite3.Connection) -> None:
    """Without waiting for somebody who reads the file: that is tried again."""
    patience_ms = _number(db, "busy_timeout")
    db.execute("PRAGMA busy_timeout = 0")
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.execute(f"PRAGMA busy_timeout = {patience_ms}")


def _write_anew(db: sqlite3.Connection, path: Path) -> None:
    """If little is left in the file, and there is room for it in the log, and as much for the others."""
    page = _number(db, "page_size")
    left = (_number(db, "page_count") - _number(db, "freelist_count")) * page
    if left > REWRITE_BYTES_MAX or shutil.disk_usage(path.parent).free < 2 * left:
        return
    db.execute("PRAGMA temp_store = MEMORY")  # the copy; nobody knows what room the folder of the others has
    try:
        db.execute("VACUUM")
    finally:
        db.execute("PRAGMA temp_store = DEFAULT")


def _is_movable(db: sqlite3.Connection) -> bool:
    return _number(db, "auto_vacuum") != 0


def _number(db: sqlite3.Connection, pragma: str) -> int:
    found: int = db.execute(f"PRAGMA {pragma}").fetchone()[0]
    return found
