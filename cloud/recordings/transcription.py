"""Carries out what the core decides about a transcription: durable runs of steps, one for each stretch.

The database's rows are the truth, as in `cloud.documents.run`: a step looks at them, does one thing, writes
it down, and asks what comes next. A worker that is killed costs the stretch that it was at; a step that is
done twice finds its result and writes none. Steps carry ids and numbers only.
"""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec
from dbos import DBOS, DBOSConfiguredInstance, error
from obstore.store import ObjectStore
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import for_reading
from cloud.database.models.transcription import TranscriptionStretch
from cloud.recordings import listening, runs, sound, stretches, turns
from cloud.recordings.cards import Card
from cloud.recordings.closed import Cut
from cloud.recordings.guards import Heard
from cloud.recordings.joining import Floor, pieces
from cloud.recordings.queue import CLASS, INSTANCE
from cloud.recordings.sound import ListenCopy, Samples, SoundError
from cloud.recordings.stretches import Timeline
from cloud.recordings.turns import Reason

log = logging.getLogger(__name__)

TURNS_MAX = 2000
"""Steps of one run: a week of sound in stretches of ten minutes, and the rest."""
ATTEMPTS = 3
"""Of a step that an error ends."""
RETRY_S = 0.5


class Engine(Protocol):
    """What turns sound into words."""

    def hear(self, samples: Samples, lang: str) -> list[Heard]:
        """What is said in `lang`, in ms from the beginning of `samples`."""


@dataclass(frozen=True)
class Bench:
    """What a worker works with. `engine` is None where there is no model; `allowed` are languages by name."""

    sessions: sessionmaker[Session]
    store: ObjectStore
    engine: Engine | None
    model: str
    card: Card
    allowed: frozenset[str]
    clock: Callable[[], datetime]
    stretch_ms: int = stretches.STRETCH_MS
    slack_ms: int = stretches.SLACK_MS


