"""`python -m cloud ingest`: the process that brings telemetry from the broker into the store."""

import gc
import logging
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import connect
from cloud.database.models.devices import Device
from cloud.errors import SettingsError, UnavailableError
from cloud.settings import Settings
from cloud.settings import Telemetry as TelemetrySettings
from cloud.telemetry import hearing
from cloud.telemetry.core import Member
from cloud.telemetry.hearing import Hearing
from cloud.telemetry.ingest import Ingest
from cloud.telemetry.keeper import Keeper
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.own_metrics import OwnMetrics
from cloud.telemetry.store import TelemetryStore
from cloud.telemetry.store_sqlite import SqliteStore

log = logging.getLogger(__name__)

SERVICE = "svc-ingest"
FORGET_EVERY_S = 3600.0
HEARD_EVERY_S = 5.0
"""How often presence learns of whom the ingest has heard; shorter than between two samples."""
GARBAGE_MAX = 50_000
"""Objects between two collections of garbage; a batch makes and drops some ten thousand."""


def open_store(settings: Settings) -> TelemetryStore:
    """The store that the settings name.

    Raises:
        SettingsError: it lacks an address, or its token cannot be read.
    """
    chosen = settings.telemetry
    if chosen.store == "sqlite":
        return SqliteStore(settings.telemetry_database)
    if not chosen.url:
        raise SettingsError("telemetry.url is missing: name the root of the server that takes the points")
    from cloud.telemetry.store_influx import InfluxStore  # half a second and 40 MB: only for who has it

    return InfluxStore(chosen.url, bucket=chosen.bucket, org=chosen.org, token=_token(chosen))


def ingest(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    ledger = Ledger(settings.telemetry_database)
    store = open_store(settings)
    engine = connect(settings.main_database_url)
    sessions = sessionmaker(engine)
    listening = Hearing(settings.presence.drain_s)
    keeper = Keeper(
        store,
        ledger,
        lambda: _members(sessions),
        clock=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        stop=stop,
        # The status page reads presence itself; what Grafana shows stands in the series.
        own=OwnMetrics(SERVICE, datetime.now(UTC)) if settings.telemetry.store == "influx" else None,
        hearing=listening,
    )
    consumer = Ingest(
        settings.broker,
        name=SERVICE,
        pki=settings.pki_dir,
        keeper=keeper,
        monotonic=time.monotonic,
        stop=stop,
    )
    helpers = [
        threading.Thread(target=_forget, args=(settings, store, ledger, stop), name="retention"),
        threading.Thread(target=_tell, args=(listening, sessions, stop), name="hearing"),
    ]
    for each in helpers:
        each.start()
    # What is loaded by now stays: a collection that walks through it costs more than the messages do.
    gc.freeze()
    gc.set_threshold(GARBAGE_MAX)
    try:
        consumer.run()
    finally:
        stop.set()
        for each in helpers:
            each.join()
        store.close()
        ledger.close()
        engine.dispose()


def _forget(settings: Settings, store: TelemetryStore, ledger: Ledger, stop: threading.Event) -> None:
    """Delete what is older than the settings keep, now and then."""
    while not stop.wait(FORGET_EVERY_S):
        now = datetime.now(UTC)
        before = now - timedelta(days=settings.telemetry.retention_days)
        try:
            store.forget(int(before.timestamp() * 1000))
            ledger.forget(now)
        except (UnavailableError, sa.exc.SQLAlchemyError):
            log.exception("retention_failed")


def _tell(listening: Hearing, sessions: sessionmaker[Session], stop: threading.Event) -> None:
    """Let presence know who was heard, again and again; at the end, that we do not listen any more."""
    while not stop.wait(HEARD_EVERY_S):
        _write_heard(sessions, listening.take(datetime.now(UTC)))
    _write_heard(sessions, replace(listening.take(datetime.now(UTC)), since=None))


def _write_heard(sessions: sessionmaker[Session], heard: hearing.Heard) -> None:
    try:
        with sessions.begin() as session:
            hearing.write(session, SERVICE, heard)
    except sa.exc.SQLAlchemyError:  # the next round says it anew, from the samples that came until then
        log.exception("hearing_not_written")


def _members(sessions: sessionmaker[Session]) -> Mapping[str, Member]:
    registered = sa.select(Device.device, Device.site, Device.kind, Device.enrolled_at.is_not(None)).where(
        Device.decommissioned_at.is_(None)
    )
    try:
        with sessions.begin() as session:
            return {row[0]: Member(row[1], row[2], row[3]) for row in session.execute(registered)}
    except sa.exc.SQLAlchemyError as error:
        raise UnavailableError(f"the registry of devices cannot be read: {error}") from error


def _token(settings: TelemetrySettings) -> str:
    if settings.token_file is None:
        return ""
    try:
        return settings.token_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the token in {settings.token_file} cannot be read: {error}") from error
