"""One process per executor id: two would run the same workflows, and print a document twice."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from cloud.errors import SettingsError


@contextmanager
def executor_lock(folder: Path, executor_id: str) -> Iterator[None]:
    """Hold `executor_id` while inside; the system lets go of it when the process ends, however it ends.

    Raises:
        SettingsError: another process holds it.
    """
    path = folder / f"executor-{executor_id}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(
                f"a control plane with executor_id {executor_id} runs already in {folder}; "
                "stop it, or give this one another executor_id"
            ) from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def executor_lock_in(engine: sa.Engine, executor_id: str) -> Iterator[None]:
    """Hold `executor_id` in a database that several machines may share; a file holds it on SQLite.

    Raises:
        SettingsError: another process holds it.
    """
    if engine.dialect.name != "postgresql":
        yield
        return
    name = sa.func.hashtextextended(f"civic-fleet executor {executor_id}", 0)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(name))):
            raise SettingsError(
                f"a control plane with executor_id {executor_id} works on this database already; "
                "stop it, or give this one another executor_id"
            )
        try:
            yield
        finally:
            connection.invalidate()  # closes it, and with it lets go of the lock
