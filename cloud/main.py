"""`python -m cloud serve`: the one place where the ways of the cloud meet.

One process: three listeners, the consumer of events (`svc-control`), the durable workflows and what has to
be done again and again. Everything is made here, from the settings, and handed to what needs it.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import sqlalchemy as sa
from fastapi import FastAPI
from obstore.store import LocalStore
from sqlalchemy.orm import Session, sessionmaker

from cloud.assembly import pages as assembly_pages
from cloud.broker import Broker, Received
from cloud.broker_figures import BrokerFigures
from cloud.captions import pages as caption_pages
from cloud.captions import staff as caption_staff
from cloud.captions.hub import Hub
from cloud.captions.run import Captions
from cloud.captions.sittings import overtaken, told_by
from cloud.database import migrate
from cloud.database.engine import connect
from cloud.database.lock import executor_lock, executor_lock_in
from cloud.database.workflows import running as workflows_running
from cloud.devices import group_api, group_pages, groups, incident_api, incident_pages
from cloud.devices import incidents as incident_core
from cloud.devices import pages as device_pages
from cloud.devices.hours import Tolerance
from cloud.devices.presence import Limits as PresenceLimits
from cloud.devices.run import SWEEP_EVERY_S as SWEEP_PRESENCE_S
from cloud.devices.run import Presences, Rules
from cloud.documents import api as document_api
from cloud.documents import kinds
from cloud.documents import staff as document_staff
from cloud.documents import verify as document_verify
from cloud.documents.contents import Contents, load_key
from cloud.documents.core import Limits
from cloud.documents.counter import Tools
from cloud.documents.news import print_job
from cloud.documents.payments_http import PaymentsHttp
from cloud.documents.ports import Payments, Registry
from cloud.documents.registry_http import RegistryHttp
from cloud.documents.render_typst import TypstRenderer
from cloud.documents.run import Documents
from cloud.documents.seal_pyhanko import PyhankoSealer
from cloud.enrolment import api as enrolment_api
from cloud.enrolment import est, guard, issuers, members, pki, tokens
from cloud.enrolment import pages as enrolment_pages
from cloud.enrolment.door_mqtt import DoorMqtt
from cloud.enrolment.drops import Drops
from cloud.enrolment.est import Desk
from cloud.enrolment.handshakes import Handshakes
from cloud.enrolment.office import Office
from cloud.enrolment.revocations import Revocations
from cloud.jobs import api as job_api
from cloud.jobs import pages as job_pages
from cloud.jobs import run as jobs_run
from cloud.jobs import store as jobs_store
from cloud.jobs.diagnostics import BYTES_MAX, Bundles
from cloud.jobs.orders import Groups
from cloud.jobs.requests import Requests
from cloud.jobs.service import Jobs
from cloud.jobs.sweep import Sweep
from cloud.link import api as link_api
from cloud.link import declared, delay_pages, series, sightings
from cloud.link import pages as link_pages
from cloud.link.books import Books
from cloud.link.delays import Delays
from cloud.operators import access, account_pages, security, token_pages
from cloud.operators import pages as operator_pages
from cloud.operators.accounts import Accounts
from cloud.recordings import api as recording_api
from cloud.recordings import cards, queue
from cloud.recordings import pages as recording_pages
from cloud.recordings.news import News as RecordingNews
from cloud.recordings.objects import FolderObjects
from cloud.recordings.orders import SWEEP_EVERY_S as SWEEP_TRANSCRIPTIONS_S
from cloud.recordings.orders import Orders
from cloud.recordings.uploads import Uploads
from cloud.settings import Settings
from cloud.telemetry import pages as telemetry_pages
from cloud.telemetry.fleet import MEASURE_EVERY_S, Watch
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.run import open_store
from cloud.telemetry.store import Point
from cloud.twin import api as twin_api
from cloud.twin import pages as twin_pages
from cloud.twin.requests import Requests as TwinRequests
from cloud.twin.service import Twins
from cloud.updates import api as update_api
from cloud.updates import pages as update_pages
from cloud.updates import service as update_service
from cloud.updates import tuf_files
from cloud.updates.catalogue import Catalogue
from cloud.web import front, listener, openapi
from cloud.web.application import build, build_pages
from cloud.web.languages import ZONE
from cloud.web.pages import Pages
from cloud.web.servers import Servers
from contract.captions import SetSitting
from contract.documents import PrintJob
from contract.ids import RANDOM_BYTES, uuid7
from contract.jobs import RETRIES_MAX, Status
from contract.updates import ApplyUpdate, CancelUpdate

log = logging.getLogger(__name__)

SERVICE = "svc-control"
SWEEP_CERTIFICATES_S = 60.0
DROP_CONNECTIONS_S = 1.0
SWEEP_SESSIONS_S = 600.0
SWEEP_RECORDINGS_S = 60.0
SITTING_STARTED_S = 60.0
"""A recorder has so long to take a new state of its sitting."""
UPDATE_STARTED_S = 300.0
"""A device has so long to write an assignment down."""
UPDATE_WAITS_S = 7 * 86_400.0
"""A device that was away learns of an assignment when it is back, for a week."""
SWEEP_DELAYS_S = 2.0
WRITE_LEDGER_S = 30.0
RENEW_TIMESTAMP_S = 3600.0
SITTING_WAITS_S = 12 * 3600.0
"""A recorder that was away learns of its sitting when it is back, on the same day."""

GROUPS = Groups(groups.names, groups.members)


def now() -> datetime:
    """The one clock of the process."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Ground:
    """What every way stands on."""

    settings: Settings
    engine: sa.Engine
    sessions: sessionmaker[Session]
    broker: Broker


