"""The debate of the simulated city through the real model: few words wrong, and the right speakers."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cloud.recordings import closed, sound
from cloud.recordings.guards import Doubt
from cloud.recordings.joining import Floor, FloorChange, Piece, pieces
from cloud.recordings.models import WANTED, WHISPER_DIR
from cloud.recordings.sound import ENGINE_HZ, ListenCopy
from cloud.recordings.stretches import Segment, cut
from cloud.recordings.transcription import _moved
from cloud.recordings.whisper import Whisper
from simulators.debate.synthesis import SpokenLine
from tests import speech
from tests.cloud.recordings.halls import samples, store, wav

WORD_ERROR_MAX = 0.08
SPEAKER_RIGHT_MIN = 0.9
MODELS = speech.MODELS

pytestmark = pytest.mark.speech


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    missing = [wanted.target for wanted in WANTED if not (MODELS / wanted.target).exists()]
    if missing:
        pytest.fail(f"{', '.join(missing)} missing: python -m cloud.recordings.models --into {MODELS}")
    return Whisper(MODELS / WHISPER_DIR, threads=1)


def transcript(
    folder: Path, whisper: Whisper, lines: Sequence[SpokenLine], stretch_ms: int, slack_ms: int
) -> list[Piece]:
    """What the worker makes of these lines of the debate, stored in two segments."""
    pcm, rate = samples(speech.debate()[0])
    until_ms = lines[-1].end_ms + 500
    pcm = pcm[: until_ms * rate // 1000]
    middle = len(pcm) // 2
    objects = store(folder / "objects")
    segments = []
    for number, part in enumerate((pcm[:middle], pcm[middle:]), 1):
        content = wav(part, rate)
        (folder / "objects" / f"{number}.wav").write_bytes(content)
        start_ms = 0 if number == 1 else middle * 1000 // rate
        segments.append(
            Segment(
                number, start_ms, len(part) * 1000 // rate, len(content), sha256(content), f"{number}.wav"
            )
        )
    parts = closed.cut(segments, []).parts
    with ListenCopy(folder / "listen.ogg") as copy:
        levels, total_ms = sound.look(objects, parts, copy)
    heard = []
    for stretch in cut(levels, total_ms, target_ms=stretch_ms, slack_ms=slack_ms):
        found = whisper.hear(sound.read(objects, parts, stretch), "en")
        heard += [_moved(each, stretch) for each in found]
    floor = [
        FloorChange(at, line.speaker, taken)
        for line in lines
        for at, taken in ((line.start_ms - 200, True), (line.end_ms + 200, False))
    ]
    return pieces(heard, Floor(floor))


def sha256(content: bytes) -> str:

    return hashlib.sha256(content).hexdigest()


def speaker_right(found: Sequence[Piece], lines: Sequence[SpokenLine]) -> float:
    """Share of the lines' time that is with whoever really spoke then."""
    right = sum(
        max(0, min(piece.end_ms, line.end_ms) - max(piece.start_ms, line.start_ms))
        for piece in found
        for line in lines
        if piece.seat == line.speaker
    )
    return right / sum(piece.end_ms - piece.start_ms for piece in found)


@pytest.mark.parametrize(
    ("count", "stretch_ms", "slack_ms"),
    [(7, 20_000, 5000), pytest.param(15, 600_000, 120_000, marks=pytest.mark.long)],
)
def test_the_debate(count: int, stretch_ms: int, slack_ms: int, tmp_path: Path, whisper: Whisper) -> None:
    lines = speech.debate()[1].lines[:count]
    found = transcript(tmp_path, whisper, lines, stretch_ms, slack_ms)
    error = speech.word_error(" ".join(line.text for line in lines), [piece.text for piece in found])
    assert error <= WORD_ERROR_MAX, [piece.text for piece in found]
    assert speaker_right(found, lines) >= SPEAKER_RIGHT_MIN
    assert not any(piece.marks for piece in found)
    assert len({piece.seat for piece in found}) == len({line.speaker for line in lines})


def test_silence_and_noise_are_no_words(whisper: Whisper) -> None:
    chance = np.random.default_rng(7)
    quiet = np.zeros(20 * ENGINE_HZ, np.float32)
    noise = (chance.standard_normal(20 * ENGINE_HZ) * 0.02).astype(np.float32)
    for each in (quiet, noise):
        lines = pieces(whisper.hear(each, "en"), Floor([]))
        assert all(line.marks & {Doubt.INAUDIBLE, Doubt.LOW_CONFIDENCE} for line in lines), lines
    assert whisper.hear(np.zeros(0, np.float32), "en") == []
