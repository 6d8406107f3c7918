"""The microphone: a command that writes 16-bit little-endian mono PCM to its stdout (`arecord`, for one)."""

import asyncio
from collections.abc import Sequence

from edge_agent.errors import UnavailableError
from edge_agent.program import Program


class MicrophoneCommand:
    """One run of the command. `read` gives blocks of `block_bytes`, the last one possibly shorter."""

    def __init__(self, program: Program, block_bytes: int, silent_s: float) -> None:
        self._program = program
        self._block_bytes = block_bytes
        self._silent_s = silent_s

    @classmethod
    async def start(cls, command: Sequence[str], *, block_bytes: int, silent_s: float) -> "MicrophoneCommand":
        """Run the command; a microphone that gives nothing for `silent_s` seconds counts as gone.

        Raises:
            UnavailableError: the command cannot be run.
        """
        try:
            program = await Program.start(command, stdin=False, limit=block_bytes * 4)
        except OSError as error:
            raise UnavailableError(
                f"microphone command {command[0]!r} cannot be run: {error.strerror}; check microphone_command"
            ) from error
        return cls(program, block_bytes, silent_s)

    @property
    def returncode(self) -> int | None:
        """How the command ended; None while it runs."""
        return self._program.returncode

    async def read(self) -> bytes:
        """The next block of whole samples.

        Raises:
            UnavailableError: the command has ended, or gives nothing any more.
        """
        try:
            async with asyncio.timeout(self._silent_s):
                return await self._program.stdout.readexactly(self._block_bytes)
        except TimeoutError:
            raise UnavailableError(f"the microphone gave nothing for {self._silent_s:g} s") from None
        except asyncio.IncompleteReadError as error:
            whole = error.partial[: len(error.partial) // 2 * 2]
            if whole:
                return whole
            code = await self._program.wait()
            raise UnavailableError(f"the microphone command ended with code {code}") from None

    async def close(self) -> None:
        """Stop the command; it is gone when this returns."""
        await self._program.end()
