"""What the start page may do with the city."""

import asyncio
from collections.abc import Mapping, Sequence

import httpx

from contract.languages import official_date
from simulators.city.city import City
from simulators.city.hardware import KioskHardware
from simulators.devices.printer import Fault
from simulators.people import Person
from simulators.start_page.desk import Action, Citizen, Lamp, RefusedError

BROKER_AWAY_S = 10.0
CITIZENS_SHOWN = 12
SERVICE_S = 5.0


class CityDesk:
    """Implements `simulators.start_page.desk.Desk` over a running city."""

    def __init__(self, city: City) -> None:
        self._city = city
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pages_url(self) -> str:
        """Where the control plane's pages are."""
        return self._city.ports.pages_url

    @property
    def kiosks(self) -> Mapping[str, str]:
        """The touch page of each kiosk."""
        return {device: f"{self._city.kiosk_url(device)}/" for device in self._city.plan.kiosk_ids}

    @property
    def halls(self) -> Sequence[str]:
        """The recorders."""
        return self._city.plan.hall_ids

    @property
    def citizens(self) -> Sequence[Citizen]:
        """Those who can ask for the most first; the last one shown holds nothing."""
        everybody = list(self._city.citizens().values())
        shown = everybody[: CITIZENS_SHOWN - 1] + everybody[-1:]
        return [self._citizen(person) for person in shown]

    def _citizen(self, person: Person) -> Citizen:
        sheets = len(self._city.people.lists_of(person.person))
        return Citizen(person.person, person.name, official_date(person.date_of_birth), sheets)

    @property
    def one_time_password(self) -> str | None:
        """The administrator's, until somebody has chosen another."""
        password = self._city.password
        if password is None or not password.one_time or not self._city.must_change_password():
            return None
        return password.text

    def lamps(self) -> Sequence[Lamp]:
        """The services first, then every device."""
        services = [
            Lamp(name, "up" if self._city.children[name].running else "down")
            for name in ("control-plane", "ingest", "broker")
        ]
        registry = Lamp("registry", "up" if self._city.registry_mode == "ok" else "broken")
        devices = [self._device_lamp(device) for device in [*self.halls, *self.kiosks]]
        return [*services, registry, Lamp("payments", "up"), *devices]

    def _device_lamp(self, device: str) -> Lamp:
        if not self._city.children[device].running:
            return Lamp(device, "down")
        hardware = self._city.kiosks.get(device)
        broken = hardware is not None and hardware.fault is not None
        return Lamp(device, "broken" if broken or self._city.unplugged(device) else "up")

    async def do(self, action: Action, device: str, person: str) -> None:
        """Do what a button says.

        Raises:
            RefusedError: there is no such device or person, or it cannot be done now.
        """
        match action:
            case Action.PRESENT_DOCUMENT:
                citizen = self._city.people.persons.get(person)
                if citizen is None:
                    raise RefusedError(f"there is no person {person!r:.40}")
                self._kiosk(device).lay_on_reader(citizen)
            case Action.PAY | Action.DECLINE:
                await self._card(device, "approve" if action is Action.PAY else "decline")
            case Action.PAPER_OUT | Action.PAPER_IN:
                fault = Fault.PAPER_OUT if action is Action.PAPER_OUT else None
                await asyncio.to_thread(self._kiosk(device).set_fault, fault)
            case Action.UNPLUG_MICROPHONE | Action.PLUG_MICROPHONE:
                if device not in self.halls:
                    raise RefusedError(f"there is no hall {device!r:.40}")
                self._city.plug_microphone(device, plugged=action is Action.PLUG_MICROPHONE)
            case Action.REGISTRY_DOWN | Action.REGISTRY_UP:
                await self._registry("down" if action is Action.REGISTRY_DOWN else "ok")
            case Action.KILL_CONTROL_PLANE:
                self._city.children["control-plane"].kill()
            case Action.STOP_BROKER:
                self._stop_broker()

    def _kiosk(self, device: str) -> KioskHardware:
        try:
            return self._city.kiosks[device]
        except KeyError:
            raise RefusedError(f"there is no kiosk {device!r:.40}") from None

    async def _card(self, device: str, outcome: str) -> None:
        self._kiosk(device)
        await self._post(f"{self._city.terminal_url(device)}/card", {"outcome": outcome})

    async def _registry(self, mode: str) -> None:
        await self._post(f"{self._city.registry_url}/fault", {"mode": mode})
        self._city.registry_mode = mode

    async def _post(self, url: str, body: dict[str, str]) -> None:
        async with httpx.AsyncClient(timeout=SERVICE_S) as client:
            answer = await client.post(url, json=body)
        if answer.is_error:
            raise RefusedError(f"{url} answered {answer.status_code}")

    def _stop_broker(self) -> None:
        broker = self._city.children["broker"]
        if not broker.running:
            raise RefusedError("the broker is stopped already")
        broker.hold()
        broker.terminate()

        async def bring_back() -> None:
            await asyncio.sleep(BROKER_AWAY_S)
            broker.release()

        task = asyncio.create_task(bring_back())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
