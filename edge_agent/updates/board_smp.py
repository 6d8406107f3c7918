"""The I/O board as a target of updates: each call is one conversation, in a child process of its own."""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any, Final

from edge_agent.errors import MalformedError, RefusedError, UnavailableError
from edge_agent.updates.target import Health, NotYet, Unwell, Well

log = logging.getLogger(__name__)

TALK_S: Final = 120.0
"""Of one conversation without an upload; three resets have their 30 s each in it."""
STAGE_S: Final = 900.0
"""An image of 256 KiB takes 40 s at 115,200 baud; the slowest line that is used has 9,600."""
END_S: Final = 5.0
LINE_BYTES_MAX: Final = 65_536


class BoardTarget:
    """The port `Target` for the board at `port`; calls wait for one another: the line has one user."""

    def __init__(self, port: Path) -> None:
        self._port = port
        self._one = asyncio.Lock()
        self.known: str | None = None
        """The version that it last said it runs; for diagnostics."""
        self.progress: tuple[int, int] = (0, 0)
        """Bytes on the board and bytes of the image, of the last upload."""

    async def version(self) -> str:
        """What runs now."""
        told = await self._ask("version")
        self.known = str(told["version"])
        return self.known

    async def stage(self, image: Path, version: str) -> None:
        """Upload it into the slot that does not run."""
        await self._ask("stage", "--version", version, "--image", str(image), within_s=STAGE_S)

    async def activate(self, version: str) -> None:
        """Reset the board into the staged version, on trial."""
        await self._ask("activate", "--version", version)

    async def probe(self, version: str) -> Health:
        """The board's own self-test."""
        told = await self._ask("probe", "--version", version)
        match told["health"]:
            case "well":
                return Well()
            case "not-yet":
                return NotYet(told["sentence"])
        return Unwell(told["sentence"])

    async def commit(self, version: str) -> None:
        """Confirm the running image."""
        await self._ask("commit", "--version", version)
        self.known = version

    async def roll_back(self, version: str) -> None:
        """Reset the board without confirming, until what ran before runs."""
        told = await self._ask("roll-back", "--version", version)
        self.known = str(told["version"])

    async def _ask(self, *words: str, within_s: float = TALK_S) -> dict[str, Any]:
        """One conversation.

        Raises:
            RefusedError, UnavailableError: the board's or the line's sentence.
        """
        async with self._one:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edge_agent.updates.board_child", "--port", str(self._port), *words),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
            )
            try:
                async with asyncio.timeout(within_s):
                    last = await self._follow(child)
                    await child.wait()
            except TimeoutError:
                raise UnavailableError(
                    f"board at {self._port}: {words[0]} did not end within {within_s:g} s; it is tried again"
                ) from None
            finally:
                await _end(child)
        if "refused" in last:
            raise RefusedError(last["refused"])
        if "ok" not in last:
            raise UnavailableError(
                last.get("unavailable", f"board at {self._port}: {words[0]} ended in the middle")
            )
        found: dict[str, Any] = last["ok"]
        return found

    async def _follow(self, child: asyncio.subprocess.Process) -> dict[str, Any]:
        """What it says; the last line counts."""
        assert child.stdout is not None
        last: dict[str, Any] = {}
        async for line in child.stdout:
            try:
                last = json.loads(line)
            except ValueError as error:
                raise MalformedError(f"the board's child process said {line!r:.80}") from error
            if "sent" in last:
                self.progress = (last["sent"], last["size"])
        return last


async def _end(child: asyncio.subprocess.Process) -> None:
    """Let it go: it ends when its stdin does; by force if not. Safe while we are cancelled."""
    if child.returncode is not None:
        return
    assert child.stdin is not None
    child.stdin.close()
    try:
        async with asyncio.timeout(END_S):
            await child.wait()
    except TimeoutError:
        log.warning("board_child_killed", extra={"pid": child.pid})
        child.kill()
        await child.wait()
