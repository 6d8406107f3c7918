"""`python -m cloud worker`: a process of its own that transcribes, niced, so that documents never wait."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa
from obstore.store import LocalStore
from sqlalchemy.orm import Session, sessionmaker

from cloud.database import migrate
from cloud.database.engine import connect
from cloud.database.lock import executor_lock, executor_lock_in
from cloud.database.metadata import complete
from cloud.database.models.transcription import TranscriptionWorker
from cloud.database.workflows import running
from cloud.recordings import cards, queue
from cloud.recordings.transcription import Bench, Transcription
from cloud.recordings.whisper import Whisper
from cloud.settings import Settings

log = logging.getLogger(__name__)

BEATS = 4
"""A worker says so often within its lease that it lives."""


def work(settings: Settings, clock: Callable[[], datetime]) -> None:
    """Transcribe until SIGTERM or SIGINT; what is under way then goes on at the next start.

    Raises:
        SettingsError: the database is not there, the model is not, or a worker with this executor id runs.
    """
    chosen = settings.transcription
    os.nice(chosen.niceness)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with executor_lock(settings.data_dir, chosen.executor_id):
        engine = connect(settings.main_database_url)
        migrate.check(engine)
        complete()  # a table cannot be written whose neighbours nobody has imported
        sessions = sessionmaker(engine, expire_on_commit=False)
        objects = settings.objects_dir
        objects.mkdir(mode=0o700, exist_ok=True)
        speech = Whisper(chosen.model_dir, chosen.threads) if chosen.model_dir is not None else None
        bench = Bench(
            sessions=sessions,
            store=LocalStore(objects),
            engine=speech,
            model=chosen.model,
            card=cards.card(chosen.model),
            allowed=frozenset(chosen.languages),
            clock=clock,
        )
        Transcription(bench)
        lease = Lease(sessions, chosen.executor_id, timedelta(seconds=chosen.lease_s), clock)
        lease.renew()
        with (
            executor_lock_in(engine, chosen.executor_id),
            running(
                settings.main_database_url,
                chosen.executor_id,
                name=queue.APPLICATION,
                version=queue.VERSION,
                queues=[queue.QUEUE],
                queue_poll_s=queue.POLL_S,
                poll_s=queue.POLL_S,
            ),
        ):
            log.info("worker_started", extra={"executor": chosen.executor_id, "model": chosen.model})
            _live(lease, stop, chosen.lease_s / BEATS)
            log.info("worker_stopped", extra={"executor": chosen.executor_id})
            logging.shutdown()
            # A stretch may take a minute, and is heard again at the next start anyway: nobody waits for it.
            os._exit(0)


class Lease:
    """Says that this worker lives, and takes over from those that do not."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        executor: str,
        length: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._sessions = sessions
        self._executor = executor
        self._length = length
        self._clock = clock

    def renew(self) -> None:
        """Say that this worker lives."""
        now = self._clock()
        with self._sessions.begin() as database:
            row = database.get(TranscriptionWorker, self._executor)
            if row is None:
                database.add(TranscriptionWorker(executor=self._executor, seen_at=now))
            else:
                row.seen_at = now

    def take_over(self) -> int:
        """Put back into the queue what workers had begun whose lease is over; gives how many runs."""
        over = self._clock() - self._length
        with self._sessions.begin() as database:
            gone = list(
                database.scalars(
                    sa.select(TranscriptionWorker.executor).where(
                        TranscriptionWorker.seen_at < over, TranscriptionWorker.executor != self._executor
                    )
                )
            )
        taken = queue.adopt(gone)
        with self._sessions.begin() as database:  # only now: a crash before it repeats the taking over
            database.execute(
                sa.delete(TranscriptionWorker).where(
                    TranscriptionWorker.executor.in_(gone), TranscriptionWorker.seen_at < over
                )
            )
        if gone:
            log.warning("workers_gone", extra={"executors": gone, "runs": taken})
        return taken


def _live(lease: Lease, stop: threading.Event, every_s: float) -> None:
    while True:
        try:
            lease.renew()
            lease.take_over()
        except sa.exc.SQLAlchemyError:  # a database that is away for a while must not end the worker
            log.exception("lease_not_renewed")
        if stop.wait(every_s):
            return
