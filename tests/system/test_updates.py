"""Updates of a real agent under the launcher, with a real control plane, broker, repository and printer.

The good, the deaf and the under-signed release are in the story (`simulators/city/story_updates.py`); here is
what goes wrong while the machine runs: it does not start, it hangs, it is killed, somebody is at the kiosk.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulators.city.citizen import Citizen
from simulators.city.city import City
from simulators.city.firmware import FACTORY, IoBoard
from simulators.city.folder import Folder
from simulators.city.hardware import CityHands
from simulators.city.plan import Plan
from simulators.city.releases import replace
from simulators.city.report import Report
from simulators.city.story import Story
from simulators.city.story_firmware import FirmwareStory
from simulators.city.story_updates import UpdateStory
from simulators.devices.board.flash import Layout

KIOSK = "kiosk-01"
STATES = ("assigned", "downloading", "verified", "staged", "activating", "trial")
MAIN = "edge_agent/__main__.py"
BEGIN = "if __name__"
HALF_BYTES, PIECE_BYTES = 32 * 1024, 1024
"""Of the image of 64 KiB on the board."""


class ImpatientCity(City):
    """A city whose launchers wait less for an agent that hangs."""

    def _agent_settings(self, device: str) -> dict[str, Any]:
        settings = super()._agent_settings(device)
        settings["updates"]["trial_silence_s"] = 15.0
        return settings


@dataclass
class Town:
    """A city of one kiosk whose staff is signed in."""

    city: City
    updates: UpdateStory
    runner: asyncio.Runner

    def run(self, life: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(life)

    async def runs(self) -> str:
        told = await self.updates.staff.json(f"{self.updates.url}/api/v1/devices/{KIOSK}")
        return str(told["agent"])

    async def ends(self, path: str) -> dict[str, Any]:
        """Assign it and wait for the end."""
        return await self.updates.ended(await self.updates.assign(path, KIOSK), KIOSK)

    async def until_runs(self, version: str) -> None:
        await self.updates._until(lambda: self.updates._runs(KIOSK, version))

    async def stands(self, update: str, state: str) -> bool:
        """Whether the cloud knows it in this state now."""
        told = await self.updates.staff.json(f"{self.updates.url}/api/v1/updates/{update}")
        return bool(told["assignments"][0]["state"] == state)

    def moved(self, update: str, state: str) -> bool:
        """Whether the agent has logged that the update is in this state."""
        log = (self.city.folder.logs / f"{KIOSK}.log").read_text(errors="replace")
        return any(f'"{update}"' in line and f'"state":"{state}"' in line for line in log.splitlines())

    async def kill(self) -> None:
        """kill -9 the agent and all that it has started; it has been started again when this returns."""
        child = self.city.children[KIOSK]
        starts = child.starts
        child.kill()
        async with asyncio.timeout(60):
            while child.starts == starts:
                await asyncio.sleep(0.01)

    @property
    def half_flashed(self) -> bool:
        """Whether the board's other slot holds the beginning of an image and not its end."""
        with (self.city.folder.device(KIOSK) / "board" / "flash").open("rb") as flash:
            flash.seek(Layout().slot_at(1))
            slot = flash.read(HALF_BYTES + PIECE_BYTES)
        return not _blank(slot[:PIECE_BYTES]) and _blank(slot[HALF_BYTES:])

    def power_cycle_board(self) -> None:
        """Its power goes and comes back; it starts with what its flash holds."""
        hardware = self.city.kiosks[KIOSK]
        assert hardware.board is not None
        hardware.board.close()
        hardware.board = IoBoard(self.city.folder.device(KIOSK) / "board", KIOSK, self.city.firmware)

    async def board_runs(self) -> str:
        """By the technician's tool."""
        return await FirmwareStory(self.city, self.updates)._running(KIOSK)

    @property
    def hands(self) -> CityHands:
        """Those of some citizen."""
        person = next(iter(self.city.citizens().values()))
        return CityHands(self.city.kiosks[KIOSK], self.city.terminal_url(KIOSK), person)

    @property
    def slots(self) -> dict[str, Any]:
        path = self.city.folder.device(KIOSK) / "data" / "slots" / "state.json"
        found: dict[str, Any] = json.loads(path.read_text())
        return found


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    data = tmp_path_factory.mktemp("updates")
    plan = Plan(data=data, cache=Path("build"), kiosks=1, halls=0)
    with asyncio.Runner() as runner, Folder(data) as folder:
        city = ImpatientCity(plan, folder, lambda _sentence: None)
        story = Story(city, Report())
        try:
            runner.run(city.start())
            runner.run(story.sign_in())
            yield Town(city, UpdateStory(city, story.staff, story.step), runner)
        finally:
            runner.run(story.staff.__aexit__())
            left = runner.run(city.stop())
    assert left == []


def _blank(flash: bytes) -> bool:
    return flash.count(0xFF) == len(flash)


def broken(mistake: str) -> Callable[[Path], None]:
    """A release with a mistake at the very beginning of its program."""
    return lambda tree: replace(tree / MAIN, BEGIN, f"{mistake}\n\n{BEGIN}")


