"""The board as a target, with firmware of every kind; what all targets promise is in `tests/ports`."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.updates.board_smp import BoardTarget
from edge_agent.updates.target import Health, NotYet, Target, Unwell, Well
from simulators.devices.board.board import Board
from tests.firmware_tools.images import READY_S, board_with, firmware

DEADLINE_S = 150.0
OLD, NEW = "1.2.3", "1.3.0"
Kind = Literal["good", "hangs", "unwell", "foreign"]


class Rig:
    """A board that runs `OLD`, and hands that can do to it what the world does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.board: Board = board_with(folder, firmware(OLD))
        self.target = BoardTarget(self.board.port)

    def image(self, kind: Kind) -> Path:
        """Version `NEW`: good, not starting, unwell when it runs, or not for this board."""
        made = {
            "good": lambda: firmware(NEW),
            "hangs": lambda: firmware(NEW, boots=False),
            "unwell": lambda: firmware(NEW, well=False),
            "foreign": lambda: firmware(NEW, board="coin-board"),
        }
        path = self.folder / f"{kind}.bin"
        path.write_bytes(made[kind]())
        return path

    def power_cycle(self) -> None:
        self.board.power_off()
        self.board.power_on()
        self.board.wait_for(lambda: self.board.ready, READY_S)

    def set_away(self, away: bool) -> None:
        if away:
            self.board.unplug()
        else:
            self.board.plug()

    def close(self) -> None:
        self.board.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def play(story: Callable[[], Awaitable[Any]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await story()

    asyncio.run(run())


async def health(target: Target) -> Health:
    """What it says of `NEW` when it can say something."""
    while isinstance(said := await target.probe(NEW), NotYet):
        pass
    return said


def test_a_trial_that_is_not_committed_is_over_with_the_power(rig: Rig) -> None:
    target = rig.target

    async def story() -> None:
        await target.stage(rig.image("good"), NEW)
        await target.activate(NEW)
        rig.power_cycle()
        assert await target.version() == OLD
        assert isinstance(await health(target), Unwell)
        with pytest.raises(RefusedError):
            await target.commit(NEW)

    play(story)


def test_a_version_that_is_unwell_is_taken_back(rig: Rig) -> None:
    target = rig.target

    async def story() -> None:
        await target.stage(rig.image("unwell"), NEW)
        await target.activate(NEW)
        assert isinstance(await health(target), Unwell)
        await target.roll_back(NEW)
        await target.roll_back(NEW)
        assert await target.version() == OLD

    play(story)


def test_a_version_that_does_not_start_leaves_the_old_one(rig: Rig) -> None:
    target = rig.target

    async def story() -> None:
        await target.stage(rig.image("hangs"), NEW)
        with pytest.raises(RefusedError):
            await target.activate(NEW)
        assert isinstance(await health(target), Unwell)
        await target.roll_back(NEW)
        assert await target.version() == OLD

    play(story)


def test_what_is_not_for_this_device_is_refused_before_it_is_staged(rig: Rig) -> None:
    target = rig.target

    async def story() -> None:
        with pytest.raises(RefusedError):
            await target.stage(rig.image("foreign"), NEW)
        with pytest.raises(RefusedError):
            await target.stage(rig.image("good"), "9.9.9")
        with pytest.raises(RefusedError):
            await target.activate(NEW)
        assert await target.version() == OLD

    play(story)


def test_what_is_out_of_reach_is_unavailable_until_it_is_back(rig: Rig) -> None:
    target = rig.target

    async def story() -> None:
        rig.set_away(True)
        with pytest.raises(UnavailableError):
            await target.stage(rig.image("good"), NEW)
        rig.set_away(False)
        await target.stage(rig.image("good"), NEW)
        await target.activate(NEW)
        assert await health(target) == Well()

    play(story)
