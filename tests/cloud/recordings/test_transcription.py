"""One worker, many recordings: those that are broken fail with a sentence, and the queue goes on."""

import io
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import av
import msgspec
import numpy as np
import numpy.typing as npt
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
from cloud.recordings.sound import ENGINE_HZ, Pcm, Samples
from cloud.recordings.stretches import Stretch
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


OPEN_HZ, CLOSED_HZ = 440, 1000
CLOSED_TURNS = [(2000, "closed_to_public"), (5000, "open"), (8000, "paused")]
SURE_MS = 300
"""How late the sound of the closed part may be dated, by its recorder."""


def hum(hz: int, length_ms: int) -> Pcm:
    at = np.arange(RATE * length_ms // 1000)
    return (np.sin(at * 2 * np.pi * hz / RATE) * 9000).astype(np.int16)


SECRET = np.concatenate([hum(OPEN_HZ, 2000), hum(CLOSED_HZ, 3000), hum(OPEN_HZ, 3000), hum(CLOSED_HZ, 2000)])
"""What a recorder without a link kept: open until 2 s, closed, open from 5 s to 8 s, a break."""


def loud(pcm: npt.NDArray[np.float32], rate_hz: int, hz: int) -> float:
    """How much of a tone is in the sound, from 0 to 1."""
    spectrum = np.abs(np.fft.rfft(pcm))
    band = slice(int((hz - 20) * len(pcm) / rate_hz), int((hz + 20) * len(pcm) / rate_hz))
    return float(np.square(spectrum[band]).sum() / np.square(spectrum).sum())


def decoded(ogg: bytes) -> npt.NDArray[np.float32]:
    """What a browser hears, at 48 kHz."""
    with av.open(io.BytesIO(ogg)) as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32)


class Moody(Engine):
    """Fails on Serbian for ever, on every other language never."""

    failures = 0
    closed_heard = 0.0

    def hear(self, samples: Samples, lang: str) -> list[Heard]:
        self.closed_heard = max(self.closed_heard, loud(samples, ENGINE_HZ, CLOSED_HZ))
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
            for name in ("secret", "older"):
                self.add(database, name, [Take(SECRET, RATE, 0)], at, turns=CLOSED_TURNS)
            self.add(database, "shut", [Take(GOOD, RATE, 3000)], at, turns=[(2000, "closed_to_public")])
            database.flush()
            for name in ("secret", "older", "shut"):
                segment = database.get_one(RecordingSegment, (recording_id(name, CHANNEL), 1))
                segment.early_ms, segment.late_ms = 0, SURE_MS
            self.begun_by_an_older_release(database, recording_id("older", CHANNEL), at)
            missing = database.get(RecordingSegment, (recording_id("missing", CHANNEL), 1))
            changed = database.get(RecordingSegment, (recording_id("changed", CHANNEL), 1))
            assert missing is not None
            assert changed is not None
            obstore.delete(self.objects, missing.object_key)
            obstore.put(self.objects, changed.object_key, wav(GOOD[::-1], RATE))

    def begun_by_an_older_release(self, database: Session, recording: str, at: datetime) -> None:
        """It had copied, planned and heard all that was recorded, when the worker was replaced."""
        obstore.put(self.objects, listening.listen_key(recording), b"OggS of everything")
        attempt = runs.ask(database, recording, at)
        database.flush()
        run = runs.load(database, recording, attempt)
        runs.begin(database, run, at)
        runs.plan(database, run, [Stretch(0, 10_000)], at)
        database.flush()
        (stretch,) = runs.stretches(database, run)
        stretch.heard = msgspec.json.encode(self.engine.hear(np.ones(160_000, np.float32), "secret"))

    def add(
        self,
        database: Session,
        name: str,
        takes: list[Take],
        at: datetime,
        lang: str = "en",
        turns: Sequence[tuple[int, str]] = (),
    ) -> None:
        arrive(database, self.objects, takes, at, session=name, lang=lang, turns=turns)

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
    assert listening.size_of(hall.objects, listening.listen_key(recording_id("albanian", CHANNEL)))


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


@pytest.mark.parametrize("name", ["secret", "older"])
def test_nothing_of_a_closed_part_is_heard_or_written(name: str, hall: Hall) -> None:
    recording = recording_id(name, CHANNEL)
    assert hall.ended(name)[:2] == ("drafted", "done")
    with hall.sessions() as database:
        sound = runs.audible(database, recording)
        lines = database.scalars(
            sa.select(TranscriptPiece)
            .join(Transcript, Transcript.id == TranscriptPiece.transcript)
            .where(Transcript.recording == recording)
            .order_by(TranscriptPiece.number)
        ).all()
    assert sound.spans == [(0, 2000 - SURE_MS), (5000, 3000)]
    heard = decoded(obstore.get(hall.objects, listening.listen_key(recording, sound.signature)).bytes())
    assert len(heard) / 48_000 == pytest.approx(4.7, abs=0.1)
    assert loud(heard, 48_000, OPEN_HZ) > 0.95
    assert loud(heard, 48_000, CLOSED_HZ) < 0.001
    assert hall.engine.closed_heard < 0.001, "nor does the engine hear it"
    assert listening.size_of(hall.objects, listening.listen_key(recording)) is None, "no copy of everything"
    assert "".join(line.text for line in lines).count("en") == 4, "a word a second of what is left"
    assert all(line.end_ms <= 1700 or 5000 <= line.start_ms <= line.end_ms <= 8000 for line in lines)
    assert not any("secret" in line.text for line in lines)


def test_a_recording_of_closed_parts_alone_says_so(hall: Hall) -> None:
    assert hall.ended("shut") == ("uploaded", "failed", Reason.CLOSED, None)
