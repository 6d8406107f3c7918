"""The hall's microphone system: a command that writes a line of JSON when a seat's microphone goes on or off.

`{"seat": "12", "on": true}`. When it begins it names the seats whose microphones are on.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from edge_agent.errors import MalformedError, UnavailableError
from edge_agent.program import Program

LINE_BYTES_MAX = 1000


class Turn(msgspec.Struct, frozen=True):
    """One line."""

    seat: str
    on: bool


class FloorCommand:
    """One run of the command."""

    def __init__(self, program: Program) -> None:
        self._program = program

    @classmethod
    async def start(cls, command: Sequence[str]) -> "FloorCommand":
        """Run the command.

        Raises:
            UnavailableError: it cannot be run.
        """
        try:
            return cls(await Program.start(command, stdin=False, limit=LINE_BYTES_MAX))
        except OSError as error:
            raise UnavailableError(
                f"floor command {command[0]!r} cannot be run: {error.strerror}; check floor_command"
            ) from error

    async def read(self) -> Turn:
        """The next line; waits as long as it takes.

        Raises:
            MalformedError: it is no such line; the next one may be.
            UnavailableError: the command has ended, or writes lines without end.
        """
        try:
            line = await self._program.stdout.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise UnavailableError(f"the floor command writes lines above {LINE_BYTES_MAX} bytes") from None
        except asyncio.IncompleteReadError:
            code = await self._program.wait()
            raise UnavailableError(f"the floor command ended with code {code}") from None
        try:
            return msgspec.json.decode(line, type=Turn)
        except msgspec.DecodeError as error:
            raise MalformedError(f"no line of the floor: {error}") from error

    async def close(self) -> None:
        """Stop the command; it is gone when this returns."""
        await self._program.end()
