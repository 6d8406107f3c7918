"""The part of the story about identity: a device is shut out, and comes back with a new token."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from simulators.city.city import City
from simulators.city.files import write_private
from simulators.city.report import StepError
from simulators.city.visitor import Visitor

SHUT_OUT_S = 60.0
BACK_S = 120.0
LOOK_S = 0.25
KIND = "kiosk"
_TOKEN = re.compile(r'<code class="token">([^<]+)</code>')

Step = Callable[[str, float, Callable[[], Coroutine[Any, Any, str]]], Coroutine[Any, Any, bool]]


class IdentityStory:
    """Certificates in `city`, seen and ended by the signed-in `staff`; `step` reports each."""

    def __init__(self, city: City, staff: Visitor, step: Step) -> None:
        self.city = city
        self.staff = staff
        self.step = step
        self.url = city.ports.pages_url

    async def play(self) -> None:
        """All of it; without certificates nobody can be shut out of the broker."""
        if not self.city.tls:
            return
        await self.step("every certificate was proven by a connection", 60, self.proven)
        if len(self.city.plan.kiosk_ids) > 1:
            device = self.city.plan.kiosk_ids[1]
            name = f"{device} is shut out at once, its neighbours go on, and a new token lets it in again"
            await self.step(name, SHUT_OUT_S + BACK_S, partial(self.shut_out, device))

    async def proven(self) -> str:
        """Each device has said that its link stood with the certificate that it has."""
        devices = [*self.city.plan.kiosk_ids, *self.city.plan.hall_ids]
        for device in devices:
            await self._until(device, _is_active)
        return f"{len(devices)} certificates are active"

    async def shut_out(self, device: str) -> str:
        """Revoke it on its page; when it is certainly out, enrol it again as a technician does."""
        before = {each: self.city.linked(each) for each in self.city.plan.kiosk_ids}
        path = f"/enrolment/{device}"
        await self.staff.send(await self.staff.open(self.url + path), f"{path}/revoke")
        async with asyncio.timeout(SHUT_OUT_S):
            drop = (await self._until(device, _is_out))["drop"]
        wanted = {"device": device, "kind": KIND, "site": self.city.plan.site(device)}
        page = await self.staff.send(await self.staff.open(f"{self.url}/enrolment"), "/enrolment", wanted)
        token = _TOKEN.search(page.html)
        if token is None:
            raise StepError(f"the page shows no token for {device}")
        write_private(self.city.folder.device(device) / "token", token[1])
        async with asyncio.timeout(BACK_S):
            await self.city.link_up(device, before[device] + 1)
            await self._until(device, _is_active)
        fallen = [each for each in before if each != device and self.city.linked(each) != before[each]]
        if fallen:
            raise StepError(f"{', '.join(fallen)} lost the link, too")
        return f"{device} was certainly out after {drop['tries']} tries, and is back with a new certificate"

    async def _until(self, device: str, holds: Callable[[Any], bool]) -> Any:
        """What the control plane says of the device, once it `holds`."""
        while True:
            member = await self.staff.json(f"{self.url}/api/v1/enrolment/devices/{device}")
            if holds(member):
                return member
            await asyncio.sleep(LOOK_S)  # only the page tells


def _is_active(member: Any) -> bool:
    return bool(member["certificates"][0]["state"] == "active")


def _is_out(member: Any) -> bool:
    return bool(member["drop"] and member["drop"]["done_at"])
