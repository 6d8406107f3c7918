"""The child as the agent sees it: what it says, garbage, an end, a death, and being busy."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.captions.child_protocol import LINE_BYTES_MAX, Audio, Gap, Ready
from edge_agent.captions.recogniser_process import RecogniserProcess, command
from edge_agent.errors import MalformedError, UnavailableError
from edge_agent.settings import Recorder

WAIT_S = 10.0
BLOCK = Audio(0, bytes(9_600))


@asynccontextmanager
async def child(program: str) -> AsyncIterator[RecogniserProcess]:
    process = await RecogniserProcess.start([sys.executable, "-c", f"import os, sys, time\n{program}"])
    try:
        yield process
    finally:
        await process.kill()


async def test_it_says_lines():
    async with child('print(\'{"kind":"ready","engine":"x"}\', flush=True); sys.stdin.read()') as process:
        assert await process.next_message() == Ready(engine="x")


@pytest.mark.parametrize(
    "program",
    [
        "print('Segmentation fault')",
        'print(\'{"kind":"said"}\')',
        f"print('x' * {LINE_BYTES_MAX + 1})",
        f"print('x' * {LINE_BYTES_MAX * 10})",
        "sys.stdout.buffer.write(bytes(range(256)))",
    ],
)
async def test_garbage_is_malformed(program):
    async with child(f"{program}; sys.stdout.flush(); sys.stdin.read()") as process:
        with pytest.raises(MalformedError):
            await asyncio.wait_for(process.next_message(), WAIT_S)


async def test_an_end_is_told_with_its_code():
    async with child("sys.exit(7)") as process:
        with pytest.raises(UnavailableError, match="ended with code 7"):
            await process.next_message()


async def test_a_line_that_was_broken_off_is_an_end():
    async with child('os.write(1, b\'{"kind":"re\')') as process:
        with pytest.raises(UnavailableError, match="ended with code 0"):
            await process.next_message()


async def test_feeding_a_dead_child_tells_so():
    async with child("sys.stdin.read()") as process:
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(UnavailableError):
            await process.next_message()
        with pytest.raises(UnavailableError, match="does not listen"):
            await process.feed(Gap())


async def test_feeding_waits_while_the_child_is_busy():
    async with child("time.sleep(600)") as process:

        async def feed() -> None:
            while True:
                await process.feed(BLOCK)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(feed(), 0.2)


async def test_a_child_that_cannot_be_run_is_named():
    with pytest.raises(UnavailableError, match="'/no/such/child' cannot be run"):
        await RecogniserProcess.start(["/no/such/child"])


def test_the_child_is_told_the_recorders_settings():
    settings = Recorder(
        microphone_command=["x"],
        microphone_rate_hz=44_100,
        engine="vosk",
        model_dir=Path("/models/sq"),
        vad_model=Path("/models/vad.onnx"),
    )
    assert command(settings, "sq") == [
        sys.executable,
        "-m",
        "edge_agent.captions.recogniser",
        "--engine=vosk",
        "--model-dir=/models/sq",
        "--vad-model=/models/vad.onnx",
        "--rate-hz=44100",
        "--language=sq",
    ]
