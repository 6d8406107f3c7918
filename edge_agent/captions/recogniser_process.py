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
from edge_agent.program import Program
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

    def __init__(self, program: Program) -> None:
        self._program = program

    @classmethod
    async def start(cls, words: Sequence[str]) -> "RecogniserProcess":
        """Run the child.

        Raises:
            UnavailableError: it cannot be run.
        """
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            return cls(await Program.start(words, stdin=True, limit=LINE_BYTES_MAX, environ=environ))
        except OSError as error:
            raise UnavailableError(f"recogniser {words[0]!r} cannot be run: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._program.pid

    async def feed(self, frame: Frame) -> None:
        """Give it one more frame.

        Raises:
            UnavailableError: the child is gone.
        """
        try:
            self._program.stdin.write(encode_frame(frame))
            await self._program.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise UnavailableError("the recogniser does not listen any more") from None

    async def next_message(self) -> Message:
        """What it says next.

        Raises:
            UnavailableError: the child has ended.
            MalformedError: it says what no recogniser says; it cannot be trusted any more.
        """
        try:
            line = await self._program.stdout.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            code = await self._program.wait()
            raise UnavailableError(f"the recogniser ended with code {code}") from None
        except asyncio.LimitOverrunError:
            raise MalformedError(f"the recogniser wrote a line of more than {LINE_BYTES_MAX} bytes") from None
        return decode_message(line)

    async def kill(self) -> None:
        """End it at once; it is gone when this returns."""
        await self._program.end()