@dataclass(frozen=True)
class Members:
    """What enrolment is made of."""

    desk: Desk
    office: Office
    revocations: Revocations
    drops: Drops
    handshakes: Handshakes


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
    updates: update_service.Updates
    objects: FolderObjects
    uploads: Uploads
    recording_news: RecordingNews
    orders: Orders
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
    pki.load(settings.pki_dir, settings.certificates.key_file)
    with executor_lock(settings.data_dir, settings.executor_id):
        engine = connect(settings.main_database_url)
        try:
            migrate.check(engine)
            sessions = sessionmaker(engine, expire_on_commit=False)
            broker = Broker(settings.broker, name=SERVICE, pki=settings.pki_dir, sessions=sessions, clock=now)
            with executor_lock_in(engine, settings.executor_id):
                yield Ground(settings, engine, sessions, broker)
        finally:
            engine.dispose()


@contextmanager
def make_ways(ground: Ground) -> Iterator[Ways]:
    """Every way, knowing of the others what it was handed here."""
    settings, sessions = ground.settings, ground.sessions
    figures = BrokerFigures(settings.broker.connections_max)
    jobs = Jobs(sessions=sessions, publish=ground.broker.publish, clock=now)
    bundles = Bundles(settings.data_dir / "objects" / "diagnostics", sessions, now, _new_id)
    ledger = Ledger(settings.telemetry_database)
    with (
        closing(Watch(sessions, open_store(settings), ledger, now, figures)) as watch,
        closing(RegistryHttp(settings.documents.registry_url)) as registry,
        closing(PaymentsHttp(settings.documents.payments_url)) as payments,
    ):
        documents = _documents(ground, jobs, registry, payments)
        objects = FolderObjects(settings.objects_dir)
        orders = Orders(sessions, queue.enqueue, queue.standing, now)
        captions = _captions(ground, jobs)
        members = _members(ground, jobs)
        twins = Twins(sessions=sessions, publish=ground.broker.publish, clock=now)
        yield Ways(
            members,
            jobs,
            bundles,
            captions,
            watch,
            Books(sessions, ledger.sessions, now),
            Delays(sessions, ground.broker.publish, lambda: ground.broker.connected, now),
            documents,
            _updates(ground, jobs),
            objects,
            Uploads(sessions, objects, orders.uploaded, clock=now, new_id=_new_id),
            RecordingNews(orders.uploaded),
            orders,
            twins,
            _presences(ground, members, jobs, twins, captions),
            figures,
        )


