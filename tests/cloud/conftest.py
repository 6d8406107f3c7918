"""A database of either kind, a clock that tests move, and pages with a signed-in operator.

Whatever uses `engine` (or `sessions`, or what stands on them) runs on SQLite and on PostgreSQL.
"""

import functools
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.operators import Operator, OperatorSession
from cloud.operators import access
from cloud.operators.roles import Role
from cloud.web.application import build, build_pages
from cloud.web.pages import Pages
from tests.cloud.postgres import Cluster, cluster

if TYPE_CHECKING:
    from cloud.main import Ground, Ways
    from tests.cloud.exposed import Exposed

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    at: datetime = START

    def __call__(self) -> datetime:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One PostgreSQL for all tests of a worker."""
    with cluster() as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    made: Cluster = request.getfixturevalue("postgres")
    url = made.empty()
    yield url
    made.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database at the newest revision."""
    if request.param == "sqlite":
        yield migrated(tmp_path / "fleet.db")
        return
    made: Cluster = request.getfixturevalue("postgres")
    url = made.database()
    yield url
    made.give_back(url)


def migrated(path: Path) -> str:
    """A SQLite file with every table."""
    path.write_bytes(_every_table())
    return f"sqlite:///{path}"


@functools.cache
def _every_table() -> bytes:
    """Such a file, made once for a thousand tests: a hundred statements, each of them brought to the disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.db"
        engine = connect(f"sqlite:///{path}")
        complete().create_all(engine)
        engine.dispose()
        assert [each.name for each in path.parent.iterdir()] == ["fleet.db"], "its log holds some of it"
        return path.read_bytes()


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: sa.Engine) -> sessionmaker[Session]:
    return sessionmaker(engine, expire_on_commit=False)


@pytest.fixture(scope="session")
def pages() -> Pages:
    return Pages()


@pytest.fixture
def pages_app(sessions: sessionmaker[Session], clock: Clock, pages: Pages) -> Callable[..., FastAPI]:
    """`pages_app(router, …)`: the application for people with these routers, guarded as in production."""

    def make(*routers: APIRouter) -> FastAPI:
        app = build_pages("test", routers, pages=pages, secure=False)
        access.protect(app, sessions, now=clock, secure=False)
        return app

    return make


@dataclass
class Staff:
    """A signed-in browser: `client` has the cookie; put `csrf` into forms or `headers` on requests."""

    client: TestClient
    csrf: str

    @property
    def headers(self) -> dict[str, str]:
        return {access.CSRF_HEADER: self.csrf}


def sign_in_as(
    name: str,
    app: FastAPI,
    sessions: sessionmaker[Session],
    at: datetime,
    role: Role = Role.ADMINISTRATOR,
) -> Staff:
    token = secrets.token_urlsafe(16)
    with sessions.begin() as session:
        operator = Operator(
            name=name, password_hash="", role=role.value, must_change_password=False, created_at=at
        )
        session.add(operator)
        session.flush()
        session.add(
            OperatorSession(
                token_sha256=access.token_digest(token), operator_id=operator.id, created_at=at, seen_at=at
            )
        )
    client = TestClient(app, follow_redirects=False, headers={"Accept-Language": "en"})
    client.cookies.set(access.cookie_name(secure=False), token)
    return Staff(client, access.csrf_of(token))


@pytest.fixture
def sign_in(sessions: sessionmaker[Session], clock: Clock) -> Callable[..., Staff]:
    """`sign_in(app)`: a browser in which the administrator `ana` has signed in; it speaks English."""
    return lambda app, name="ana", role=Role.ADMINISTRATOR: sign_in_as(name, app, sessions, clock.at, role)


class Listening:
    """uvicorn in a thread on a free port of the loopback, until `stop`."""

    def __init__(self, config: uvicorn.Config) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def listen() -> Iterator[Callable[[uvicorn.Config], int]]:
    """`listen(config)` serves it for the length of the test and gives its port."""
    running: list[Listening] = []

    def start(config: uvicorn.Config) -> int:
        running.append(Listening(config))
        return running[-1].port

    yield start
    for each in running:
        each.stop()


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Ground"]:
    """What every way stands on in `cloud.main`; made once, because the workflow engine is one per process."""
    from tests.cloud.planes import laid_ground  # takes a second: only for those who need it

    with laid_ground(tmp_path_factory.mktemp("plane")) as ground:
        yield ground


@pytest.fixture(scope="session")
def ways(ground: "Ground") -> Iterator["Ways"]:
    """The ways of `cloud.main`, all of them."""
    from cloud import main

    with main.make_ways(ground) as ways:
        yield ways


@pytest.fixture
def device_app() -> Callable[..., FastAPI]:
    """`device_app(router, device="kiosk-01")`: the device listener as one device sees it after mutual TLS."""

    def make(*routers: APIRouter, device: str) -> FastAPI:
        app = build("test", routers)

        @app.middleware("http")
        async def as_device(request, call_next):  # type: ignore[no-untyped-def] # test scaffolding
            request.state.device = device
            return await call_next(request)

        return app

    return make


@pytest.fixture(scope="session")
def plane(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Exposed"]:
    """A running control plane on PostgreSQL, with broker and ingest; it has no faults of its own."""
    from tests.cloud.exposed import exposed  # takes a second: only for those who need it

    database = postgres.database()
    with exposed(tmp_path_factory.mktemp("exposed"), database) as made:
        yield made
        assert made.failures() == []
        assert not made.names_somebody()
    postgres.drop(database)
