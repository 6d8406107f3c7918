"""Engines on which neither database loses updates or refuses what the other takes."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

from cloud.errors import SettingsError

BUSY_TIMEOUT_MS = 30_000
POOL_SIZE = 20
PRAGMAS = (
    f"busy_timeout={BUSY_TIMEOUT_MS}",
    "foreign_keys=ON",
    "journal_mode=WAL",
    "synchronous=FULL",
)
"""Of every connection to SQLite, ours and the workflow engine's."""
NUL, MARK = "\0", "\ufffd"
_READS = "fleet_reads"


def connect(url: str) -> sa.Engine:
    """An engine for `url`.

    On SQLite: write-ahead log, full synchronisation, foreign keys, and every transaction begins
    IMMEDIATE, because a deferred one silently loses read-modify-write updates; on PostgreSQL see
    `cloud.database.writing`. Errors never repeat the values of a statement: they may be somebody's name.

    Raises:
        SettingsError: `url` is no address of such a database.
    """
    try:
        engine = sa.create_engine(
            url, pool_size=POOL_SIZE, pool_pre_ping=not url.startswith("sqlite"), hide_parameters=True
        )
    except (sa.exc.ArgumentError, ValueError, ImportError):  # none of them may be shown: there is a password
        raise SettingsError(
            "database_url is no address of a database; give postgresql://user@host/name, or leave it out"
        ) from None
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise SettingsError(f"database_url: {engine.dialect.name} does not do; PostgreSQL and SQLite do")
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "before_cursor_execute", _without_nul, retval=True)
    return engine


def for_reading(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """The same sessions, for reading only: one reading sees one moment, and neither waits for a writer nor
    keeps one waiting.

    Nothing may be written in them: what was read could have changed before the write.
    """
    bind: sa.Engine = sessions.kw["bind"]
    options: dict[str, Any] = {_READS: True}
    if bind.dialect.name == "postgresql":
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return sessionmaker(bind.execution_options(**options), expire_on_commit=False)


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _without_nul(
    _connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, _many: bool
) -> tuple[str, Any]:
    """PostgreSQL takes no NUL in a text. What somebody asks for by such a name is not there, on either
    database, and a text with one is kept with a mark in its place."""
    return statement, [_marked(row) for row in values] if isinstance(values, list) else _marked(values)


def _marked(row: Any) -> Any:
    if not any(isinstance(value, str) and NUL in value for value in row.values()):
        return row
    return {
        name: value.replace(NUL, MARK) if isinstance(value, str) else value for name, value in row.items()
    }


def _begin(connection: sa.Connection) -> None:
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
