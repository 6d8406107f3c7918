"""One headless Chromium for the tests of this folder, and servers for what it looks at.

A test takes `new_page` (a page that remembers its console errors) and `serve` (an ASGI application on a
free port); what a page is held to is in `tests/browser/looking.py`.
"""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.browser.looking import DESKTOP, WATCH

START_S = 20.0
STOP_S = 10.0
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder carries the mark `browser`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Headless Chromium. Not for the whole session: Playwright keeps an event loop in this thread."""
    executable = shutil.which("chromium")
    assert executable, "chromium is missing: install Debian's package chromium (make test does it as root)"
    flags = FLAGS + (["--no-sandbox"] if os.geteuid() == 0 else [])
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=flags)
        yield chromium
        chromium.close()


NewPage = Callable[..., Page]


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """`new_page(size=DESKTOP, **context_options)`: a page in a context of its own.

    Its console errors and script errors are in `page.civic_errors`; clear the list when a test means them.
    """
    with ExitStack() as contexts:

        def make(size: ViewportSize = DESKTOP, **options: Any) -> Page:
            context = browser.new_context(viewport=size, **options)
            contexts.callback(context.close)
            context.add_init_script(WATCH)
            page = context.new_page()
            errors: list[str] = []
            page.civic_errors = errors  # type: ignore[attr-defined] # read by looking.problems
            page.on(
                "console", lambda message: errors.append(message.text) if message.type == "error" else None
            )
            page.on("pageerror", lambda error: errors.append(str(error)))
            return page

        yield make


@dataclass
class Served:
    """An application that answers at `url`."""

    url: str
    port: int
    server: uvicorn.Server
    thread: threading.Thread

    def stop(self) -> None:
        """End it now, open streams included; the port is free afterwards."""
        self.server.should_exit = True
        self.server.force_exit = True
        self.thread.join(STOP_S)
        assert not self.thread.is_alive(), f"the server at {self.url} did not stop within {STOP_S} s"


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(app, port=0)`: run an ASGI application on loopback until the test is over."""
    with ExitStack() as running:

        def start(app: Any, port: int = 0) -> Served:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(256)
            port = listener.getsockname()[1]
            started = threading.Event()

            class Server(uvicorn.Server):
                async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                    await super().startup(sockets)
                    started.set()

            server = Server(
                uvicorn.Config(
                    app, log_level="warning", log_config=None, lifespan="auto", timeout_graceful_shutdown=1
                )
            )
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            served = Served(f"http://127.0.0.1:{port}", port, server, thread)
            running.callback(served.stop)
            assert started.wait(START_S), f"the application did not start within {START_S} s"
            return served

        yield start
