"""Web applications inside the city's own process, and free ports for everybody."""

import asyncio
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

STOP_S = 5.0
PORT_MIN = 11_000
PORT_MAX = 32_768
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOOPBACK = "127.0.0.1"


def free_ports(count: int, chance: random.Random | None = None) -> list[int]:
    """Different ports of the loopback that nobody listens on now.

    They lie below those that the system gives to outgoing connections: one of these could be taken between
    now and the moment at which its program listens.
    """
    chance = chance or random.SystemRandom()
    candidates = range(PORT_MIN, _ephemeral_min())
    found: list[int] = []
    for port in chance.sample(candidates, len(candidates)):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue  # somebody is there
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"there are no {count} free ports from {PORT_MIN} up")


def _ephemeral_min() -> int:
    try:
        return int(EPHEMERAL.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return PORT_MAX  # another system than Linux


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say when it listens."""
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the city."""
        yield


@dataclass
class Served:
    """An application that answers at `url`."""

    url: str
    _server: _Server
    _task: asyncio.Task[None]

    async def stop(self) -> None:
        """End it; open streams are cut."""
        self._server.should_exit = True
        done, _ = await asyncio.wait({self._task}, timeout=STOP_S)
        if not done:
            self._server.force_exit = True
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=STOP_S)


async def serve(app: Any, port: int = 0) -> Served:
    """Run `app` on the loopback in this loop; it answers when this returns.

    Raises:
        OSError: the port is taken.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK, port))
    listener.listen(256)
    config = uvicorn.Config(
        app, log_level="warning", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="server")
    up = asyncio.create_task(server.up.wait())
    await asyncio.wait({task, up}, return_when=asyncio.FIRST_COMPLETED)
    up.cancel()
    if task.done():
        task.result()
    return Served(f"http://{LOOPBACK}:{listener.getsockname()[1]}", server, task)
