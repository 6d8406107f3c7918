"""The repository, reached through a child process that ends with each download."""

from pathlib import Path
from typing import Any

from contract.updates import ApplyUpdate, UpdateCode
from edge_agent.child import ask
from edge_agent.errors import UnavailableError
from edge_agent.updates.run import FetchRefusedError, Image


class FetchProcess:
    """`settings_file` is what the agent itself was started with."""

    def __init__(self, settings_file: Path) -> None:
        self._file = settings_file

    async def fetch(self, order: ApplyUpdate) -> Image:
        """See `Repository.fetch`; the child is gone when this returns or is cancelled."""
        answer = await ask(
            "the download", "edge_agent.updates.fetch", self._file, order.path, answer=dict[str, Any]
        )
        if "image" in answer:
            return Image(Path(answer["image"]), answer["sha256"])
        if answer["again"]:
            raise UnavailableError(answer["sentence"])
        raise FetchRefusedError(UpdateCode(answer["code"]), answer["sentence"])
