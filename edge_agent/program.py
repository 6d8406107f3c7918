"""A running program whose pipes are in our hands."""

import asyncio
from collections.abc import Mapping, Sequence


class Program:
    """Like `asyncio.subprocess.Process`, whose `wait` however never returns while something that the program
    wrote is still unread. `end` kills it and closes the pipes, read or not.
    """

    def __init__(self, transport: asyncio.SubprocessTransport, process: asyncio.subprocess.Process) -> None:
        self._transport = transport
        self._process = process

    @classmethod
    async def start(
        cls, words: Sequence[str], *, stdin: bool, limit: int, environ: Mapping[str, str] | None = None
    ) -> "Program":
        """Run `words`; its stderr is ours, `limit` bounds (in bytes) what is read before it is asked for.

        Raises:
            OSError: it cannot be run.
        """
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: asyncio.subprocess.SubprocessStreamProtocol(limit=limit, loop=loop),
            *words,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=None,
            env=environ,
        )
        return cls(transport, asyncio.subprocess.Process(transport, protocol, loop))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.returncode

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """What it reads."""
        assert self._process.stdin is not None, "started without stdin"
        return self._process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        """What it writes."""
        assert self._process.stdout is not None
        return self._process.stdout

    async def wait(self) -> int:
        """Its code, once it has ended and all that it wrote was read."""
        return await self._process.wait()

    async def end(self) -> None:
        """Kill it if it still runs; it is told before the first wait, and gone when this returns."""
        self._transport.close()
        await self._process.wait()