def _members(ground: Ground, jobs: Jobs) -> Members:
    settings, chosen = ground.settings, ground.settings.certificates
    issuer = pki.load(settings.pki_dir, chosen.key_file)
    revocations = Revocations(ground.sessions, settings.pki_dir, chosen.key_file)
    broker = settings.broker
    door = DoorMqtt(broker, settings.pki_dir, issuer, now) if broker.tls else None
    return Members(
        desk=Desk(
            issuer,
            ground.sessions,
            now,
            timedelta(days=chosen.device_days),
            timedelta(days=chosen.expired_grace_days),
        ),
        office=Office(
            ground.sessions, revocations.publish, jobs.remove, partial(issuers.read, settings.pki_dir)
        ),
        revocations=revocations,
        drops=Drops(ground.sessions, revocations, door, broker.root, now),
        handshakes=Handshakes(),
    )


def _new_id() -> str:
    return uuid7(int(now().timestamp() * 1000), os.urandom(RANDOM_BYTES))


def _documents(ground: Ground, jobs: Jobs, registry: Registry, payments: Payments) -> Documents:
    settings, chosen = ground.settings, ground.settings.documents

    def offer(device: str, document: str, sha256: str, size: int, timeout_s: float) -> str:
        job = print_job(document)
        paper = msgspec.to_builtins(PrintJob(document=document, sha256=sha256, size=size))
        with ground.sessions.begin() as session:
            jobs.create(
                session, job, paper, [device], in_progress_timeout_s=timeout_s, queued_expiry_s=timeout_s
            )
        return job

    tools = Tools(
        sessions=ground.sessions,
        contents=Contents(load_key(settings.data_dir), timedelta(days=chosen.purge_after_days)),
        kinds=kinds.load(),
        registry=registry,
        payments=payments,
        limits=Limits(printing_s=chosen.print_timeout_s),
        clock=now,
        chance=os.urandom,
    )
    pki_dir = settings.pki_dir
    documents = Documents(
        tools,
        render=TypstRenderer(),
        seal=PyhankoSealer(pki_dir / "seal.key", pki_dir / "seal.pem", pki_dir / "authorities.pem"),
        offer=offer,
        public_url=settings.public_url,
    )
    jobs.on_ended(documents.news.on_job_ended)
    return documents


def _captions(ground: Ground, jobs: Jobs) -> Captions:
    def create_job(session: Session, job: str, device: str, document: SetSitting) -> None:
        jobs.create(
            session,
            job,
            msgspec.to_builtins(document),
            [device],
            in_progress_timeout_s=SITTING_STARTED_S,
            queued_expiry_s=SITTING_WAITS_S,
            retries=RETRIES_MAX,
        )
        for older in overtaken(jobs.waiting(session, device), document.session, document.version):
            jobs.cancel(session, older, force=True)

    captions = Captions(ground.sessions, create_job, Hub())
    captions.load()

    def ended(job: str, device: str, _status: Status) -> None:
        told = told_by(job)
        if told is not None:
            with ground.sessions() as session:
                stored = jobs_store.find(session, job, device)
            details = stored.execution.details if stored is not None else {}
            captions.recorder_answered(*told, details.get("recogniser", ""))

    jobs.on_ended(ended)
    return captions


def _presences(ground: Ground, members: Members, jobs: Jobs, twins: Twins, captions: Captions) -> Presences:
    chosen = ground.settings.presence

    def came(device: str) -> None:
        members.drops.noticed(device)
        jobs.notices.announce(device)
        twins.announce(device)

    return Presences(
        ground.sessions,
        Rules(
            ZONE,
            PresenceLimits(
                will_holds_s=chosen.will_holds_s,
                late_after_s=chosen.late_after_s,
                gone_after_s=chosen.gone_after_s,
                proof_after_s=chosen.proof_after_s,
                flap_window_s=chosen.flap_window_s,
                flaps=chosen.flaps,
            ),
            incident_core.Limits(chosen.together_s, chosen.over_after_s),
            _tolerance(ground.settings),
        ),
        clock=now,
        words_since=lambda: ground.broker.connected_since,
        on_online=came,
        on_change=captions.presence_changed,
    )


def _tolerance(settings: Settings) -> Tolerance:
    return Tolerance(settings.presence.early_s, settings.presence.late_s)


