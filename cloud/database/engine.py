"""Engines with the pragmas that keep SQLite from losing updates; PostgreSQL needs none."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

BUSY_TIMEOUT_MS = 30_000
POOL_SIZE = 20
_READS = "fleet_reads"


def connect(url: str) -> sa.Engine:
    """An engine for `url`.

    On SQLite: write-ahead log, full synchronisation, foreign keys, and every transaction begins
    IMMEDIATE, because a deferred one silently loses read-modify-write updates. Errors never repeat the
    values of a statement: they may be somebody's name.
    """
    engine = sa.create_engine(
        url, pool_size=POOL_SIZE, pool_pre_ping=not url.startswith("sqlite"), hide_parameters=True
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def for_reading(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """The same sessions, for reading only: on SQLite they neither take the write lock nor wait for it.

    Nothing may be written in them: what was read could have changed before the write.
    """
    bind: sa.Engine = sessions.kw["bind"]
    return sessionmaker(bind.execution_options(**{_READS: True}), expire_on_commit=False)


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
        "journal_mode=WAL",
        "synchronous=FULL",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
