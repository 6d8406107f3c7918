"""The terminal port: one suite on the fake and on the simulated provider over HTTP."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from edge_agent.documents.terminal import Authorisation, CardState, Terminal
from edge_agent.documents.terminal_http import HttpTerminal
from edge_agent.documents.terminal_memory import MemoryTerminal
from edge_agent.errors import RefusedError, SettingsError, UnavailableError
from simulators.services.payments import Provider, payments_app

DEADLINE_S = 20.0


class Fake:
    def __init__(self) -> None:
        self.terminal = MemoryTerminal()

    def connect(self) -> Terminal:
        return self.terminal

    async def asking(self) -> None:
        while not self.terminal.asking:
            await asyncio.sleep(0)

    async def card(self, outcome: str) -> None:
        self.terminal.present(CardState.AUTHORISED if outcome == "approve" else CardState.DECLINED)

    def break_down(self) -> None:
        self.terminal.down = True


class Simulated:
    def __init__(self, url: str, provider: Provider) -> None:
        self.url = url
        self._provider = provider

    def connect(self) -> Terminal:
        return HttpTerminal(self.url, "kiosk-01")

    async def asking(self) -> None:
        while self._provider.current("kiosk-01") is None:
            await asyncio.sleep(0.01)

    async def card(self, outcome: str) -> None:
        await asyncio.to_thread(httpx.post, f"{self.url}/terminals/kiosk-01/card", json={"outcome": outcome})

    def break_down(self) -> None:
        httpx.post(f"{self.url}/fault", json={"mode": "down"})


Rig = Fake | Simulated


@contextmanager
def provider() -> Iterator[Simulated]:
    app = payments_app()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)  # who comes before the server is up waits
    config = uvicorn.Config(
        app, log_level="warning", log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield Simulated(f"http://127.0.0.1:{listener.getsockname()[1]}", app.state.provider)
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture(params=["memory", "http"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    if request.param == "memory":
        yield Fake()
        return
    with provider() as simulated:
        yield simulated


def play(rig: Rig, story: Callable[[Terminal], Awaitable[Any]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await story(rig.connect())

    asyncio.run(run())


async def pay(rig: Rig, terminal: Terminal, reference: str, outcome: str) -> Authorisation:
    asked = asyncio.create_task(terminal.authorise(reference, 400))
    await rig.asking()
    await rig.card(outcome)
    return await asked


@pytest.mark.parametrize(
    ("outcome", "state"), [("approve", CardState.AUTHORISED), ("decline", CardState.DECLINED)]
)
def test_the_card_decides(rig: Rig, outcome: str, state: CardState) -> None:
    async def story(terminal: Terminal) -> None:
        found = await pay(rig, terminal, "doc-1", outcome)
        assert found.state == state
        assert found.authorisation
        assert await terminal.find("doc-1") == found
        assert await terminal.find("doc-2") is None

    play(rig, story)


def test_a_declined_card_may_be_followed_by_another(rig: Rig) -> None:
    async def story(terminal: Terminal) -> None:
        await pay(rig, terminal, "doc-1", "decline")
        assert (await pay(rig, terminal, "doc-1", "approve")).state == CardState.AUTHORISED

    play(rig, story)


def test_abandoning_ends_the_question(rig: Rig) -> None:
    async def story(terminal: Terminal) -> None:
        await terminal.abandon("doc-1")
        asked = asyncio.create_task(terminal.authorise("doc-1", 400))
        await rig.asking()
        await terminal.abandon("doc-2")
        await terminal.abandon("doc-1")
        assert (await asked).state == CardState.CANCELLED
        found = await terminal.find("doc-1")
        assert found is not None
        assert found.state == CardState.CANCELLED

    play(rig, story)


def test_a_card_that_was_quicker_than_abandoning_is_found_and_let_go(rig: Rig) -> None:
    async def story(terminal: Terminal) -> None:
        await pay(rig, terminal, "doc-1", "approve")
        await terminal.abandon("doc-1")
        found = await terminal.find("doc-1")
        assert found is not None
        assert found.state == CardState.AUTHORISED
        for _ in range(2):
            assert (await terminal.void(found.authorisation)).state == CardState.VOIDED

    play(rig, story)


def test_a_terminal_that_is_down_is_unavailable(rig: Rig) -> None:
    rig.break_down()

    async def story(terminal: Terminal) -> None:
        for question in (terminal.authorise("doc-1", 400), terminal.find("doc-1"), terminal.abandon("doc-1")):
            with pytest.raises(UnavailableError):
                await question

    play(rig, story)


def test_what_only_the_provider_can_refuse_is_refused() -> None:
    with provider() as rig:

        async def story(terminal: Terminal) -> None:
            with pytest.raises(RefusedError):
                await terminal.authorise("doc-1", 0)
            asked = asyncio.create_task(terminal.authorise("doc-1", 400))
            await rig.asking()
            with pytest.raises(RefusedError):
                await terminal.authorise("doc-2", 400)
            await rig.card("approve")
            found = await asked
            again = await terminal.authorise("doc-1", 400)
            assert again == found, "the same reference never holds the money twice"
            capture = f"{rig.url}/authorisations/{found.authorisation}/capture"
            await asyncio.to_thread(httpx.post, capture, headers={"Idempotency-Key": "doc-1"})
            with pytest.raises(RefusedError):
                await terminal.void(found.authorisation)

        play(rig, story)


def test_an_address_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match="terminal_url"):
        HttpTerminal("ftp://nowhere", "kiosk-01")
