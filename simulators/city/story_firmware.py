"""The part of the story about the I/O board: a firmware is flashed and stays, a stranger's is refused."""

import asyncio
import json
import os
import sys
from functools import partial

from simulators.city.citizen import Citizen
from simulators.city.city import City
from simulators.city.firmware import BOARD
from simulators.city.hardware import CityHands
from simulators.city.report import StepError
from simulators.city.story_updates import UPDATED_S, UpdateStory

GOOD, STRANGERS = "1.3.0", "1.4.0"
TOOL_S = 60.0
LOOK_S = 0.25


class FirmwareStory:
    """The firmware of one kiosk; ordered, watched and read as the other updates are."""

    def __init__(self, city: City, updates: UpdateStory) -> None:
        self.city = city
        self.updates = updates

    async def play(self) -> None:
        """All of it; the board runs the good one at the end."""
        for device in self.city.plan.board_ids:
            if await self.updates.step("a firmware is built, signed and published", 60, self.publish_good):
                await self.updates.step(
                    f"the firmware waits for the citizen at {device}, then it is flashed, well and stays",
                    UPDATED_S + 60,
                    partial(self.flashed, device),
                )
                await self.updates.step(
                    "a firmware with a stranger's signature is refused by the board",
                    UPDATED_S + 60,
                    partial(self.refused, device),
                )

    async def publish_good(self) -> str:
        """By the people who have the board's key and those who have the repository's."""
        path = await self._publish(GOOD, "board")
        page = await self.updates.staff.open(f"{self.updates.url}/updates")
        if path not in page.text:
            raise StepError(f"the page does not list {path}")
        return f"{path} stands on the page"

    async def flashed(self, device: str) -> str:
        """Assigned while a citizen is at the kiosk: it waits, and says for whom."""
        before = await self._running(device)
        person = next(iter(self.city.citizens().values()))
        hands = CityHands(self.city.kiosks[device], self.city.terminal_url(device), person)
        async with Citizen(device, self.city.kiosk_url(device), "sq", hands) as citizen:
            await citizen.choose()
            update = await self.updates.assign(_path(GOOD), device)
            waited = await self._waiting(update, device)
            if await self._running(device) != before:
                raise StepError("the board was changed while a citizen was there")
            await citizen.press("cancel")
            await citizen.see("welcome", "cancelled", "closed")
        told = await self.updates.ended(update, device)
        if told["state"] != "committed":
            raise StepError(f"{device}: {told['state']} {told['code']} {told['detail']}")
        await self._runs(device, GOOD)
        return f"{waited}; then {GOOD} took the place of {before} and stays"

    async def refused(self, device: str) -> str:
        """Published by the book, and signed with a key that the boot loader does not have."""
        update = await self.updates.assign(await self._publish(STRANGERS, "stranger"), device)
        told = await self.updates.ended(update, device)
        if (told["state"], told["code"]) != ("rolled_back", "image-refused"):
            raise StepError(f"{device}: {told['state']} {told['code']} {told['detail']}")
        await self._runs(device, GOOD)
        return f"{GOOD} runs on: {told['detail']}"

    async def _publish(self, version: str, signer: str) -> str:
        image = await asyncio.to_thread(self.city.firmware.image, version, signer=signer)
        await self.city.releases.publish(_path(version), image, version)
        return _path(version)

    async def _waiting(self, update: str, device: str) -> str:
        """Until the kiosk says that it waits."""
        async with asyncio.timeout(UPDATED_S):
            while True:
                rollout = await self.updates.staff.json(f"{self.updates.url}/api/v1/updates/{update}")
                told = next(each for each in rollout["assignments"] if each["device"] == device)
                if (told["state"], told["code"]) == ("waiting", "device-busy"):
                    return f"it waited: {told['detail']}"
                if told["state"] in ("committed", "failed", "rolled_back"):
                    raise StepError(f"{device} did not wait: {told['state']} {told['code']} {told['detail']}")
                await asyncio.sleep(LOOK_S)

    async def _runs(self, device: str, version: str) -> None:
        running = await self._running(device)
        if running != version:
            raise StepError(f"the board of {device} runs {running}, not {version}")

    async def _running(self, device: str) -> str:
        """What stays on the board, by the technician's tool; the agent's own talk is waited for."""
        board = self.city.kiosks[device].board
        assert board is not None, f"{device} has no board"
        while True:
            tool = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "firmware_tools", "board", "--port", str(board.port), "--json"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(TOOL_S):
                    out, _ = await tool.communicate()
            finally:
                if tool.returncode is None:
                    tool.kill()
                    await tool.wait()
            if tool.returncode != os.EX_UNAVAILABLE:
                break
        told = json.loads(out)
        if tool.returncode != os.EX_OK or "next_reset" in told:
            raise StepError(f"the board of {device} says {told}")
        return str(told["slot_0"][0])


def _path(version: str) -> str:
    return f"firmware/{BOARD}-{version}.bin"
