"""Several listeners in one event loop, started and stopped together."""

import asyncio
import contextlib
import socket
from collections.abc import Generator, Mapping

import uvicorn

from cloud.errors import SettingsError

BACKLOG = 512


class _Server(uvicorn.Server):
    """uvicorn's server; signals are the process's own affair, because there are three servers in it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone."""
        yield


class Servers:
    """Listeners by name. Their ports are taken at once, so that a taken one is known before anything runs."""

    def __init__(self, configs: Mapping[str, uvicorn.Config]) -> None:
        """Take the ports.

        Raises:
            SettingsError: a port is taken, or the address is not this machine's.
        """
        self._servers = {name: _Server(config) for name, config in configs.items()}
        self._sockets: dict[str, socket.socket] = {}
        for name, config in configs.items():
            try:
                self._sockets[name] = _bind(config.host, config.port)
            except OSError as error:
                self.close()
                raise SettingsError(
                    f"{name}: cannot listen on {config.host}:{config.port}: {error.strerror}; "
                    "choose another port or stop what has it"
                ) from error

    def ports(self) -> dict[str, int]:
        """Where each listens."""
        return {name: taken.getsockname()[1] for name, taken in self._sockets.items()}

    async def run(self) -> None:
        """Serve until `stop`; what is being answered is answered first, for a few seconds."""
        async with asyncio.TaskGroup() as tasks:
            for name, server in self._servers.items():
                tasks.create_task(server.serve(sockets=[self._sockets[name]]), name=f"listener[{name}]")

    def stop(self) -> None:
        """Let `run` come back."""
        for server in self._servers.values():
            server.should_exit = True

    def close(self) -> None:
        """Let go of the ports."""
        for taken in self._sockets.values():
            taken.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=False)
