"""One worker, many recordings: those that are broken fail with a sentence, and the queue goes on."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import obstore
import pytest
import sqlalchemy as sa
from obstore.store import LocalStore
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.recordings import Recording, RecordingSegment, Transcript, TranscriptPiece
from cloud.database.workflows import running
from cloud.recordings import listening, queue, runs
from cloud.recordings.cards import card
from cloud.recordings.guards import Heard
from cloud.recordings.orders import Orders
from cloud.recordings.sound import Samples
from cloud.recordings.transcription import ATTEMPTS, Bench, Transcription
from cloud.recordings.turns import OPEN, Reason
from contract.recordings import recording_id
from tests.cloud.recordings.halls import CHANNEL, Take, arrive, store, tone, wav
from tests.cloud.recordings.mortal import Engine

ENDED_S = 90.0
RATE = 16_000
GOOD = tone(3000)
FOREIGN = {
    "stereo": wav(GOOD, RATE, channels=2),
    "mp3": b"ID3\x04" + bytes(2000),
    "nothing": b"RIFF",
    "cut-off": wav(GOOD, RATE)[:-4000],
    "short": wav(GOOD[:RATE], RATE),
}
"""What a recorder announced as it is, but is no sound of the length that it said."""


def now() -> datetime:
    return datetime.now(UTC)


class Moody(Engine):
    """Fails on Serbian for ever, on every other language never."""

    failures = 0

    def hear(self, samples: Samples, lang: str) -> list[Heard]:
        if lang == "sr":
            self.failures += 1
            raise RuntimeError("out of memory")
        return super().hear(samples, lang)


class Hall:
    """Recordings of all kinds, and what became of them."""

    def __init__(self, folder: Path, engine: sa.Engine) -> None:
        self.sessions = sessionmaker(engine, expire_on_commit=False)
        self.objects: LocalStore = store(folder / "objects")
        self.engine = Moody()
        at = now()
        with self.sessions.begin() as database:
            for name, content in FOREIGN.items():
                self.add(database, name, [Take(GOOD, RATE, 0), Take(GOOD, RATE, 3000, content)], at)
            for name, lang in (("good", "en"), ("albanian", "sq"), ("serbian", "sr"), ("missing", "en")):
                self.add(database, name, [Take(GOOD, RATE, 0)], at, lang)
            self.add(database, "empty", [], at)
            self.add(database, "changed", [Take(GOOD, RATE, 0)], at)
            self.add(database, "last", [Take(GOOD, RATE, 0), Take(tone(2000, 48_000), 48_000, 60_000)], at)
            database.flush()
            missing = database.get(RecordingSegment, (recording_id("missing", CHANNEL), 1))
            changed = database.get(RecordingSegment, (recording_id("changed", CHANNEL), 1))
            assert missing is not None
            assert changed is not None
            obstore.delete(self.objects, missing.object_key)
            obstore.put(self.objects, changed.object_key, wav(GOOD[::-1], RATE))

    def add(self, database: Session, name: str, takes: list[Take], at: datetime, lang: str = "en") -> None:
        arrive(database, self.objects, takes, at, session=name, lang=lang)

    def ended(self, name: str) -> tuple[str, str, str, int | None]:
        """State of the recording; state, reason and segment of its run."""
        with self.sessions() as database:
            row = database.get(Recording, recording_id(name, CHANNEL))
            run = runs.newest(database, recording_id(name, CHANNEL))
        assert row is not None
        assert run is not None
        return row.state, run.state, run.reason, run.segment

    def open(self) -> int:
        with self.sessions() as database:
            return len(runs.open_runs(database))


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """All of them, after one worker has gone through its queue."""
    folder = tmp_path_factory.mktemp("hall")
    url = f"sqlite:///{folder / 'fleet.db'}"
    engine = connect(url)
    complete().create_all(engine)
    hall = Hall(folder, engine)
    Transcription(
        Bench(
            sessions=hall.sessions,
            store=hall.objects,
            engine=hall.engine,
            model="whisper-base",
            card=card("whisper-base"),
            allowed=frozenset({"sr"}),
            clock=now,
        )
    )
    with running(
        url,
        "w-1",
        name=queue.APPLICATION,
        version=queue.VERSION,
        queues=[queue.QUEUE],
        queue_poll_s=0.1,
        poll_s=0.1,
    ):
        Orders(hall.sessions, queue.enqueue, queue.standing, now).sweep()
        pause, until = threading.Event(), now().timestamp() + ENDED_S
        while hall.open() and now().timestamp() < until:
            pause.wait(0.1)
    yield hall
    engine.dispose()


def test_every_run_has_ended(hall: Hall) -> None:
    assert hall.open() == 0
    assert "queued" in OPEN


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_sound_fails_and_names_the_segment(name: str, hall: Hall) -> None:
    assert hall.ended(name) == ("uploaded", "failed", Reason.FORMAT, 2)


def test_what_is_missing_changed_or_empty_says_so(hall: Hall) -> None:
    assert hall.ended("missing") == ("uploaded", "failed", Reason.MISSING, 1)
    assert hall.ended("changed") == ("uploaded", "failed", Reason.CHANGED, 1)
    assert hall.ended("empty") == ("uploaded", "failed", Reason.EMPTY, None)


def test_a_language_that_nobody_measured_has_sound_and_no_draft(hall: Hall) -> None:
    assert hall.ended("albanian") == ("uploaded", "refused", Reason.NOT_MEASURED, None)
    assert listening.size_of(hall.objects, recording_id("albanian", CHANNEL)) is not None


def test_an_engine_that_keeps_failing_is_given_up(hall: Hall) -> None:
    assert hall.ended("serbian") == ("uploaded", "failed", Reason.ERROR, None)
    assert hall.engine.failures == ATTEMPTS


def test_the_others_have_their_draft(hall: Hall) -> None:
    assert hall.ended("good")[:2] == ("drafted", "done")
    assert hall.ended("last")[:2] == ("drafted", "done")
    with hall.sessions() as database:
        transcripts = database.scalars(
            sa.select(Transcript).where(Transcript.recording == recording_id("last", CHANNEL))
        ).all()
        (transcript,) = transcripts
        lines = database.scalars(
            sa.select(TranscriptPiece).where(TranscriptPiece.transcript == transcript.id)
        ).all()
    assert (transcript.version, transcript.language, transcript.model) == (1, "en", "whisper-base")
    assert max(line.end_ms for line in lines) > 60_000, "the pause is in the times of the sitting"