def test_an_update_waits_for_the_citizen_and_then_goes_on(town: Town) -> None:
    async def life() -> dict[str, Any]:
        path = await town.city.releases.publish_agent("0.2.0")
        async with Citizen(KIOSK, town.city.kiosk_url(KIOSK), "en", town.hands) as citizen:
            await citizen.see("welcome")
            await citizen.press("language:en")
            await citizen.see("kinds")
            update = await town.updates.assign(path, KIOSK)
            await town.updates._until(lambda: town.stands(update, "waiting"))
            page = await town.updates.staff.open(f"{town.updates.url}/updates/{update}")
            assert "The device is in use" in page.text
            assert await town.runs() == "0.1.0"
            assert await citizen.see("kinds") == "kinds", "nobody was interrupted"
            await citizen.press("cancel")
            await citizen.see("cancelled")
            await citizen.press("finish")
        return await town.updates.ended(update, KIOSK)

    assert town.run(life())["state"] == "committed"
    town.run(town.until_runs("0.2.0"))
    assert town.slots["running"] == "a"


@pytest.mark.parametrize(
    ("version", "states"),
    [
        ("0.3.0", ("downloading", "activating", "trial")),
        pytest.param("0.3.1", STATES, marks=pytest.mark.long),
    ],
)
def test_an_agent_that_is_killed_in_any_state_ends_on_one_version(
    town: Town, version: str, states: tuple[str, ...]
) -> None:
    async def life() -> dict[str, Any]:
        update = await town.updates.assign(await town.city.releases.publish_agent(version), KIOSK)
        for state in states:
            async with asyncio.timeout(60):
                while not town.moved(update, state):
                    await asyncio.sleep(0.005)
            await town.kill()
        return await town.updates.ended(update, KIOSK)

    told = town.run(life())
    assert (told["state"], told["code"]) == ("committed", "")
    town.run(town.until_runs(version))
    assert town.slots["trial"] is None


@pytest.mark.long
def test_an_agent_that_is_killed_while_its_update_waits_goes_on_with_it(town: Town) -> None:
    async def life() -> dict[str, Any]:
        path = await town.city.releases.publish_agent("0.3.2")
        async with Citizen(KIOSK, town.city.kiosk_url(KIOSK), "en", town.hands) as citizen:
            await citizen.see("welcome")
            await citizen.press("language:en")
            await citizen.see("kinds")
            update = await town.updates.assign(path, KIOSK)
            async with asyncio.timeout(60):
                while not town.moved(update, "waiting"):
                    await asyncio.sleep(0.005)
            assert await citizen.see("kinds") == "kinds"
            await town.kill()  # and the visit is gone with it
        return await town.updates.ended(update, KIOSK)

    told = town.run(life())
    assert (told["state"], told["code"]) == ("committed", "")
    town.run(town.until_runs("0.3.2"))
    assert town.slots["trial"] is None


@pytest.mark.long
def test_an_agent_that_is_killed_in_mid_flash_leaves_a_board_that_starts(town: Town) -> None:
    async def life() -> dict[str, Any]:
        child = town.city.children[KIOSK]
        path = "firmware/io-board-1.3.0.bin"
        image = await asyncio.to_thread(town.city.firmware.image, "1.3.0")
        assert image.stat().st_size > 2 * HALF_BYTES
        await town.city.releases.publish(path, image, "1.3.0")
        update = await town.updates.assign(path, KIOSK)
        async with asyncio.timeout(60):
            while not town.half_flashed:
                await asyncio.sleep(0.002)
        child.hold()
        child.kill()
        await child.fallen(len(child.exits) + 1)
        assert town.half_flashed, "the image was whole before the agent was killed"
        await asyncio.to_thread(town.power_cycle_board)
        assert await town.board_runs() == FACTORY
        child.release()
        return await town.updates.ended(update, KIOSK)

    told = town.run(life())
    assert (told["state"], told["code"]) == ("committed", "")
    town.power_cycle_board()
    assert town.run(town.board_runs()) == "1.3.0"


def test_a_release_that_does_not_start_is_rolled_back(town: Town) -> None:
    before = town.run(town.runs())

    async def life() -> dict[str, Any]:
        path = await town.city.releases.publish_agent("0.4.0", change=broken("raise SystemExit(3)"))
        return await town.ends(path)

    told = town.run(life())
    assert (told["state"], told["code"]) == ("rolled_back", "self-test-failed")
    assert "3 times" in told["detail"]
    town.run(town.until_runs(before))


@pytest.mark.long
def test_a_release_that_hangs_is_rolled_back(town: Town) -> None:
    before = town.run(town.runs())

    async def life() -> dict[str, Any]:
        mistake = broken("import time\n\ntime.sleep(600)")
        return await town.ends(await town.city.releases.publish_agent("0.5.0", change=mistake))

    told = town.run(life())
    assert (told["state"], told["code"]) == ("rolled_back", "self-test-failed")
    town.run(town.until_runs(before))


def test_what_is_cancelled_in_time_is_never_activated(town: Town) -> None:
    async def life() -> dict[str, Any]:
        path = await town.city.releases.publish_agent("0.6.0")
        async with Citizen(KIOSK, town.city.kiosk_url(KIOSK), "en", town.hands) as citizen:
            await citizen.see("welcome")
            await citizen.press("language:en")
            await citizen.see("kinds")
            update = await town.updates.assign(path, KIOSK)
            await town.updates._until(lambda: town.stands(update, "waiting"))
            page = await town.updates.staff.open(f"{town.updates.url}/updates/{update}")
            await town.updates.staff.send(page, f"/{update}/cancel")
            told = await town.updates.ended(update, KIOSK)
            await citizen.press("cancel")
        return told

    told = town.run(life())
    assert (told["state"], told["code"]) == ("failed", "cancelled")
    assert town.slots["trial"] is None
