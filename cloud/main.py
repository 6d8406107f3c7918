"""`python -m cloud serve`: the order in which the control plane starts, runs and stops.

One process: three listeners, the consumer of events (`svc-control`), the durable workflows and what has to
be done again and again. How each way is put together stands in `cloud.wiring`, a file a way; here they are
made from the settings and handed to one another.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import sqlalchemy as sa
from fastapi import FastAPI
from sqlalchemy.orm import sessionmaker

from cloud import wiring
from cloud.broker import Broker
from cloud.broker_figures import BrokerFigures
from cloud.captions.run import Captions
from cloud.database import migrate
from cloud.database.engine import connect
from cloud.database.lock import executor_lock, executor_lock_in
from cloud.database.workflows import running as workflows_running
from cloud.devices.run import Presences
from cloud.documents.run import Documents
from cloud.enrolment import est, guard, issuers, pki
from cloud.jobs import run as jobs_run
from cloud.jobs.diagnostics import BYTES_MAX, Bundles
from cloud.jobs.service import Jobs
from cloud.jobs.sweep import Sweep
from cloud.link.books import Books
from cloud.link.delays import Delays
from cloud.operators import access, security
from cloud.settings import Settings
from cloud.telemetry.fleet import Watch
from cloud.telemetry.ledger import Ledger
from cloud.twin.service import Twins
from cloud.updates.service import Updates
from cloud.web import front, listener, openapi
from cloud.web.application import build, build_pages
from cloud.web.pages import Pages
from cloud.web.servers import Servers
from cloud.wiring.enrolment import Members
from cloud.wiring.ground import Chore, Ground
from cloud.wiring.recordings import Recordings
from contract.ids import RANDOM_BYTES, uuid7

log = logging.getLogger(__name__)

SERVICE = "svc-control"


def now() -> datetime:
    """The one clock of the process."""
    return datetime.now(UTC)


def _new_id() -> str:
    return uuid7(int(now().timestamp() * 1000), os.urandom(RANDOM_BYTES))


@dataclass(frozen=True)
class Ways:
    """The ways that live in this process."""

    members: Members
    jobs: Jobs
    bundles: Bundles
    captions: Captions
    watch: Watch
    books: Books
    delays: Delays
    documents: Documents
    updates: Updates
    recordings: Recordings
    twins: Twins
    presences: Presences
    broker_figures: BrokerFigures


def serve(settings: Settings) -> None:
    """Run the control plane until SIGTERM or SIGINT.

    Raises:
        SettingsError: something that `init` makes is missing, a port is taken, or a control plane with this
            executor id runs already.
    """
    with ExitStack() as stack:
        ground = stack.enter_context(lay_ground(settings))
        ways = stack.enter_context(make_ways(ground))
        _subscribe(ground, ways)
        servers = stack.enter_context(closing(_listeners(ground, ways)))
        stack.enter_context(workflows_running(settings.main_database_url, settings.executor_id))
        ways.documents.reconcile()
        asyncio.run(_run(ground, ways, servers))


@contextmanager
def lay_ground(settings: Settings) -> Iterator[Ground]:
    """Database and broker, not connected yet; nothing of it is made where `init` has not been."""
    issuer = pki.load(settings.pki_dir, settings.certificates.key_file)
    with executor_lock(settings.data_dir, settings.executor_id):
        engine = connect(settings.main_database_url)
        try:
            migrate.check(engine)
            sessions = sessionmaker(engine, expire_on_commit=False)
            broker = Broker(settings.broker, name=SERVICE, pki=settings.pki_dir, sessions=sessions, clock=now)
            with executor_lock_in(engine, settings.executor_id):
                yield Ground(settings, engine, sessions, broker, issuer, now, _new_id)
        finally:
            engine.dispose()


@contextmanager
def make_ways(ground: Ground) -> Iterator[Ways]:
    """Every way, knowing of the others what it was handed here."""
    figures = BrokerFigures(ground.settings.broker.connections_max)
    ledger = Ledger(ground.settings.telemetry_database)
    jobs = wiring.jobs.make(ground)
    with (
        wiring.telemetry.make(ground, ledger, figures) as watch,
        wiring.documents.make(ground, jobs) as documents,
    ):
        captions = wiring.captions.make(ground, jobs)
        members = wiring.enrolment.make(ground, jobs)
        twins = wiring.twin.make(ground)
        yield Ways(
            members=members,
            jobs=jobs,
            bundles=wiring.jobs.make_bundles(ground),
            captions=captions,
            watch=watch,
            books=wiring.link.make_books(ground, ledger),
            delays=wiring.link.make_delays(ground),
            documents=documents,
            updates=wiring.updates.make(ground, jobs),
            recordings=wiring.recordings.make(ground),
            twins=twins,
            presences=wiring.devices.make(
                ground,
                on_online=[members.drops.noticed, jobs.notices.announce, twins.announce],
                on_change=captions.presence_changed,
            ),
            broker_figures=figures,
        )


def _subscribe(ground: Ground, ways: Ways) -> None:
    """Who takes which topic."""
    sightings = wiring.link.make_sightings(ways.delays)
    for topics in (
        wiring.devices.topics(ways.presences, also=sightings.take),
        wiring.jobs.topics(ground, ways.jobs),
        wiring.twin.topics(ground, ways.twins),
        wiring.documents.topics(ways.documents),
        wiring.captions.topics(ways.captions),
        wiring.updates.topics(ways.updates),
        wiring.recordings.topics(ways.recordings),
        wiring.link.topics(),
    ):
        for name, handler in topics.items():
            ground.broker.subscribe(name, handler)
    ground.broker.on_connected(ways.jobs.notices.announce_all)
    ground.broker.on_connected(ways.twins.announce_all)
    if ground.settings.broker.tls:  # the demonstration's own broker hangs up on whoever asks
        ground.broker.watch_system(lambda topic, payload: ways.broker_figures.take(topic, payload, now()))


def _listeners(ground: Ground, ways: Ways) -> Servers:
    settings = ground.settings
    pages, bootstrap, device = settings.pages, settings.bootstrap, settings.device
    return Servers(
        {
            "pages": listener.plain(pages_app(ground, ways), pages.host, pages.port),
            "bootstrap": listener.over_tls(
                bootstrap_app(ground, ways),
                bootstrap.host,
                bootstrap.port,
                pki=settings.pki_dir,
                client="optional",
                authorities=issuers.renewable(settings.pki_dir),
                expired=True,  # the desk judges it, and lets it renew and nothing else
                refused=ways.members.handshakes.refused,
            ),
            "device": listener.over_tls(
                device_app(ground, ways),
                device.host,
                device.port,
                pki=settings.pki_dir,
                client="required",
                refused=ways.members.handshakes.refused,
            ),
        }
    )


def pages_app(ground: Ground, ways: Ways) -> FastAPI:
    """The application for people: public pages, and staff pages behind the guard."""
    secure = ground.settings.https_pages
    health: dict[str, Callable[[], bool]] = {
        "database": partial(_database_answers, ground.engine),
        "broker": lambda: ground.broker.connected,
    }
    sections = [
        wiring.telemetry.device_section(ways.watch),
        wiring.twin.device_section(ways.twins),
        wiring.link.device_section(ways.books),
        wiring.jobs.device_section(ground),
    ]
    routers = [
        front.router(health, secure=secure),
        *wiring.operators.pages_routers(ground),
        *wiring.enrolment.pages_routers(ways.members),
        *wiring.telemetry.pages_routers(ways.watch),
        *wiring.devices.pages_routers(ground, sections),
        *wiring.twin.pages_routers(ground, ways.twins),
        *wiring.link.pages_routers(ways.books, ways.delays),
        *wiring.jobs.pages_routers(ground, ways.jobs, ways.bundles),
        *wiring.documents.pages_routers(ground, ways.documents),
        *wiring.captions.pages_routers(ways.captions),
        *wiring.updates.pages_routers(ways.updates),
        *wiring.recordings.pages_routers(ground, ways.recordings),
        *wiring.assembly.pages_routers(ground),
    ]
    app = build_pages("Civic Fleet", routers, pages=Pages(), secure=secure)
    openapi.describe(app, who=security.WHO, security=security.scheme(secure=secure))
    access.protect(app, ground.sessions, now=now, secure=secure)
    return app


def bootstrap_app(ground: Ground, ways: Ways) -> FastAPI:
    """The application of the bootstrap listener: EST and nothing else."""
    routers = wiring.enrolment.bootstrap_routers(ground, ways.members)
    return build("Civic Fleet enrolment", routers, body_bytes_max=est.BODY_BYTES_MAX)


def device_app(ground: Ground, ways: Ways) -> FastAPI:
    """The application of the device listener: enrolled devices only."""
    routers = [
        guard.device_router(ground.sessions, now=now),
        *wiring.jobs.device_routers(ways.bundles),
        *wiring.documents.device_routers(ground, ways.documents),
        *wiring.updates.device_routers(ways.updates),
        *wiring.recordings.device_routers(ways.recordings),
    ]
    app = build("Civic Fleet devices", routers, body_bytes_max=BYTES_MAX)
    openapi.describe(app, who="For devices with a certificate of this fleet (mutual TLS).")
    guard.protect(app, ground.sessions, now=now)
    return app


def _chores(ground: Ground, ways: Ways) -> list[Chore]:
    return [
        *wiring.enrolment.chores(ground, ways.members, ways.watch),
        *wiring.operators.chores(ground),
        *wiring.updates.chores(ground, ways.updates),
        *wiring.recordings.chores(ways.recordings),
        *wiring.devices.chores(ways.presences),
        *wiring.telemetry.chores(ground, ways.watch),
        *wiring.link.chores(ground, ways.books, ways.delays, ways.watch),
    ]


async def _run(ground: Ground, ways: Ways, servers: Servers) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ways.captions.hub.attach(loop)
    ground.broker.start()
    try:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(servers.run(), name="listeners")
            repeated = [
                tasks.create_task(
                    jobs_run.sweep_forever(Sweep(ground.sessions, ways.jobs), now), name="jobs"
                ),
                tasks.create_task(ways.documents.watch(), name="documents"),
                *(tasks.create_task(_repeat(chore), name=chore.name) for chore in _chores(ground, ways)),
            ]
            log.info("control_plane_started", extra=servers.ports())
            await stop.wait()
            log.info("control_plane_stopped")
            ways.captions.hub.close()
            servers.stop()
            await serving
            for task in repeated:
                task.cancel()
    finally:
        await asyncio.to_thread(ground.broker.stop)


async def _repeat(chore: Chore) -> None:
    while True:
        try:
            await asyncio.to_thread(chore.do)
        except Exception:  # a database that is away for a while must not end the chore for ever
            log.exception("chore_failed", extra={"chore": chore.name})
        await asyncio.sleep(chore.every_s)


def _database_answers(engine: sa.Engine) -> bool:
    """Without a transaction: on SQLite ours would wait for the write lock."""
    try:
        with contextlib.closing(engine.raw_connection()) as connection:
            connection.cursor().execute("SELECT 1")
    except sa.exc.SQLAlchemyError:
        log.exception("database_unavailable")
        return False
    return True
