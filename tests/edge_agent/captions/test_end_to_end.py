"""The real child with the real models on the debate: its words are right, and a kill loses none."""

import asyncio
import os
import signal
import sys
import wave
from pathlib import Path

import pytest

from contract.captions import SetSitting
from edge_agent.captions.child_protocol import Gap, Said
from edge_agent.captions.recogniser_process import RecogniserProcess, command
from edge_agent.captions.run import Captions, Recogniser
from edge_agent.captions.sitting_file import SittingFile
from edge_agent.ports import ServerTime
from edge_agent.settings import Recorder
from tests import speech
from tests.edge_agent.captions.fakes import FakeLink, frames

pytestmark = pytest.mark.speech

WORD_ERROR_MAX = 0.15
WAIT_S = 60.0
PART_S = 16
"""The part of the debate that is played in real time; three lines and a half."""


@pytest.fixture
def settings() -> Recorder:
    speech.need_models()
    path, _ = speech.debate()
    return Recorder(
        microphone_command=[
            *(sys.executable, "-m", "simulators.devices.microphone"),
            *("--wav", str(path), "--before-s", "2"),
        ],
        model_dir=speech.WHISPER,
        vad_model=speech.VAD,
    )


async def test_the_debate_is_written_down_as_it_was_said(settings):
    path, debate = speech.debate()
    with wave.open(str(path)) as file:
        pcm = file.readframes(file.getnframes())
    child = await RecogniserProcess.start(command(settings, "en"))

    async def feed() -> None:
        for frame in [*frames(pcm, debate.rate_hz), Gap()]:
            await child.feed(frame)

    try:
        feeding = asyncio.create_task(feed())
        said: list[Said] = []
        while not said or said[-1].end < (debate.lines[-1].end_ms - 500) * 48:
            message = await asyncio.wait_for(child.next_message(), WAIT_S)
            if isinstance(message, Said):
                said.append(message)
        await feeding
    finally:
        await child.kill()
    assert speech.word_error(debate.text, [line.text for line in said]) <= WORD_ERROR_MAX
    # Every line of the debate begins within half a second of where a line of captions begins.
    starts = [line.start / 48 for line in said]
    for line in debate.lines:
        assert min(abs(line.start_ms - start) for start in starts) < 500


async def test_a_killed_child_loses_no_words(settings, tmp_path):
    _, debate = speech.debate()
    spoken = [line.text for line in debate.lines if line.end_ms <= PART_S * 1000]
    link = FakeLink()
    pids: list[int] = []

    async def start(settings: Recorder, language: str) -> Recogniser:
        child = await RecogniserProcess.start(command(settings, language))
        pids.append(child.pid)
        return child

    captions = Captions(link, settings, SittingFile(tmp_path / "sittings.json"), start_recogniser=start)
    captions.time_told(ServerTime(1000, 1000))
    running = asyncio.create_task(captions.run())
    try:
        opened_at = 1
        await captions.set_sitting(
            SetSitting(session="s", channel="c", state="open", version=1, lang="en", opened_at=opened_at)
        )
        finals = [await asyncio.wait_for(link.finals.get(), WAIT_S)]
        # In the middle of the second line the child is killed.
        while (await asyncio.wait_for(link.partials.get(), WAIT_S)).segment < 2:
            pass
        os.kill(pids[0], signal.SIGKILL)
        while len(speech.words(" ".join(final.text for final in finals))) < 0.9 * len(
            speech.words(" ".join(spoken))
        ):
            finals.append(await asyncio.wait_for(link.finals.get(), WAIT_S))
        written = [final.text for final in finals]
        await captions.set_sitting(
            SetSitting(session="s", channel="c", state="ended", version=2, lang="en", opened_at=opened_at)
        )
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert len(pids) == 2
    assert [final.segment for final in finals] == list(range(1, len(finals) + 1))
    assert speech.word_error(" ".join(spoken), written) <= WORD_ERROR_MAX
    assert all(not Path(f"/proc/{pid}").exists() for pid in pids)
