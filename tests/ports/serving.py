"""An ASGI application on a free port of loopback, for as long as a test wants it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

START_S = 20.0
STOP_S = 10.0


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address at which `app` answers until the block is left."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Server(
        uvicorn.Config(app, log_level="warning", log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert started.wait(START_S), f"the application did not start within {START_S} s"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(STOP_S)
        listener.close()
        assert not thread.is_alive(), f"the server did not stop within {STOP_S} s"
