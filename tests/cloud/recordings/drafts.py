"""A recording with a draft, as pages show it: real sound to listen to, lines, microphones, a roster."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import obstore
from obstore.store import LocalStore
from sqlalchemy.orm import Session

from cloud.assembly import roster
from cloud.assembly.roster import Member
from cloud.database.models.devices import Device
from cloud.recordings import closed, runs, sound
from cloud.recordings.guards import Heard, Word
from cloud.recordings.joining import Floor, pieces
from cloud.recordings.listening import listen_key
from cloud.recordings.sound import ListenCopy
from cloud.recordings.stretches import Stretch, Timeline
from tests.cloud.recordings.halls import HALL, RECORDING, SESSION, Take, arrive, floor, tone

RATE_HZ = 16_000
MEMBERS = [
    Member("C1", "Fjolla Testi", "", chair=True),
    Member("A1", "Љиљана Пробић", "Grupi <B> & të tjerët", chair=False),
]
TURNS = [("C1", 0, 4000), ("A1", 4000, 12_000), ("X9", 64_000, 66_000)]
SAID = [
    (200, "Good morning to all of you."),
    (4300, "The roof of the school is leaking."),
    (8200, "Children sit in cold rooms."),
    (12_900, "Somebody without a microphone."),
    (64_200, "It will be dry <soon> & safe."),
]
"""ms of the sitting; a closed part of which nothing was recorded lies before the last line."""
CLOSED = [(20_000, "closed_to_public"), (60_000, "open")]


def heard() -> list[Heard]:
    """The lines as an engine hears them, in ms of the sitting; the third is doubtful."""
    found = []
    for number, (start, text) in enumerate(SAID, 1):
        words = tuple(
            Word(start + at * 250, start + at * 250 + 230, f" {word}", 0.95)
            for at, word in enumerate(text.split())
        )
        logprob = -1.2 if number == 3 else -0.1
        found.append(
            Heard(
                start_ms=start,
                end_ms=words[-1].end_ms,
                words=words,
                logprob=logprob,
                no_speech=0,
                compression=1,
            )
        )
    return found


def uploaded(
    database: Session,
    objects: LocalStore,
    at: datetime,
    lang: str = "en",
    turns: Sequence[tuple[int, str]] = CLOSED,
) -> str:
    """A recording of 20 s, in two segments with a pause between them, and its roster."""
    database.add(Device(device=HALL, kind="recorder", site="x", registered_at=at))
    takes = [Take(tone(14_000, RATE_HZ), RATE_HZ, 0), Take(tone(6000, RATE_HZ), RATE_HZ, 62_000)]
    recording = arrive(database, objects, takes, at, lang=lang, turns=turns)
    floor(database, TURNS, at)
    roster.replace(database, HALL, MEMBERS)
    return recording


def drafted(
    database: Session,
    objects: LocalStore,
    at: datetime,
    folder: Path,
    turns: Sequence[tuple[int, str]] = CLOSED,
) -> str:
    """The same with a draft and its copy to listen to, of all that was recorded."""
    recording = uploaded(database, objects, at, turns=turns)
    database.flush()
    whole = closed.cut(runs.segments(database, recording), [])
    path = folder / "listen.ogg"
    with ListenCopy(path) as copy:
        _, total_ms = sound.look(objects, whole.parts, copy)
    obstore.put(objects, listen_key(recording), path)
    attempt = runs.ask(database, recording, at)
    database.flush()
    run = runs.load(database, recording, attempt)
    runs.begin(database, run, at)
    runs.plan(database, run, [Stretch(0, total_ms)], at)
    lines = pieces(heard(), Floor(runs.floor(database, SESSION)))
    runs.draft(database, run, lines, model="whisper-base", now=at)
    assert Timeline(whole.spans).total_ms == total_ms == whole.total_ms
    assert recording == RECORDING
    return recording
