"""The repository, reached through a child process that ends with each download."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from contract.updates import ApplyUpdate, UpdateCode
from edge_agent.errors import UnavailableError
from edge_agent.updates.run import FetchRefusedError, Image

ANSWER_BYTES_MAX = 10_000


class FetchProcess:
    """`settings_file` is what the agent itself was started with."""

    def __init__(self, settings_file: Path) -> None:
        self._file = settings_file

    async def fetch(self, order: ApplyUpdate) -> Image:
        """See `Repository.fetch`; the child is gone when this returns or is cancelled."""
        words = (sys.executable, "-m", "edge_agent.updates.fetch", "--settings", str(self._file), order.path)
        child = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        try:
            told = await child.stdout.read(ANSWER_BYTES_MAX)
            code = await child.wait()
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        try:
            answer: dict[str, Any] = msgspec.json.decode(told, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise UnavailableError(f"the download ended with status {code} and no answer") from error
        if "image" in answer:
            return Image(Path(answer["image"]), answer["sha256"])
        if answer["again"]:
            raise UnavailableError(answer["sentence"])
        raise FetchRefusedError(UpdateCode(answer["code"]), answer["sentence"])
