"""A real PostgreSQL in a folder of its own, reached by its socket only, and a database for each test.

The cluster sorts as a language does, not by bytes, because that is what Debian sets up.
"""

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from cloud.database import migrate
from cloud.database.engine import connect
from cloud.database.metadata import complete
from tests.cloud.waiting import until

BIN = Path("/usr/lib/postgresql/15/bin")
OWNER = "postgres"
START_S = 60.0
STOP_S = 30.0
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "timezone": "America/New_York",
}
"""Durability is not what these tests are about. The time zone is anybody's but ours: nothing may need it."""
SORTED_AS_A_LANGUAGE = ("--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en")
PR_SET_PDEATHSIG = 1
"""prctl(2); the server goes when the tests go, however they end."""


class Cluster:
    """One server; `database()` gives the URL of a database at the newest revision, without a row."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._clean: list[str] = []

    def url(self, database: str) -> str:
        """How the control plane reaches a database of this server."""
        return f"postgresql://{OWNER}@/{database}?host={self._folder}"

    def execute(self, statement: str) -> None:
        """Run one statement outside of any database of ours."""
        with self._connect("postgres") as connection:
            connection.execute(statement)

    def empty(self) -> str:
        """The URL of a new database without a table."""
        return self._make("template0")

    def database(self) -> str:
        """The URL of a database to which all migrations were applied."""
        return self._clean.pop() if self._clean else self._make("migrated")

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        self.execute(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def give_back(self, url: str) -> None:
        """Empty a database for the next test, a hundred times faster than a new one is made."""
        with self._connect(_name(url)) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            tables = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'dbos')"
                " AND tablename NOT IN ('alembic_version', 'dbos_migrations')"
            ).fetchall()
            ours = {table for schema, table in tables if schema == "public"}
            if ours == set(complete().tables):
                connection.execute("SET session_replication_role = replica")  # in any order of the tables
                emptied = "; ".join(f'DELETE FROM "{schema}"."{table}"' for schema, table in tables)
                connection.execute(emptied)  # type: ignore[call-overload] # names of ours
                connection.execute("SELECT setval(c.oid, 1, false) FROM pg_class c WHERE c.relkind = 'S'")
                self._clean.append(url)
                return
        self.drop(url)

    def prepare(self) -> None:
        """Make the template."""
        self.execute("CREATE DATABASE migrated")
        engine = connect(self.url("migrated"))
        migrate.upgrade(engine)
        engine.dispose()

    def _make(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def _connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(dbname=database, user=OWNER, host=str(self._folder), autocommit=True)


def _name(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


def stored_in(engine: sa.Engine) -> bytes:
    """Every byte that a database holds, of SQLite or of PostgreSQL (where bytes are in hexadecimal)."""
    database = engine.url.database
    assert database is not None
    if engine.dialect.name == "sqlite":
        return b"".join(path.read_bytes() for path in Path(database).parent.glob(f"{Path(database).name}*"))
    host = str(engine.url.query["host"])
    words = [str(BIN / "pg_dump"), "--data-only", f"--username={OWNER}", f"--host={host}", database]
    return subprocess.run(words, capture_output=True, check=True, timeout=START_S).stdout


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A server that is gone, with everything that it wrote, when the block is left."""
    if not BIN.is_dir():
        pytest.skip("postgresql is missing: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="fleet-pg-"))
    as_root = os.geteuid() == 0
    if as_root:
        owner = pwd.getpwnam(OWNER)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    try:
        _run(as_root, "initdb", "--no-sync", "--auth=trust", f"--username={OWNER}", *SORTED_AS_A_LANGUAGE,
             f"--pgdata={folder / 'data'}")  # fmt: skip
        with _serving(folder, as_root) as process:
            made = Cluster(folder)
            until(lambda: _answers(made, process) or None, START_S)
            made.prepare()
            yield made
    finally:
        shutil.rmtree(folder)


def _run(as_root: bool, program: str, *words: str) -> None:
    done = subprocess.run(
        [str(BIN / program), *words],
        user=OWNER if as_root else None,
        group=OWNER if as_root else None,
        extra_groups=[] if as_root else None,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=START_S,
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def _serving(folder: Path, as_root: bool) -> Iterator[subprocess.Popen[bytes]]:
    prctl = ctypes.CDLL(None).prctl
    options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / "postgres"), "-D", str(folder / "data"), "-k", str(folder), *options],
            user=OWNER if as_root else None,
            group=OWNER if as_root else None,
            extra_groups=[] if as_root else None,
            cwd="/",
            stdout=log,
            stderr=log,
            preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGQUIT),
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(STOP_S)


def _answers(made: Cluster, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "postgres ended; see its log"
    try:
        made.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