@DBOS.dbos_class(CLASS)
class Transcription(DBOSConfiguredInstance):
    """The transcription of one worker; make it before `cloud.database.workflows.running` is entered."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(INSTANCE)
        self._bench = bench
        self._reading = for_reading(bench.sessions)

    @DBOS.workflow()
    def transcribe(self, recording: str, attempt: int) -> str:
        """Do what the run asks for until it has ended; gives the state in which it is."""
        steps = {"prepare": self._prepare, "hear": self._hear, "write": self._write, "give-up": self._give_up}
        do, number = "prepare", 0
        try:
            for _ in range(TURNS_MAX):
                if do not in steps:
                    return do
                do, number = steps[do](recording, attempt, number)
        except error.DBOSMaxStepRetriesExceeded:
            self._failed(recording, attempt)
        return "failed"

    @DBOS.step(retries_allowed=True, max_attempts=ATTEMPTS, interval_seconds=RETRY_S)
    def _prepare(self, recording: str, attempt: int, _number: int) -> tuple[str, int]:
        """Look at the sound, copy it for listeners, cut it into stretches."""
        bench = self._bench
        with bench.sessions.begin() as database:
            run = runs.load(database, recording, attempt)
            if run.state not in turns.OPEN or run.stretches is not None:
                return self._next(database, recording, attempt)
            lang = runs.begin(database, run, bench.clock()).lang
            heard = runs.audible(database, recording)
        if not heard.parts:
            reason = Reason.CLOSED if heard.removed else Reason.EMPTY
            return self._end(recording, attempt, "fail", reason)
        try:
            levels, total_ms = self._look(recording, heard)
        except SoundError as broken:
            log.warning("recording_unreadable", extra={"recording": recording, "reason": str(broken)})
            return self._end(recording, attempt, "fail", broken.reason, broken.segment)
        refused = turns.refusal(
            model=bench.engine is not None,
            measured=lang in bench.card.languages,
            allowed=lang in bench.allowed,
        )
        if refused is not None:
            return self._end(recording, attempt, "refuse", refused)
        cuts = stretches.cut(levels, total_ms, target_ms=bench.stretch_ms, slack_ms=bench.slack_ms)
        with bench.sessions.begin() as database:
            run = runs.load(database, recording, attempt)
            if run.state in turns.OPEN and run.stretches is None:
                runs.plan(database, run, cuts, bench.clock())
                database.flush()
            return self._next(database, recording, attempt)

    def _look(self, recording: str, heard: Cut) -> tuple[list[float], int]:
        with tempfile.TemporaryDirectory(prefix="listen-") as folder:
            path = Path(folder) / "listen.ogg"
            with ListenCopy(path) as copy:
                looked = sound.look(self._bench.store, heard.parts, copy)
            listening.replace(self._bench.store, recording, heard.signature, path)
        return looked

    @DBOS.step(retries_allowed=True, max_attempts=ATTEMPTS, interval_seconds=RETRY_S)
    def _hear(self, recording: str, attempt: int, number: int) -> tuple[str, int]:
        """Transcribe one stretch."""
        bench = self._bench
        with bench.sessions.begin() as database:
            run = runs.load(database, recording, attempt)
            row = database.get(TranscriptionStretch, (recording, attempt, number))
            if run.state not in turns.OPEN or row is None or row.heard is not None:
                return self._next(database, recording, attempt)
            audible = runs.audible(database, recording)
            if not runs.as_planned(database, run, audible, bench.clock()):
                return self._next(database, recording, attempt)
            row.begun += 1
            stretch = stretches.Stretch(row.start_ms, row.end_ms)
            lang = runs.begin(database, run, bench.clock()).lang
        assert bench.engine is not None, "a run without a model was refused"
        try:
            samples = sound.read(bench.store, audible.parts, stretch)
        except SoundError as broken:
            return self._end(recording, attempt, "fail", broken.reason, broken.segment)
        heard = [_moved(each, stretch) for each in bench.engine.hear(samples, lang)]
        with bench.sessions.begin() as database:
            run = runs.load(database, recording, attempt)
            row = database.get(TranscriptionStretch, (recording, attempt, number), with_for_update=True)
            if row is not None and row.heard is None:
                row.heard = msgspec.json.encode(heard)
                run.updated_at = bench.clock()
                database.flush()
            following = self._next(database, recording, attempt)
        log.info("stretch_heard", extra={"recording": recording, "attempt": attempt, "stretch": number})
        return following

    @DBOS.step(retries_allowed=True, max_attempts=ATTEMPTS, interval_seconds=RETRY_S)
    def _write(self, recording: str, attempt: int, _number: int) -> tuple[str, int]:
        """Join what was heard with the hall's microphones, and write the draft."""
        bench = self._bench
        with bench.sessions.begin() as database:
            run = runs.load(database, recording, attempt)
            if run.state in turns.OPEN:
                audible = runs.audible(database, recording)
                if not runs.as_planned(database, run, audible, bench.clock()):
                    return self._next(database, recording, attempt)
                session = runs.begin(database, run, bench.clock()).session
                timeline = Timeline(audible.spans)
                heard = [_timed(each, timeline) for each in runs.heard(database, run)]
                lines = pieces(heard, Floor(runs.floor(database, session)), audible.breaks_between)
                runs.draft(database, run, lines, model=bench.model, now=bench.clock())
            state = run.state
        log.info("draft_written", extra={"recording": recording, "attempt": attempt})
        return state, 0

    @DBOS.step(retries_allowed=True, max_attempts=ATTEMPTS, interval_seconds=RETRY_S)
    def _give_up(self, recording: str, attempt: int, _number: int) -> tuple[str, int]:
        """A stretch has killed the worker again and again."""
        return self._end(recording, attempt, "fail", Reason.WORKER_DIED)

    @DBOS.step(retries_allowed=True, max_attempts=ATTEMPTS, interval_seconds=RETRY_S)
    def _failed(self, recording: str, attempt: int) -> None:
        """A step has failed as often as it may."""
        self._end(recording, attempt, "fail", Reason.ERROR)

    def _next(self, database: Session, recording: str, attempt: int) -> tuple[str, int]:
        turn = runs.turn(database, recording, attempt)
        return turn.do, turn.number

    def _end(
        self, recording: str, attempt: int, event: str, reason: Reason, segment: int | None = None
    ) -> tuple[str, int]:
        with self._bench.sessions.begin() as database:
            run = runs.load(database, recording, attempt)
            runs.end(database, run, event, reason, segment=segment, now=self._bench.clock())
            state = run.state
        log.info(
            "transcription_ended", extra={"recording": recording, "attempt": attempt, "reason": reason.value}
        )
        return state, 0


def _moved(heard: Heard, stretch: stretches.Stretch) -> Heard:
    """From ms of the stretch to ms of the sound; nothing reaches beyond the stretch."""

    def place(start_ms: int, end_ms: int) -> tuple[int, int]:
        begin_ms, until_ms = stretch.start_ms + start_ms, stretch.start_ms + end_ms
        return min(begin_ms, stretch.end_ms), min(until_ms, stretch.end_ms)

    return _mapped(heard, place)


def _timed(heard: Heard, timeline: Timeline) -> Heard:
    """From ms of the sound to ms of the sitting; nothing reaches over a pause."""

    def place(start_ms: int, end_ms: int) -> tuple[int, int]:
        return timeline.sitting(start_ms), timeline.until(start_ms, end_ms)

    return _mapped(heard, place)


def _mapped(heard: Heard, place: Callable[[int, int], tuple[int, int]]) -> Heard:
    words = []
    for word in heard.words:
        start_ms, end_ms = place(word.start_ms, word.end_ms)
        words.append(msgspec.structs.replace(word, start_ms=start_ms, end_ms=end_ms))
    start_ms, end_ms = place(heard.start_ms, heard.end_ms)
    return msgspec.structs.replace(heard, start_ms=start_ms, end_ms=end_ms, words=tuple(words))
