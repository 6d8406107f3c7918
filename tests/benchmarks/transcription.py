"""Transcription: our way from stored segments to lines beside bare batched faster-whisper on the same sound.

Both run with the same model, options and one thread, in turn and each in a process of its own, so that their
memory can be told apart. What is done once for people (digest, copy to listen to) is reported apart.
"""

import hashlib
import multiprocessing
import resource
import statistics
import tempfile
import time
import wave
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from obstore.store import LocalStore

from cloud.recordings import closed, sound
from cloud.recordings.joining import Floor, pieces
from cloud.recordings.models import WHISPER_DIR
from cloud.recordings.sound import ListenCopy
from cloud.recordings.stretches import Segment, cut
from cloud.recordings.whisper import BATCH, BEAM, Whisper
from tests import speech
from tests.benchmarks.report import Measurement

REPEATS = 6
"""Of the debate: seven minutes, in segments of one debate each."""
STRETCH_MS = 180_000
SLACK_MS = 30_000
ROUNDS = 3
RATIO_MAX = 1.1
THREADS = 1


@dataclass(frozen=True)
class Figures:
    """What one run cost: seconds of the clock and of the processor, the most memory, and its words."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    words: int


def run() -> list[Measurement]:
    """Measure, alternately."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _store(folder)
        audio_s = REPEATS * speech.debate()[1].duration_ms / 1000
        ours, bare = [], []
        for _ in range(ROUNDS):
            bare.append(_alone(_bare, folder))
            ours.append(_alone(_ours, folder))
        prepared = _alone(_prepare, folder)
    assert {each.words for each in ours} != {0}
    wall, cpu = _middle(ours, "wall_s"), _middle(ours, "cpu_s")
    bare_wall, bare_cpu = _middle(bare, "wall_s"), _middle(bare, "cpu_s")
    name = f"transcription of {audio_s:.0f} s"
    beside = "bare batched faster-whisper"
    target = f"ratio <= {RATIO_MAX}"
    wall_ratio, cpu_ratio = wall / bare_wall, cpu / bare_cpu
    peak, bare_peak = _middle(ours, "peak_mib"), _middle(bare, "peak_mib")
    return [
        Measurement(name, wall, "s", beside, bare_wall, wall_ratio, target, wall_ratio <= RATIO_MAX),
        Measurement(
            f"{name}, processor", cpu, "s", beside, bare_cpu, cpu_ratio, target, cpu_ratio <= RATIO_MAX
        ),
        Measurement(f"{name}, peak memory", peak, "MiB", beside, bare_peak, peak / bare_peak, "", None),
        Measurement(
            "digest and copy to listen to, an hour of sound",
            prepared.cpu_s * 3600 / audio_s,
            "s of processor",
            "-",
            None,
            None,
            "",
            None,
        ),
        Measurement("digest and copy, peak memory", prepared.peak_mib, "MiB", "-", None, None, "", None),
    ]


def _middle(figures: list[Figures], name: str) -> float:
    return statistics.median(getattr(each, name) for each in figures)


def _store(folder: Path) -> None:
    """The debate several times over, as segments and as one file."""
    with wave.open(str(speech.debate()[0]), "rb") as file:
        rate, frames = file.getframerate(), file.readframes(file.getnframes())
    for path, times in ((folder / "segment.wav", 1), (folder / "whole.wav", REPEATS)):
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(rate)
            for _ in range(times):
                out.writeframes(frames)


def _segments(folder: Path) -> tuple[LocalStore, list[Segment]]:
    content = (folder / "segment.wav").read_bytes()
    length_ms = speech.debate()[1].duration_ms
    digest = hashlib.sha256(content).hexdigest()
    return LocalStore(folder), [
        Segment(number + 1, number * length_ms, length_ms, len(content), digest, "segment.wav")
        for number in range(REPEATS)
    ]


def _alone(do: Callable[[Path, Whisper], int], folder: Path) -> Figures:
    """`do` in a new process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measured, do, folder).result()


def _measured(do: Callable[[Path, Whisper], int], folder: Path) -> Figures:
    whisper = Whisper(speech.MODELS / WHISPER_DIR, THREADS)  # loading is not measured
    began, used = time.perf_counter(), time.process_time()
    words = do(folder, whisper)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    return Figures(wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, words)


def _bare(folder: Path, whisper: Whisper) -> int:
    segments, _ = whisper._batched.transcribe(
        str(folder / "whole.wav"), language="en", batch_size=BATCH, beam_size=BEAM, word_timestamps=True
    )
    return sum(len(segment.words) for segment in segments)


def _ours(folder: Path, whisper: Whisper) -> int:
    store, segments = _segments(folder)
    heard = []
    total_ms = sum(segment.duration_ms for segment in segments)
    levels = [0.1] * (total_ms // 100)
    for stretch in cut(levels, total_ms, target_ms=STRETCH_MS, slack_ms=SLACK_MS):
        heard += whisper.hear(sound.read(store, closed.cut(segments, []).parts, stretch), "en")
    return sum(line.words for line in pieces(heard, Floor([])))


def _prepare(folder: Path, _whisper: Whisper) -> int:
    store, segments = _segments(folder)
    with tempfile.TemporaryDirectory() as name, ListenCopy(Path(name) / "listen.ogg") as copy:
        levels, _ = sound.look(store, closed.cut(segments, []).parts, copy)
    return len(levels)