def _updates(ground: Ground, jobs: Jobs) -> update_service.Updates:
    chosen = ground.settings.updates

    def create_job(
        session: Session,
        job: str,
        document: ApplyUpdate | CancelUpdate,
        devices: Sequence[str],
        per_minute: int | None,
    ) -> None:
        jobs.create(
            session,
            job,
            msgspec.to_builtins(document),
            devices,
            in_progress_timeout_s=UPDATE_STARTED_S,
            queued_expiry_s=UPDATE_WAITS_S,
            per_minute=per_minute,
        )

    def details(job: str, device: str) -> dict[str, str]:
        with ground.sessions() as session:
            stored = jobs_store.find(session, job, device)
        return stored.execution.details if stored is not None else {}

    updates = update_service.Updates(
        update_service.Tools(
            sessions=ground.sessions,
            catalogue=Catalogue(chosen.repository_dir, chosen.timestamp_key_file),
            create_job=create_job,
            cancel_job=partial(jobs.cancel, force=True),
            details=details,
            clock=now,
            group_names=groups.names,
            group_members=groups.members,
        )
    )
    jobs.on_ended(updates.on_job_ended)
    return updates


def _subscribe(ground: Ground, ways: Ways) -> None:
    """Who takes which topic."""
    requests = Requests(ways.jobs, ground.broker.publish)
    twins = TwinRequests(ways.twins, ground.broker.publish)
    comings = sightings.Sightings(ways.delays.on_online)

    def presence(message: Received) -> None:
        ways.presences.take(message)
        comings.take(message)

    for topic_name, handler in {
        "presence": presence,
        "job-get": requests.get,
        "job-start-next": requests.start_next,
        "job-describe": requests.describe,
        "job-update": requests.update,
        "twin-get": twins.get,
        "twin-update": twins.update,
        "twin-delete": twins.delete,
        "evidence": ways.documents.news.on_evidence,
        "caption-final": ways.captions.on_final,
        "caption-partial": ways.captions.on_partial,
        "updates": ways.updates.on_news,
        "recordings": ways.recording_news.on_news,
        "floor": ways.recording_news.on_floor,
        "dropped": declared.take,
    }.items():
        ground.broker.subscribe(topic_name, handler)
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
                authorities=issuers.renewable(settings.pki_dir),
                client="optional",
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
    accounts = Accounts(ground.sessions)
    routers = [
        front.router(health, secure=secure),
        operator_pages.router(ground.sessions, accounts, now=now, secure=secure),
        account_pages.router(ground.sessions, accounts),
        token_pages.router(ground.sessions),
        enrolment_pages.router(ways.members.office),
        enrolment_api.router(ways.members.office),
        telemetry_pages.router(ways.watch),
        device_pages.router(
            ground.sessions,
            [
                partial(telemetry_pages.device_section, ways.watch),
                partial(twin_pages.device_section, ways.twins),
                partial(link_pages.device_section, ways.books),
                partial(job_pages.device_section, ground.sessions),
            ],
        ),
        twin_pages.router(ground.sessions, ways.twins),
        twin_api.router(ground.sessions, ways.twins),
        incident_pages.router(ground.sessions, _tolerance(ground.settings)),
        incident_api.router(ground.sessions),
        link_pages.router(ways.books),
        link_api.router(ways.books),
        delay_pages.router(ways.delays),
        delay_pages.api_router(ways.delays),
        group_pages.router(ground.sessions),
        group_api.router(ground.sessions),
        job_pages.router(ground.sessions, ways.jobs, GROUPS),
        job_api.router(ground.sessions, ways.jobs, GROUPS, ways.bundles),
        document_verify.router(ground.sessions, ways.documents.tools.kinds, clock=now),
        document_staff.router(ways.documents),
        caption_pages.router(ways.captions),
        caption_staff.router(ways.captions),
        update_pages.router(ways.updates),
        update_api.router(ways.updates),
        recording_pages.router(_recording_desk(ground, ways)),
        assembly_pages.router(ground.sessions),
    ]
    app = build_pages("Civic Fleet", routers, pages=Pages(), secure=secure)
    openapi.describe(app, who=security.WHO, security=security.scheme(secure=secure))
    access.protect(app, ground.sessions, now=now, secure=secure)
    return app


