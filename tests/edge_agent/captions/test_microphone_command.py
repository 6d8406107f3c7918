"""The microphone's command: blocks, losses, and no process left behind."""

import asyncio
import signal
import sys

import pytest

from edge_agent.captions.microphone_command import MicrophoneCommand
from edge_agent.errors import UnavailableError

BLOCK_BYTES = 9_600
WAIT_S = 10.0


def python(program: str) -> list[str]:
    return [sys.executable, "-c", f"import os, signal, sys, time\n{program}"]


async def start(program: str, silent_s: float = WAIT_S) -> MicrophoneCommand:
    return await MicrophoneCommand.start(python(program), block_bytes=BLOCK_BYTES, silent_s=silent_s)


async def test_sound_comes_in_blocks_however_it_is_written():
    microphone = await start("for _ in range(30): os.write(1, bytes(960))\nsys.stdin.read()")
    try:
        assert [len(await microphone.read()) for _ in range(3)] == [BLOCK_BYTES] * 3
    finally:
        await microphone.close()


async def test_the_last_block_has_whole_samples_and_then_it_has_ended():
    microphone = await start("os.write(1, bytes(101)); sys.exit(3)")
    assert len(await microphone.read()) == 100
    with pytest.raises(UnavailableError, match="ended with code 3"):
        await microphone.read()
    await microphone.close()


async def test_a_microphone_that_gives_nothing_counts_as_gone():
    microphone = await start("time.sleep(600)", silent_s=0.05)
    with pytest.raises(UnavailableError, match=r"nothing for 0\.05 s"):
        await microphone.read()
    await microphone.close()
    assert microphone.returncode == -signal.SIGKILL


async def test_closing_ends_it_whatever_it_does_and_however_much_is_unread():
    microphone = await start(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: os.write(1, bytes(100_000))"
    )
    await microphone.read()
    await asyncio.wait_for(microphone.close(), WAIT_S)
    assert microphone.returncode == -signal.SIGKILL


async def test_a_command_that_is_not_there_is_named():
    with pytest.raises(UnavailableError, match="'/no/such/microphone' cannot be run"):
        await MicrophoneCommand.start(["/no/such/microphone"], block_bytes=BLOCK_BYTES, silent_s=1)
