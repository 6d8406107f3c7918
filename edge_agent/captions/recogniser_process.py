"""The recogniser as a child process: a decoder's burst of a second must not stop the agent's heartbeat."""

import asyncio
import os
import sys
from collections.abc import Sequence

from edge_agent.captions.child_protocol import (
    LINE_BYTES_MAX,
    Frame,
    Message,
    decode_message,
    encode_frame,
)
from edge_agent.errors import MalformedError, UnavailableError
from edge_agent.settings import Recorder


def command(settings: Recorder, language: str) -> list[str]:
    """The words that start the child for this recorder and language."""
    return [
        sys.executable,
        "-m",
        "edge_agent.captions.recogniser",
        f"--engine={settings.engine}",
        f"--model-dir={settings.model_dir}",
        f"--vad-model={settings.vad_model}",
        f"--rate-hz={settings.microphone_rate_hz}",
        f"--language={language}",
    ]


class RecogniserProcess:
    """One child. Feeding waits while the child has enough to do; the sound waits in the agent's ring."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, words: Sequence[str]) -> "RecogniserProcess":
        """Run the child.

        Raises:
            UnavailableError: it cannot be run.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise UnavailableError(f"recogniser {words[0]!r} cannot be run: {error.strerror}") from error
        return cls(process)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    async def feed(self, frame: Frame) -> None:
        """Give it one more frame.

        Raises:
            UnavailableError: the child is gone.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(encode_frame(frame))
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise UnavailableError("the recogniser does not listen any more") from None

    async def next_message(self) -> Message:
        """What it says next.

        Raises:
            UnavailableError: the child has ended.
            MalformedError: it says what no recogniser says; it cannot be trusted any more.
        """
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            code = await self._process.wait()
            raise UnavailableError(f"the recogniser ended with code {code}") from None
        except asyncio.LimitOverrunError:
            raise MalformedError(f"the recogniser wrote a line of more than {LINE_BYTES_MAX} bytes") from None
        return decode_message(line)

    async def kill(self) -> None:
        """End it at once; it is gone when this returns, also when this is cancelled."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
