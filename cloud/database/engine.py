"""Engines with the pragmas that keep SQLite from losing updates; PostgreSQL needs none."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

BUSY_TIMEOUT_MS = 30_000
POOL_SIZE = 20


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
        event.listen(engine, "begin", _begin_immediate)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
        "journal_mode=WAL",
        "synchronous=FULL",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
