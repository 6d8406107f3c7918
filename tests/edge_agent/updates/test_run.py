"""What the core decides is carried out on a running loop: by journal, link, targets and premises."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from contract.messages import Lane
from contract.updates import ApplyUpdate, Component, UpdateNews
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.updates import core
from edge_agent.updates.health import Health, NotYet, Well
from edge_agent.updates.journal import MemoryJournal
from edge_agent.updates.messages import Entry
from edge_agent.updates.run import Image, Updates

OLD, NEW = "1.0.0", "2.0.0"
SITTING = "a sitting is being held"
DEADLINE_S = 60.0


class Wire:
    """A link that keeps the news and tells when some has come."""

    def __init__(self) -> None:
        self.told: list[UpdateNews] = []
        self._came = asyncio.Condition()
        self._up: list[Callable[[], None]] = []

    def on_connected(self, handler: Callable[[], None]) -> None:
        self._up.append(handler)

    def on_disconnected(self, handler: Callable[[], None]) -> None:
        """It never goes down."""

    def connect(self) -> None:
        for handler in self._up:
            handler()

    async def send(
        self, _family: str, _ids: dict[str, str], body: UpdateNews, *, lane: Lane, must: bool
    ) -> None:
        assert lane is Lane.EVENTS
        assert must, "an end that is lost is never known"
        async with self._came:
            self.told.append(body)
            self._came.notify_all()

    async def news(self, component: Component, state: str, code: str) -> UpdateNews:
        """Wait until this has been told."""

        def found() -> UpdateNews | None:
            wanted = (component, state, code)
            return next((n for n in self.told if (n.component, n.state, n.code) == wanted), None)

        async with self._came:
            await self._came.wait_for(lambda: found() is not None)
        told = found()
        assert told is not None
        return told


class Part:
    """A component that is exchanged without the end of the process, as a board is."""

    def __init__(self) -> None:
        self.runs = OLD
        self.health: Health = Well()
        self.calls: list[str] = []

    async def version(self) -> str:
        return self.runs

    async def stage(self, image: Path, version: str) -> None:
        self.calls.append("stage")

    async def activate(self, version: str) -> None:
        self.calls.append("activate")
        self.runs = version

    async def probe(self, version: str) -> Health:
        return self.health

    async def commit(self, version: str) -> None:
        self.calls.append("commit")

    async def roll_back(self, version: str) -> None:
        self.calls.append("roll_back")
        self.runs = OLD


class Hall:
    """A hall that takes every sitting, closed or not."""

    def __init__(self) -> None:
        self.sitting = ""
        self.closed = False

    def busy(self) -> str:
        return self.sitting

    def close(self) -> None:
        self.closed = True

    def open(self) -> None:
        self.closed = False


class Shop:
    """A repository with one file in it."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "image"
        self._image.write_bytes(b"x")

    async def fetch(self, order: ApplyUpdate) -> Image:
        sha256 = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        return Image(self._image, sha256)


class Disk(MemoryJournal):
    """A journal whose disk may be full."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False

    def save(self, entry: Entry) -> None:
        if self.full:
            raise UnavailableError("the disk is full; free some space")
        super().save(entry)


class Place:
    """Updates of a device with two components, carried out until the story is over."""

    def __init__(self, folder: Path) -> None:
        self.wire, self.hall, self.disk = Wire(), Hall(), Disk()
        self.parts = {Component.AGENT: Part(), Component.FIRMWARE: Part()}
        self.updates = Updates(
            link=self.wire,  # type: ignore[arg-type] # the part of a link that updates use
            journal=self.disk,
            targets=self.parts,
            repository=Shop(folder),
            occupancy=self.hall,
            network=lambda: True,
            chance=Middle(),
            limits=core.Limits(self_test_s=0.05),
        )


class Middle:
    """No chance at all."""

    def random(self) -> float:
        return 0.5


def order(component: Component = Component.AGENT) -> ApplyUpdate:
    path = f"{component}/x-{NEW}.zip"
    return ApplyUpdate(update=f"u-{component}", component=component, path=path, version=NEW)


@pytest.fixture
def play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Place], Awaitable[Any]]], None]:
    """`play(story)`: run a story in a place where nobody waits long."""
    for name in ("PROBE_S", "BUSY_LOOK_S", "AGAIN_S"):
        monkeypatch.setattr(core, name, 0.01)

    def begin(story: Callable[[Place], Awaitable[Any]]) -> None:
        async def life() -> None:
            place = Place(tmp_path)
            running = asyncio.create_task(place.updates.run())
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await story(place)
            finally:
                running.cancel()
                await asyncio.wait([running])
            assert running.cancelled(), running.exception()

        asyncio.run(life())

    return begin


def test_a_sitting_that_opens_during_a_trial_is_not_interrupted(play) -> None:  # type: ignore[no-untyped-def]
    async def story(place: Place) -> None:
        part = place.parts[Component.AGENT]
        part.health = NotYet("the microphone gives no sound")
        place.wire.connect()
        await place.updates.order(order())
        await place.wire.news(Component.AGENT, "trial", "")
        place.hall.sitting = SITTING
        told = await place.wire.news(Component.AGENT, "trial", "device-busy")
        assert told.detail == f"{SITTING}; the microphone gives no sound"
        assert part.calls == ["stage", "activate"]
        place.hall.sitting = ""
        await place.wire.news(Component.AGENT, "rolled_back", "self-test-failed")
        assert part.calls == ["stage", "activate", "roll_back"]
        assert not place.hall.closed

    play(story)


def test_one_component_waits_for_the_other(play) -> None:  # type: ignore[no-untyped-def]
    async def story(place: Place) -> None:
        await place.updates.order(order())  # there is no link yet: it stays on trial
        await place.wire.news(Component.AGENT, "trial", "")
        assert place.hall.closed
        await place.updates.order(order(Component.FIRMWARE))
        told = await place.wire.news(Component.FIRMWARE, "waiting", "device-busy")
        assert told.detail == "the agent is being updated"
        with pytest.raises(RefusedError, match="activated already"):
            await place.updates.cancel(f"u-{Component.AGENT}")
        place.wire.connect()
        for component in Component:
            await place.wire.news(component, "committed", "")
            assert place.parts[component].calls == ["stage", "activate", "commit"]
        assert not place.hall.closed

    play(story)


def test_a_full_disk_refuses_the_job_and_nothing_is_done(play) -> None:  # type: ignore[no-untyped-def]
    async def story(place: Place) -> None:
        place.disk.full = True
        with pytest.raises(UnavailableError, match="disk is full"):
            await place.updates.order(order())
        assert place.wire.told == []
        assert place.parts[Component.AGENT].calls == []
        place.disk.full = False
        place.wire.connect()
        await place.updates.order(order())
        await place.wire.news(Component.AGENT, "committed", "")

    play(story)


def test_what_cannot_be_saved_on_the_way_is_not_done(play) -> None:  # type: ignore[no-untyped-def]
    async def story(place: Place) -> None:
        part = place.parts[Component.AGENT]
        place.hall.sitting = SITTING
        place.wire.connect()
        await place.updates.order(order())
        await place.wire.news(Component.AGENT, "waiting", "device-busy")
        place.disk.full = True
        place.hall.sitting = ""
        for _ in range(2):  # closed for the activation that cannot be saved, and opened again
            await _until(lambda: place.hall.closed)
            await _until(lambda: not place.hall.closed)
        assert part.calls == ["stage"]
        place.disk.full = False
        await place.wire.news(Component.AGENT, "committed", "")
        assert part.calls == ["stage", "activate", "commit"]

    play(story)


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0)