def _recording_desk(ground: Ground, ways: Ways) -> recording_pages.Desk:
    return recording_pages.Desk(
        sessions=ground.sessions,
        store=LocalStore(ground.settings.objects_dir),
        orders=ways.orders,
        card=cards.card(ground.settings.transcription.model),
    )


def bootstrap_app(ground: Ground, ways: Ways) -> FastAPI:
    """The application of the bootstrap listener: EST and nothing else."""
    routes = est.router(ways.members.desk, ground.settings.pki_dir)
    return build("Civic Fleet enrolment", [routes], body_bytes_max=est.BODY_BYTES_MAX)


def device_app(ground: Ground, ways: Ways) -> FastAPI:
    """The application of the device listener: enrolled devices only."""
    routers = [
        guard.device_router(ground.sessions, now=now),
        job_api.device_router(ways.bundles),
        document_api.router(ways.documents.counter, ground.sessions),
        tuf_files.router(ways.updates.catalogue),
        recording_api.router(ways.uploads),
    ]
    app = build("Civic Fleet devices", routers, body_bytes_max=BYTES_MAX)
    openapi.describe(app, who="For devices with a certificate of this fleet (mutual TLS).")
    guard.protect(app, ground.sessions, now=now)
    return app


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
                *(tasks.create_task(_repeat(*one), name=one[0]) for one in _chores(ground, ways)),
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


def _chores(ground: Ground, ways: Ways) -> list[tuple[str, float, Callable[[], object]]]:
    """What is done again and again: name, seconds between, what."""
    accounts = Accounts(ground.sessions)

    def forget() -> None:
        accounts.purge(now())
        with ground.sessions.begin() as session:
            tokens.purge(session, now())

    return [
        (
            "certificates",
            SWEEP_CERTIFICATES_S,
            partial(_sweep_certificates, ground, ways),
        ),
        ("connections", DROP_CONNECTIONS_S, ways.members.drops.carry_out),
        ("sessions", SWEEP_SESSIONS_S, forget),
        ("timestamp", RENEW_TIMESTAMP_S, lambda: ways.updates.catalogue.renew_timestamp(now())),
        ("recordings", SWEEP_RECORDINGS_S, ways.uploads.sweep),
        ("transcriptions", SWEEP_TRANSCRIPTIONS_S, ways.orders.sweep),
        ("presence", SWEEP_PRESENCE_S, ways.presences.sweep),
        *(
            [("figures", MEASURE_EVERY_S, ways.watch.measure)]
            if ground.settings.telemetry.store == "influx"
            else []
        ),
        ("delays", SWEEP_DELAYS_S, ways.delays.sweep),
        ("ledger", WRITE_LEDGER_S, lambda: _write_ledger(ground.settings, ways)),
    ]


def _write_ledger(settings: Settings, ways: Ways) -> None:
    """Put the ledger into the store that Grafana reads; the embedded one has no Grafana."""
    if settings.telemetry.store != "influx":
        return
    ledger = ways.books.ledger()
    at_ms = int(ledger.at.timestamp() * 1000)
    points = [
        Point(each.device, each.site, each.kind, at_ms, series.values(each), series.MEASUREMENT)
        for each in ledger.accounts
    ]
    if points:
        ways.watch.store.write(points)


def _sweep_certificates(ground: Ground, ways: Ways) -> None:
    grace = timedelta(seconds=ground.settings.certificates.superseded_grace_s)
    members.sweep(ground.sessions, now(), grace)
    ways.members.revocations.publish(now())
    ways.members.handshakes.store(ground.sessions, now())


async def _repeat(name: str, every_s: float, chore: Callable[[], object]) -> None:
    while True:
        try:
            await asyncio.to_thread(chore)
        except Exception:  # a database that is away for a while must not end the chore for ever
            log.exception("chore_failed", extra={"chore": name})
        await asyncio.sleep(every_s)


def _database_answers(engine: sa.Engine) -> bool:
    """Without a transaction: on SQLite ours would wait for the write lock."""
    try:
        with contextlib.closing(engine.raw_connection()) as connection:
            connection.cursor().execute("SELECT 1")
    except sa.exc.SQLAlchemyError:
        log.exception("database_unavailable")
        return False
    return True
