"""The operation `collect-diagnostics`: a small bundle of how this agent is, and no word about any person."""

import asyncio
import platform
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
import psutil

from contract.jobs import Execution, Status
from edge_agent.errors import MalformedError, RefusedError
from edge_agent.ports import Outcome

PATH = "/api/v1/diagnostics"
BUNDLE_BYTES_MAX = 100_000
PACKAGES_MAX = 200


class Answer(Protocol):
    """What the control plane said."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def body(self) -> bytes:
        """The body."""


Post = Callable[[bytes], Awaitable[Answer]]
"""Sends JSON to the control plane; raises UnavailableError."""


class _Received(msgspec.Struct, frozen=True):
    id: str


class CollectDiagnostics:
    """`facts` gives what the agent knows of itself; the same bundle may be sent twice without harm."""

    def __init__(
        self,
        *,
        data_dir: Path,
        facts: Callable[[], Mapping[str, Any]],
        post: Post,
    ) -> None:
        self._data_dir = data_dir
        self._facts = facts
        self._post = post

    async def perform(self, job: Execution) -> Outcome:
        """Collect, send, and name in the details the id that the control plane gave it."""
        found = await asyncio.to_thread(machine, self._data_dir)
        bundle = msgspec.json.encode({"job": job.job_id, **found, **self._facts()})
        if len(bundle) > BUNDLE_BYTES_MAX:
            raise RefusedError(f"the bundle has {len(bundle)} bytes; at most {BUNDLE_BYTES_MAX} are sent")
        answer = await self._post(bundle)
        if answer.status // 100 != 2:
            raise RefusedError(f"the control plane answered POST {PATH} with {answer.status}")
        try:
            received = msgspec.json.decode(answer.body, type=_Received)
        except msgspec.DecodeError as error:
            raise MalformedError(f"the answer to POST {PATH} has no id: {error}") from error
        return Outcome(Status.SUCCEEDED, {"bundle": received.id, "bytes": str(len(bundle))})

    async def resume(self, job: Execution) -> Outcome:
        """Nothing that was sent can be in the way of sending it again."""
        return await self.perform(job)


def machine(data_dir: Path) -> dict[str, Any]:
    """Versions, uptime, memory and disk of this machine; sizes in bytes."""
    from importlib.metadata import distributions  # an agent at rest does without its megabyte

    disk = shutil.disk_usage(data_dir)
    memory = psutil.virtual_memory()
    packages = sorted((d.name, d.version) for d in distributions())[:PACKAGES_MAX]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": dict(packages),
        "booted_at": int(psutil.boot_time()),
        "cpus": psutil.cpu_count(),
        "load": list(psutil.getloadavg()),
        "memory": {"total": memory.total, "available": memory.available},
        "disk": {"total": disk.total, "free": disk.free},
        "own_memory": psutil.Process().memory_info().rss,
    }
