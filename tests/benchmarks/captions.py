"""Captions in real time: how late words are shown, settled and final, and what the pipeline costs.

A simulated microphone plays the beginning of the debate; microphone, agent and child run as on a recorder,
only the link is replaced by a clock. Beside it: the bare recogniser, given the same utterances and asked for
the same readings, in one thread. When a word was spoken is interpolated within its line by letters.
"""

import asyncio
import difflib
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import wave
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import psutil
import soxr

from contract.captions import CaptionSegment, CaptionState, SetSitting
from contract.messages import Lane
from edge_agent.captions.child_protocol import Frame, Guess, Message, Ready, Said
from edge_agent.captions.engine import RATE_HZ
from edge_agent.captions.recogniser_process import RecogniserProcess, command
from edge_agent.captions.recogniser_whisper import WhisperRecogniser
from edge_agent.captions.run import Captions, Recogniser
from edge_agent.captions.sitting_file import SittingFile
from edge_agent.ports import ServerTime
from edge_agent.settings import Recorder
from simulators.debate.synthesis import Debate, SpokenLine
from tests import speech
from tests.benchmarks.report import Measurement
from tests.edge_agent.captions.fakes import FakeLink

PART_S = 21
"""Of the debate; it is played twice, once for the pipeline and once for the bare recogniser."""
WAIT_S = 30
FIRST_SHOWN_S_MAX = 1.0
FINAL_S_MAX = 3.0
CPU_RATIO_MAX = 1.1


