"""The part of the story about updates: one is committed, one is rolled back, one is refused."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from simulators.city.city import City
from simulators.city.releases import deaf_to_the_printer
from simulators.city.report import StepError
from simulators.city.visitor import Visitor

GOOD, DEAF, UNSIGNED = "0.2.0", "0.3.0", "0.4.0"
ENDS = frozenset({"committed", "rolled_back", "failed"})
FAILED_IN_ALBANIAN = "Vetëprova e versionit të ri dështoi"
UPDATED_S = 90.0
LOOK_S = 0.25

Step = Callable[[str, float, Callable[[], Coroutine[Any, Any, str]]], Coroutine[Any, Any, bool]]


class UpdateStory:
    """Updates in `city`, ordered by the signed-in `staff`; `step` reports each."""

    def __init__(self, city: City, staff: Visitor, step: Step) -> None:
        self.city = city
        self.staff = staff
        self.step = step
        self.url = city.ports.pages_url

    async def play(self) -> None:
        """All of it; the devices run the first new version at the end."""
        kiosks, halls = self.city.plan.kiosk_ids, self.city.plan.hall_ids
        devices = [*kiosks[-1:], *halls[-1:]]
        if await self.step("a new release of the agent is published", 60, self.publish_good):
            async with asyncio.TaskGroup() as group:
                for device in devices:
                    group.create_task(
                        self.step(
                            f"the new release is committed by {device}",
                            UPDATED_S + 30,
                            partial(self.committed, f"agent/agent-{GOOD}.zip", GOOD, device),
                        )
                    )
        if kiosks:
            await self.step(
                "a release whose self-test fails is rolled back, and the page says so",
                UPDATED_S + 60,
                partial(self.rolled_back, kiosks[-1]),
            )
        await self.step(
            "a release with too few signatures is refused", UPDATED_S, partial(self.refused, devices[0])
        )

    async def publish_good(self) -> str:
        """The same code as runs here, under a new number."""
        path = await self.city.releases.publish_agent(GOOD)
        page = await self.staff.open(f"{self.url}/updates")
        if path not in page.text:
            raise StepError(f"the page does not list {path}")
        return f"{path} stands on the page"

    async def committed(self, path: str, version: str, device: str, runs: bool = True) -> str:
        """Assign a version on the page and watch it; `runs`: presence must tell that it runs."""
        connected = self.city.linked(device)
        told = await self.ended(await self.assign(path, device), device)
        if told["state"] != "committed":
            raise StepError(f"{device}: {told['state']} {told['code']} {told['detail']}")
        if runs:
            await self.city.link_up(device, connected + 1)
            await self._until(lambda: self._runs(device, version))
        return f"{device} runs {version}, committed after {told['revision']} steps"

    async def rolled_back(self, device: str) -> str:
        """The kiosk tries it, finds its printer gone, and goes back; people read why in their language."""
        before = (await self.staff.json(f"{self.url}/api/v1/devices/{device}"))["agent"]
        path = await self.city.releases.publish_agent(DEAF, change=deaf_to_the_printer)
        update = await self.assign(path, device)
        told = await self.ended(update, device)
        if (told["state"], told["code"]) != ("rolled_back", "self-test-failed"):
            raise StepError(f"{device}: {told['state']} {told['code']} {told['detail']}")
        await self._until(lambda: self._runs(device, before))
        page = await self._in_albanian(f"{self.url}/updates/{update}")
        if FAILED_IN_ALBANIAN not in page:
            raise StepError("the page does not say in Albanian that the self-test failed")
        return f"{device} runs {before} again: {told['detail']}"

    async def refused(self, device: str) -> str:
        """One of two keys has signed; the device says so, and the next publication heals it."""
        try:
            path = await self.city.releases.publish_agent(UNSIGNED, leave_out=("agent-2",))
            told = await self.ended(await self.assign(path, device), device)
        finally:
            await self.city.releases.sign_again("agent")
        if (told["state"], told["code"]) != ("failed", "metadata-under-signed"):
            raise StepError(f"{device}: {told['state']} {told['code']} {told['detail']}")
        return f"{device} says: {told['detail']}"

    async def assign(self, path: str, device: str) -> str:
        """Fill in the form of the page; the id of the roll-out."""
        page = await self.staff.open(f"{self.url}/updates")
        page = await self.staff.send(page, "/updates", {"path": path, "target": device})
        update = page.url.rsplit("/", 1)[1]
        if not update.startswith("up-"):
            raise StepError(f"assigning {path} to {device} was answered with {page.status}")
        return update

    async def ended(self, update: str, device: str) -> dict[str, Any]:
        """Wait until the update has come to its end on a device; what the device said last."""
        found: dict[str, Any] = {}

        async def over() -> bool:
            told = await self.staff.json(f"{self.url}/api/v1/updates/{update}")
            found.update(next(each for each in told["assignments"] if each["device"] == device))
            return found["state"] in ENDS

        await self._until(over)
        return found

    async def _runs(self, device: str, version: str) -> bool:
        told = await self.staff.json(f"{self.url}/api/v1/devices/{device}")
        return bool(told["agent"] == version and told["presence"] == "online")

    async def _in_albanian(self, url: str) -> str:
        """The page as the staff member reads it in Albanian, and then back in English."""
        for language in ("sq", "en"):
            page = await self.staff.open(f"{self.url}/updates")
            page = await self.staff.send(page, "/language", {"language": language})
            if language == "sq":
                shown = (await self.staff.open(url)).text
        return shown

    async def _until(self, holds: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        async with asyncio.timeout(UPDATED_S):
            while not await holds():  # noqa: ASYNC110 - only the page can tell
                await asyncio.sleep(LOOK_S)
