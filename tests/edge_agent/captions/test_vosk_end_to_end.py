"""The real child with a real Vosk model: partials, finals with time and confidence, gaps, a kill.

The only model that can be had is Korean. It may recognise fourteen loanwords here, and hears a sentence of
five of them; see `tests.speech`.
"""

import asyncio
import itertools
import os
import signal
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soxr

from contract.captions import SetSitting
from edge_agent.captions.child_protocol import Audio, Frame, Gap, Message, Ready, Said
from edge_agent.captions.engine import RATE_HZ
from edge_agent.captions.recogniser_process import RecogniserProcess, command
from edge_agent.captions.run import Captions, Recogniser
from edge_agent.captions.sitting_file import SittingFile
from edge_agent.ports import ServerTime
from edge_agent.settings import Recorder
from tests import speech
from tests.edge_agent.captions.fakes import FakeLink, frames

pytestmark = pytest.mark.speech

MICROPHONE_HZ = 48_000
SENTENCES = 3
WAIT_S = 90.0
READ = speech.LOAN_READ.split()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sentence several times, with pauses, as a conference microphone delivers it."""
    said = soxr.resample(speech.loan_sentence(), RATE_HZ, MICROPHONE_HZ)
    pause = np.zeros(MICROPHONE_HZ // 2, np.float32)
    whole = np.concatenate([said, pause] * SENTENCES)
    path = tmp_path_factory.mktemp("vosk") / "loanwords.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, MICROPHONE_HZ, 0, "NONE", ""))
        file.writeframes((np.clip(whole, -1, 1) * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture
def settings(sound: Path) -> Recorder:
    speech.need_vosk()
    speech.need_models()
    return Recorder(
        engine="vosk",
        microphone_command=[
            *(sys.executable, "-m", "simulators.devices.microphone"),
            *("--wav", str(sound), "--before-s", "2"),
        ],
        model_dir=speech.VOSK,
        vad_model=speech.VAD,
    )


def with_loanwords(words: list[str]) -> list[str]:
    """The child's command, with the test's vocabulary."""
    return [
        word.replace("edge_agent.captions.recogniser", "tests.edge_agent.captions.vosk_child")
        for word in words
    ]


async def heard(words: list[str], given: list[Frame], lines: int) -> list[Message]:
    """All that a child says to `given` until it has said so many lines."""
    child = await RecogniserProcess.start(words)

    async def feed() -> None:
        for frame in given:
            await child.feed(frame)

    messages: list[Message] = []
    try:
        feeding = asyncio.create_task(feed())
        while sum(isinstance(message, Said) for message in messages) < lines:
            messages.append(await asyncio.wait_for(child.next_message(), WAIT_S))
        await feeding
    finally:
        await child.kill()
    return messages


def pcm_of(sound: Path) -> bytes:
    with wave.open(str(sound)) as file:
        return file.readframes(file.getnframes())


async def test_finals_carry_time_and_confidence(settings, sound):
    pcm = pcm_of(sound)
    one = len(pcm) // SENTENCES
    given: list[Frame] = [*frames(pcm[:one], MICROPHONE_HZ), Gap()]
    messages = await heard(with_loanwords(command(settings, "en")), given, 1)
    assert messages[0] == Ready(engine=speech.VOSK.name)
    said = next(message for message in messages if isinstance(message, Said))
    assert said.confidence is not None
    assert 0.7 < said.confidence <= 1
    assert len(set(said.text.split()) & set(READ)) >= 2, said
    assert set(said.text.split()) <= set(speech.LOANWORDS)
    # At least half a second of quiet is before the sentence and after it.
    assert 0 <= said.start <= MICROPHONE_HZ
    assert said.start + MICROPHONE_HZ < said.end <= one // 2


async def test_a_gap_finishes_what_was_being_said(settings, sound):
    pcm = pcm_of(sound)
    cut = 2 * 2 * MICROPHONE_HZ  # after two seconds, in the middle of a word
    later = 30 * MICROPHONE_HZ
    rest = [
        Audio(later + frame.position, frame.pcm)
        for frame in frames(pcm[: len(pcm) // SENTENCES], MICROPHONE_HZ)
    ]
    given: list[Frame] = [*frames(pcm[:cut], MICROPHONE_HZ), Gap(), *rest, Gap()]
    messages = await heard(with_loanwords(command(settings, "en")), given, 2)
    first, second = [message for message in messages if isinstance(message, Said)][:2]
    assert first.end <= cut // 2
    assert second.start >= later


async def test_without_a_vocabulary_the_child_reads_what_the_model_knows(settings, sound):
    pcm = pcm_of(sound)
    given: list[Frame] = [*frames(pcm[: len(pcm) // SENTENCES], MICROPHONE_HZ), Gap()]
    messages = await heard(command(settings, "en"), given, 1)
    said = next(message for message in messages if isinstance(message, Said))
    assert said.text
    assert said.confidence is not None


async def test_a_killed_child_is_replaced_and_hears_the_sentence_again(settings, tmp_path):
    link = FakeLink()
    pids: list[int] = []

    async def start(settings: Recorder, language: str) -> Recogniser:
        child = await RecogniserProcess.start(with_loanwords(command(settings, language)))
        pids.append(child.pid)
        return child

    captions = Captions(link, settings, SittingFile(tmp_path / "sittings.json"), start_recogniser=start)
    captions.time_told(ServerTime(1000, 1000))
    running = asyncio.create_task(captions.run())
    finals, partials = [], []
    try:
        await captions.set_sitting(
            SetSitting(session="s", channel="c", state="open", version=1, lang="en", opened_at=1)
        )
        while not partials or not partials[-1].text:
            partials.append(await asyncio.wait_for(link.partials.get(), WAIT_S))
        os.kill(pids[0], signal.SIGKILL)
        while sum(final.text.split().count("택시") for final in finals) < SENTENCES:
            finals.append(await asyncio.wait_for(link.finals.get(), WAIT_S))
        await captions.set_sitting(
            SetSitting(session="s", channel="c", state="ended", version=2, lang="en", opened_at=1)
        )
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert len(pids) == 2
    assert [final.segment for final in finals] == list(range(1, len(finals) + 1))
    assert all(before.end_ms <= after.start_ms for before, after in itertools.pairwise(finals))
    assert all(final.confidence and final.end_ms > final.start_ms for final in finals if final.text)
    words = " ".join(final.text for final in finals).split()
    right = [words.count(word) for word in READ]
    assert sum(min(count, SENTENCES) for count in right) >= 0.7 * SENTENCES * len(READ), words
    assert all(not Path(f"/proc/{pid}").exists() for pid in pids)