class TimedLink(FakeLink):
    """Notes when each line of captions was published."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[float, CaptionSegment]] = []

    async def send(
        self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct, *, lane: Lane, must: bool
    ) -> None:
        assert isinstance(body, CaptionSegment)
        self.lines.append((time.time(), body))
        await super().send(topic_name, ids, body, lane=lane, must=must)

    def publish_live(self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct) -> None:
        assert isinstance(body, CaptionSegment)
        self.lines.append((time.time(), body))


class TimedChild:
    """The real child; its messages are noted, its processor time counts from its readiness on."""

    def __init__(self, child: RecogniserProcess) -> None:
        self._child = child
        self._cpu_ready_s = 0.0
        self.messages: list[Message] = []
        self.ready = asyncio.Event()

    async def feed(self, frame: Frame) -> None:
        await self._child.feed(frame)

    async def next_message(self) -> Message:
        message = await self._child.next_message()
        self.messages.append(message)
        if isinstance(message, Ready):
            self._cpu_ready_s = self._used_s()
            self.ready.set()
        return message

    async def kill(self) -> None:
        await self._child.kill()

    def cpu_s(self) -> float:
        return self._used_s() - self._cpu_ready_s

    def _used_s(self) -> float:
        used = psutil.Process(self._child.pid).cpu_times()
        return float(used.user + used.system)


@dataclass(frozen=True)
class Played:
    """What was seen while the debate was played from `begun` (wall clock, s) on.

    `lines` carry times since the sitting was opened, at `opened` (wall clock, s).
    """

    begun: float
    opened: float
    lines: list[tuple[float, CaptionSegment]]
    messages: list[Message]
    cpu_s: float


def run() -> list[Measurement]:
    """Latency of words and lines, processor time beside the bare recogniser."""
    speech.need_models()
    path, debate = speech.debate()
    spoken = [line for line in debate.lines if line.end_ms <= PART_S * 1000]
    with tempfile.TemporaryDirectory() as folder:
        played = asyncio.run(_play(path, spoken[-1], Path(folder)))
    # Like the child: a process of its own, in which no library has started threads yet.
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        bare_cpu_s, reading_s = pool.submit(_bare, path, played).result()
    shown, settled = _word_delays(debate, len(spoken), played)
    finals = _line_delays(spoken, played)
    return [
        _delay("word spoken to first shown, p50", shown, 0.5, reading_s, FIRST_SHOWN_S_MAX),
        _delay("word spoken to first shown, p95", shown, 0.95, reading_s, None),
        _delay("word spoken to settled, p95", settled, 0.95, reading_s, None),
        _delay("line spoken to final, p95", finals, 0.95, reading_s, FINAL_S_MAX),
        _cpu(played.cpu_s / PART_S, bare_cpu_s / PART_S),
    ]


def _delay(
    name: str, delays: Sequence[float], share: float, reading_s: float, limit: float | None
) -> Measurement:
    value = float(np.quantile(delays, share))
    return Measurement(
        name=f"captions: {name}",
        value=value,
        unit="s",
        baseline="one reading by the bare recogniser",
        baseline_value=reading_s,
        ratio=value / reading_s,
        target="" if limit is None else f"value <= {limit:g}",
        held=None if limit is None else value <= limit,
    )


def _cpu(pipeline: float, bare: float) -> Measurement:
    return Measurement(
        name="captions: processor time of the pipeline",
        value=pipeline,
        unit="s per s of sound",
        baseline="the bare recogniser, same readings",
        baseline_value=bare,
        ratio=pipeline / bare,
        target=f"ratio <= {CPU_RATIO_MAX:g}",
        held=pipeline / bare <= CPU_RATIO_MAX,
    )


async def _play(path: Path, last: SpokenLine, folder: Path) -> Played:
    cue = folder / "cue"
    settings = Recorder(
        microphone_command=[
            *(sys.executable, "-m", "simulators.devices.microphone"),
            *("--wav", str(path), "--cue", str(cue)),
        ],
        model_dir=speech.WHISPER,
        vad_model=speech.VAD,
    )
    started: asyncio.Queue[TimedChild] = asyncio.Queue()

    async def start(settings: Recorder, language: str) -> Recogniser:
        child = TimedChild(await RecogniserProcess.start(command(settings, language)))
        started.put_nowait(child)
        return child

    link = TimedLink()
    captions = Captions(link, settings, SittingFile(folder / "sittings.json"), start_recogniser=start)
    running = asyncio.create_task(captions.run())
    try:
        opened_ms = time.time_ns() // 1_000_000
        captions.time_told(ServerTime(opened_ms, opened_ms))
        await captions.set_sitting(
            SetSitting(session="s", channel="c", state="open", version=1, lang="en", opened_at=opened_ms)
        )
        child = await asyncio.wait_for(started.get(), WAIT_S)
        await asyncio.wait_for(child.ready.wait(), WAIT_S)
        own_cpu_s = time.process_time()
        cue.touch()
        begun = cue.stat().st_mtime
        await asyncio.sleep(PART_S)
        cpu_s = child.cpu_s() + time.process_time() - own_cpu_s
        # The last line that counts ended before the part did; its final may still be on its way.
        last_ms = (begun * 1000 - opened_ms) + last.end_ms - 500
        while (await asyncio.wait_for(link.finals.get(), WAIT_S)).end_ms < last_ms:
            pass
        return Played(begun, opened_ms / 1000, link.lines, child.messages, cpu_s)
    finally:
        running.cancel()
        await asyncio.wait([running])


def _bare(path: Path, played: Played) -> tuple[float, float]:
    """Processor seconds of the recogniser alone for the same readings, and the median one of them."""
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32_768
    sound = soxr.resample(pcm, rate, RATE_HZ)
    first = next(message for message in played.messages if isinstance(message, Said))
    first_ms = next(line.start_ms for _, line in played.lines if line.state is CaptionState.FINAL)
    zero_ms = first_ms - first.start * 1000 // rate + (played.opened - played.begun) * 1000

    def at(position: int) -> int:
        return max(0, int((zero_ms + position * 1000 / rate) * RATE_HZ / 1000))

    recogniser = WhisperRecogniser(speech.WHISPER, "en")
    readings = []
    real_time = time.monotonic()
    for start, reads in _utterances(played.messages):
        done = at(start)
        for i, until in enumerate(reads):
            recogniser.hear(sound[done : at(until)])
            done = max(done, at(until))
            # At the same pace: caches that others have used since the last reading are nobody's merit.
            time.sleep(max(0.0, real_time + done / RATE_HZ - time.monotonic()))
            began = time.process_time()
            if i == len(reads) - 1:
                recogniser.finish()
            else:
                recogniser.guess()
            readings.append(time.process_time() - began)
            if done >= PART_S * RATE_HZ:
                return sum(readings), statistics.median(readings)
    return sum(readings), statistics.median(readings)


def _utterances(messages: Sequence[Message]) -> Iterator[tuple[int, list[int]]]:
    """Where each utterance began, and up to where it was read each time; the last reading finished it."""
    guesses: list[int] = []
    for message in messages:
        if isinstance(message, Guess):
            guesses.append(message.end)
        elif isinstance(message, Said):
            yield message.start, [*guesses, message.end]
            guesses = []


def _word_delays(debate: Debate, counted: int, played: Played) -> tuple[list[float], list[float]]:
    """Seconds from the end of each word to its first showing, and to when it would not change any more."""
    words: list[str] = []
    ends: list[float] = []
    for line in debate.lines:
        said = speech.words(line.text).split()
        letters = np.cumsum([len(word) + 1 for word in said])
        length_s = (line.end_ms - line.start_ms) / 1000
        ends += [played.begun + line.start_ms / 1000 + length_s * sum_ / letters[-1] for sum_ in letters]
        words += said
    total = sum(len(speech.words(line.text).split()) for line in debate.lines[:counted])
    shown: dict[int, float] = {}
    settled: dict[int, float] = {}
    texts: dict[int, str] = {}
    stable: dict[int, str] = {}
    for at, segment in played.lines:
        texts[segment.segment] = segment.text
        stable[segment.segment] = segment.text[: segment.stable]
        _note(words, texts, shown, at)
        _note(words, stable, settled, at)
    return (
        [shown[i] - ends[i] for i in range(total) if i in shown],
        [settled[i] - ends[i] for i in range(total) if i in settled],
    )


def _note(words: list[str], texts: Mapping[int, str], when: dict[int, float], at: float) -> None:
    written = speech.words(" ".join(texts.values())).split()
    matcher = difflib.SequenceMatcher(None, words, written, autojunk=False)
    for block in matcher.get_matching_blocks():
        for i in range(block.a, block.a + block.size):
            when.setdefault(i, at)


def _line_delays(spoken: Sequence[SpokenLine], played: Played) -> list[float]:
    """Seconds from the end of each line of captions, as spoken, to its final."""
    delays = []
    for at, line in played.lines:
        end = played.opened + line.end_ms / 1000
        if line.state is CaptionState.FINAL and end <= played.begun + spoken[-1].end_ms / 1000 + 0.5:
            delays.append(at - end)
    return delays
