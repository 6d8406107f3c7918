"""The event stream: what was missed comes first, nothing twice, and it ends when either side goes."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from cloud.captions import stream
from cloud.captions.hub import Event, Hub, Kind, frame
from cloud.captions.stream import EventStream

SCOPE: dict[str, Any] = {"type": "http"}


def _final(number: int) -> Event:
    return Event(Kind.FINAL, "s", number, number, frame(Kind.FINAL, str(number).encode(), number))


def _sitting() -> Event:
    return Event(Kind.SITTING, "s", 0, 0, frame(Kind.SITTING, b"{}"))


class Browser:
    """The other end: collects what is sent, goes when it wants to, or stops reading."""

    def __init__(self) -> None:
        self.got = b""
        self.status = 0
        self.ended = False
        self.reads = True
        self.gone = asyncio.Event()
        self.news = asyncio.Condition()

    async def receive(self) -> MutableMapping[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if not self.reads:
            await asyncio.Event().wait()
        async with self.news:
            self.status = message.get("status", self.status)
            self.got += message.get("body", b"")
            self.ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            self.news.notify_all()

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(10), self.news:
            await self.news.wait_for(lambda: text in self.got)


def _run(story: Callable[[Hub, Browser], Awaitable[None]]) -> None:
    async def run() -> None:
        hub = Hub()
        hub.attach(asyncio.get_running_loop())
        await story(hub, Browser())
        assert hub.count == 0

    asyncio.run(run())


def _stream(hub: Hub, browser: Browser, opening: list[Event], after: int = 0) -> asyncio.Task[None]:
    viewer = hub.enter("s")
    assert viewer is not None
    response = EventStream(viewer, opening, after, hub.leave)
    return asyncio.create_task(response(SCOPE, browser.receive, browser.send))


def test_what_was_missed_comes_first_and_nothing_comes_twice() -> None:
    async def story(hub: Hub, browser: Browser) -> None:
        task = _stream(hub, browser, [_final(3), _final(4), _sitting()], after=2)
        hub.post(_final(4))
        hub.post(_final(5))
        await browser.until(b"id: 5")
        assert browser.got.count(b"event: final") == 3
        assert browser.got.startswith(b"retry: ")
        browser.gone.set()
        await task

    _run(story)


def test_a_closing_house_ends_the_stream_in_order() -> None:
    async def story(hub: Hub, browser: Browser) -> None:
        task = _stream(hub, browser, [_sitting()])
        await browser.until(b"event: sitting")
        hub.close()
        async with asyncio.timeout(10):
            await task
        assert browser.ended
        assert browser.status == 200

    _run(story)


def test_silence_is_broken_by_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PING_S", 0.01)

    async def story(hub: Hub, browser: Browser) -> None:
        task = _stream(hub, browser, [])
        await browser.until(b": ping")
        browser.gone.set()
        await task

    _run(story)


def test_one_who_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SEND_S", 0.05)

    async def story(hub: Hub, browser: Browser) -> None:
        task = _stream(hub, browser, [])
        await browser.until(b"retry")
        browser.reads = False
        hub.post(_final(1))
        async with asyncio.timeout(10):
            await task

    _run(story)
