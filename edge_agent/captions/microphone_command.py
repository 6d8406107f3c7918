"""The microphone: a command that writes 16-bit little-endian mono PCM to its stdout (`arecord`, for one)."""

import asyncio
from collections.abc import Sequence

from edge_agent.errors import UnavailableError

STOP_S = 2.0
"""A command that does not end in this time after it was asked to is killed."""


class MicrophoneCommand:
    """One run of the command. `read` gives blocks of `block_bytes`, the last one possibly shorter."""

    def __init__(self, process: asyncio.subprocess.Process, block_bytes: int, silent_s: float) -> None:
        self._process = process
        self._block_bytes = block_bytes
        self._silent_s = silent_s

    @classmethod
    async def start(cls, command: Sequence[str], *, block_bytes: int, silent_s: float) -> "MicrophoneCommand":
        """Run the command; a microphone that gives nothing for `silent_s` seconds counts as gone.

        Raises:
            UnavailableError: the command cannot be run.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                limit=block_bytes * 4,
            )
        except OSError as error:
            raise UnavailableError(
                f"microphone command {command[0]!r} cannot be run: {error.strerror}; check microphone_command"
            ) from error
        return cls(process, block_bytes, silent_s)

    async def read(self) -> bytes:
        """The next block of whole samples.

        Raises:
            UnavailableError: the command has ended, or gives nothing any more.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(self._silent_s):
                return await self._process.stdout.readexactly(self._block_bytes)
        except TimeoutError:
            raise UnavailableError(f"the microphone gave nothing for {self._silent_s:g} s") from None
        except asyncio.IncompleteReadError as error:
            whole = error.partial[: len(error.partial) // 2 * 2]
            if whole:
                return whole
            code = await self._process.wait()
            raise UnavailableError(f"the microphone command ended with code {code}") from None

    async def close(self) -> None:
        """Stop the command; it is gone when this returns, also when this is cancelled."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
            except TimeoutError:
                pass  # it is killed below
            finally:
                if self._process.returncode is None:
                    self._process.kill()
        await self._process.wait()
