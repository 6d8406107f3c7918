"""The running city: starts every part in order, breaks some on request, ends all of them."""

import asyncio
import csv
import io
import json
import random
import shutil
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from edge_agent.link.identity import identity
from simulators import people
from simulators.city import processes
from simulators.city.files import write_embedded_broker, write_private, write_toml
from simulators.city.firmware import IoBoard, Makers
from simulators.city.folder import Folder
from simulators.city.hardware import KioskHardware, Thermometer
from simulators.city.plan import PYTHON, Plan, Ports, agent_settings, cloud_settings
from simulators.city.processes import Child, Command, mosquitto
from simulators.city.releases import Releases
from simulators.city.servers import LOOPBACK, Served, serve
from simulators.devices.printer import Printers
from simulators.people import Person
from simulators.services.payments import payments_app
from simulators.services.registries import registries_app

HEALTHY_S = 60.0
ENROLLED_S = 90.0
COMMAND_S = 60.0
DEBATE_S = 180.0
FALLS_MAX = 3
"""A program that falls over so often while it starts is given up."""
AT_ONCE = 3
"""Agents that start at the same time; more do not start sooner on two cores."""
LINK_UP = "link_connected"
SELF_TEST_S = 20.0
"""How long a new version may take to be well; printers of a city on a laptop answer within five."""
RECOGNISER_READY = "recogniser_ready"
TEMPERATURE_EVERY_S = 5.0
REVOKED_EVERY_S = 0.5
ADMIN = "admin"

Tell = Callable[[str], None]


class CityError(Exception):
    """The city could not be started; the sentence says which part and where its log is."""


@dataclass
class Password:
    """The administrator's; `one_time` until somebody has chosen another."""

    text: str
    one_time: bool


class City:
    """One city in one folder. `start`, then live, then `stop`."""

    def __init__(self, plan: Plan, folder: Folder, tell: Tell) -> None:
        self.plan = plan
        self.folder = folder
        self.tell = tell
        self.ports = Ports.free(plan)
        self.people = people.generate(plan.seed)
        self.releases = Releases(folder.cloud / "repository", folder.path / "keys")
        self.firmware = Makers(folder.path / "firmware")
        self.tls = plan.broker != "embedded" and (
            plan.broker == "mosquitto" or shutil.which("mosquitto") is not None
        )
        self.password: Password | None = None
        self.children: dict[str, Child] = {}
        self.kiosks: dict[str, KioskHardware] = {}
        self.registry_mode = "ok"
        self._served: list[Served] = []
        self._printers: Printers | None = None
        self._debate: Path | None = None
        self._spoken = ""
        self.debate_ms = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._hardware = threading.Lock()
        self._stopping = False
        self._strangers = {process.pid for process in processes.descendants()}
        """What this process had begun before the city; a test may have a database server of its own."""

    @property
    def broker_name(self) -> str:
        """Which broker this city has."""
        return "mosquitto" if self.tls else "iotcore"

    @property
    def payments_url(self) -> str:
        """The payment provider."""
        return f"http://{LOOPBACK}:{self.ports.payments}"

    def terminal_url(self, device: str) -> str:
        """The card terminal of a kiosk."""
        return f"{self.payments_url}/terminals/{device}"

    def kiosk_url(self, device: str) -> str:
        """The touch page of a kiosk."""
        return f"http://{LOOPBACK}:{self.ports.kiosks[device]}"

    @property
    def registry_url(self) -> str:
        """The cadastre."""
        return f"http://{LOOPBACK}:{self.ports.cadastre}"

    @property
    def bootstrap_url(self) -> str:
        """Where devices enrol."""
        return f"https://localhost:{self.ports.bootstrap}"

    @property
    def device_url(self) -> str:
        """Where devices are served."""
        return f"https://localhost:{self.ports.device}"

    def trust(self, device: str | None = None) -> ssl.SSLContext:
        """TLS that trusts the city's authority, and shows the certificate of `device`."""
        trusted = self.folder.cloud / "pki" / "ca.pem"
        if device is not None:
            return identity(self.folder.device(device) / "data", trusted).context()
        return ssl.create_default_context(cafile=str(trusted))

    def linked(self, device: str) -> int:
        """How often a device has connected to the broker."""
        return self.children[device].log.count(LINK_UP)

    async def link_up(self, device: str, count: int) -> None:
        """Wait until a device has connected `count` times."""
        await self.children[device].log.wait(LINK_UP, count)

    @property
    def spoken(self) -> str:
        """What the microphones say."""
        return self._spoken

    async def start(self) -> None:
        """Start everything; every device is connected when this returns.

        Raises:
            CityError: a part did not start.
        """
        processes.adopt_orphans()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._make_debate())
                group.create_task(self._start_ground())
            self._begin(self._keep_warm())
            await self._start_agents()
        except BaseExceptionGroup as failed:
            wanting = failed.subgroup(CityError)
            raise (_leaf(wanting) if wanting else failed) from None

    async def stop(self) -> list[str]:
        """End everything; gives what could not be ended (nothing, if all is well)."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        agents = [
            self.children[name] for name in self.plan.kiosk_ids + self.plan.hall_ids if name in self.children
        ]
        await asyncio.gather(*(child.stop() for child in agents))
        for name in ("worker", "ingest", "control-plane", "broker"):
            if name in self.children:
                await self.children[name].stop()
        await asyncio.to_thread(self._switch_off)
        for served in reversed(self._served):
            await served.stop()
        return await asyncio.to_thread(processes.end_all, self._strangers)

    # --- parts ---

    async def _start_ground(self) -> None:
        """All that agents need."""
        await self._start_services()
        await self._start_cloud()
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(self._switch_on))
            group.create_task(self._issue_tokens())

    async def _start_services(self) -> None:
        self._served.append(await serve(registries_app(self.people), self.ports.cadastre))
        journal = self.folder.services / "payments.jsonl"
        self._served.append(
            await serve(payments_app(clock=time.monotonic, journal=journal), self.ports.payments)
        )

    async def _start_cloud(self) -> None:
        self.tell("control plane: keys, database, administrator")
        await asyncio.to_thread(self.releases.prepare)
        settings = cloud_settings(self.plan, self.ports, tls=self.tls)
        settings["updates"] = {
            "repository_dir": self.releases.repository,
            "timestamp_key_file": self.releases.timestamp_key,
        }
        self._cloud_file = write_toml(self.folder.cloud / "cloud.toml", settings)
        told = json.loads(await self._cloud("init"))
        self._keep_password(told.get("one_time_password"))
        await self._start_broker()
        self.tell("control plane: starting")
        for name, command in (("control-plane", "serve"), ("ingest", "ingest"), ("worker", "worker")):
            await self._run(name, PYTHON, "-m", "cloud", command, "--settings", str(self._cloud_file))
        await self._healthy()

    async def _start_broker(self) -> None:
        if self.tls:
            self.tell("broker: mosquitto with mutual TLS")
            await self._cloud(
                "broker-config", "--out", str(self.folder.broker), "--port", str(self.ports.broker)
            )
            started = (PYTHON, "-m", "cloud.broker_log", str(self.folder.broker))
            await self._start(mosquitto(*started, again=True))
            self._begin(self._carry_revocations())
            return
        self.tell(
            "broker: iotcore on the loopback, WITHOUT certificates: this mode is for one machine only. "
            "Install mosquitto to have mutual TLS; without it nobody can be shut out."
        )
        config = write_embedded_broker(self.folder.broker / "iotcore.toml", self.ports.broker)
        await self._run("broker", PYTHON, "-m", "iotcore", "--config", str(config), "--log-level", "CRITICAL")

    async def _carry_revocations(self) -> None:
        """What a unit does on a server: the broker reads each new list of revoked certificates."""
        signed, read = self.folder.cloud / "pki" / "crl.pem", self.folder.broker / "crl.pem"
        while True:
            if signed.read_bytes() != read.read_bytes():
                beside = read.with_name("crl.pem.new")
                write_private(beside, signed.read_text(encoding="ascii"))
                beside.replace(read)
                self.children["broker"].reload()
            await asyncio.sleep(REVOKED_EVERY_S)

    async def _healthy(self) -> None:
        url = f"{self.ports.pages_url}/healthz"
        until = time.monotonic() + HEALTHY_S
        async with httpx.AsyncClient() as client:
            while time.monotonic() < until:
                try:
                    if (await client.get(url)).status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    pass  # it does not listen yet
                await asyncio.sleep(0.1)
        raise CityError(self._failed("control-plane", f"was not healthy within {HEALTHY_S:g} s"))

    def _switch_on(self) -> None:
        self.tell("kiosks: printers, document readers, receipt printers, an I/O board")
        with self._hardware:  # a city that is stopped meanwhile waits here for the printer in hand
            self._printers = Printers(self.folder.services / "printers", self.plan.printers)
            for device in self.plan.kiosk_ids:
                if self._stopping:
                    return
                self.kiosks[device] = KioskHardware(device, self._printers, self._board(device))

    def _board(self, device: str) -> IoBoard | None:
        if device not in self.plan.board_ids:
            return None
        self.firmware.prepare()
        return IoBoard(self.folder.device(device) / "board", device, self.firmware)

    def _switch_off(self) -> None:
        with self._hardware:
            for hardware in self.kiosks.values():
                hardware.close()
            if self._printers is not None:
                self._printers.stop()

    async def _make_debate(self) -> None:
        """What the microphones will say; spoken once and kept for all cities."""
        if not self.plan.halls:
            return
        folder = self.plan.cache / "debate"
        if not (folder / "debate.json").exists():
            self.tell("halls: the debate is being spoken (once, about half a minute)")
        await self._tool(
            *(PYTHON, "-m", "simulators.debate"),
            *("--out", str(folder), "--seed", str(self.plan.seed)),
            within_s=DEBATE_S,
        )
        told = json.loads((folder / "debate.json").read_text(encoding="utf-8"))
        self._spoken = " ".join(line["text"] for line in told["lines"])
        self.debate_ms = told["duration_ms"]
        self._debate = folder / "debate.wav"

    async def _issue_tokens(self) -> None:
        wanted = [device for device in self.plan.kiosk_ids + self.plan.hall_ids if not self._enrolled(device)]
        if not wanted:
            return
        self.tell(f"enrolment: one-time tokens for {len(wanted)} devices")
        rows = io.StringIO()
        csv.writer(rows).writerows(
            (device, "recorder" if device in self.plan.hall_ids else "kiosk", self.plan.site(device))
            for device in wanted
        )
        listed = self.folder.services / "new-devices.csv"
        listed.write_text(rows.getvalue(), encoding="utf-8")
        told = json.loads(await self._cloud("enrol-token", "--list", str(listed)))
        for each in told["tokens"]:
            folder = self.folder.device(each["device"])
            folder.mkdir(parents=True, exist_ok=True)
            write_private(folder / "token", each["token"])

    def _enrolled(self, device: str) -> bool:
        return identity(self.folder.device(device) / "data", self.folder.cloud / "pki" / "ca.pem").complete

    def _begin(self, life: Coroutine[Any, Any, None]) -> None:
        """Something that goes on as long as the city does."""
        self._tasks.add(asyncio.create_task(life))

    async def _keep_warm(self) -> None:
        """Every device has a temperature."""
        chance = random.Random(self.plan.seed)
        sensors = [
            Thermometer(self.folder.device(device) / "temperature", chance)
            for device in self.plan.kiosk_ids + self.plan.hall_ids
        ]
        while True:
            for sensor in sensors:
                sensor.drift()
            await asyncio.sleep(TEMPERATURE_EVERY_S)

    async def _start_agents(self) -> None:
        devices = self.plan.hall_ids + self.plan.kiosk_ids
        self.tell(f"devices: {len(devices)} agents make their keys, enrol and connect")
        limit = asyncio.Semaphore(AT_ONCE)
        up = 0

        async def start(device: str) -> None:
            nonlocal up
            async with limit:
                settings = write_toml(self.folder.device(device) / "agent.toml", self._agent_settings(device))
                launcher = (PYTHON, "-m", "edge_agent.updates.launcher", "--settings", str(settings))
                child = await self._run(device, *launcher)
                await self._said(child, LINK_UP, ENROLLED_S)
            up += 1
            self.tell(f"devices: {device} is connected ({up} of {len(devices)})")

        async with asyncio.TaskGroup() as group:
            for device in devices:
                group.create_task(start(device))

    async def _said(self, child: Child, event: str, within_s: float) -> None:
        """Wait until a child has said `event` for the first time.

        Raises:
            CityError: it did not in time, or it keeps falling over.
        """
        said = asyncio.create_task(child.log.wait(event, 1))
        falls = asyncio.create_task(child.fallen(FALLS_MAX))
        await asyncio.wait({said, falls}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        held = said.done()
        for task in (said, falls):
            task.cancel()
        if not held:
            raise CityError(self._failed(child.command.name, f"has not said {event} in {within_s:g} s"))

    def _agent_settings(self, device: str) -> dict[str, Any]:
        folder = self.folder.device(device)
        settings = agent_settings(self.plan, self.ports, device, folder, tls=self.tls)
        settings["updates"] = {"root_file": self.releases.root, "self_test_s": SELF_TEST_S}
        if device in self.kiosks:
            hardware = self.kiosks[device]
            settings["kiosk"] = {
                "page_port": self.ports.kiosks[device],
                "printer_uri": hardware.printer.uri,
                "document_reader_port": hardware.reader.port,
                "receipt_printer_port": hardware.receipts.port,
                "terminal_url": self.payments_url,
                "verify_url": f"{self.ports.pages_url}/verify",
                **({"board_port": hardware.board.port} if hardware.board is not None else {}),
            }
        else:
            models = self.plan.cache.resolve() / "models"
            settings["recorder"] = {
                "microphone_command": self.microphone(device),
                "floor_command": self.conference(device),
                "segment_s": self.plan.segment_s,
                "upload_bytes_per_s": self.plan.upload_bytes_per_s,
                "model_dir": models / "whisper-tiny.en",
                "vad_model": models / "silero_vad.onnx",
            }
        return settings

    def microphone(self, device: str) -> Sequence[str]:
        """The command that the recorder of a hall listens to."""
        return [
            *(PYTHON, "-m", "simulators.devices.microphone"),
            *("--wav", str(self._debate), "--cue", str(self._cue(device))),
            *("--unplugged", str(self._unplugged(device)), "--after", self.plan.after_debate),
        ]

    def conference(self, device: str) -> Sequence[str]:
        """The command that tells the recorder of a hall who has the floor."""
        return [
            *(PYTHON, "-m", "simulators.devices.conference"),
            *("--debate", str(self.plan.cache / "debate" / "debate.json"), "--cue", str(self._cue(device))),
            *("--after", self.plan.after_debate),
        ]

    def _cue(self, device: str) -> Path:
        return self.folder.device(device) / "cue"

    def _unplugged(self, device: str) -> Path:
        return self.folder.device(device) / "unplugged"

    def begin_debate(self, hall: str) -> None:
        """People in the hall begin to speak."""
        self._cue(hall).touch()

    def ready_recognisers(self, hall: str) -> int:
        """How often the recogniser of a hall has become ready."""
        return self.children[hall].log.count(RECOGNISER_READY)

    async def recogniser_ready(self, hall: str, count: int) -> None:
        """Wait until the recogniser of a hall has become ready `count` times."""
        await self.children[hall].log.wait(RECOGNISER_READY, count)

    def keep_speaking(self) -> None:
        """From now on, people in a hall begin to speak whenever its recorder begins to write along."""
        for hall in self.plan.hall_ids:
            self._begin(self._speak_when_heard(hall))

    async def _speak_when_heard(self, hall: str) -> None:
        while True:
            await self.recogniser_ready(hall, self.ready_recognisers(hall) + 1)
            self.begin_debate(hall)

    def plug_microphone(self, hall: str, *, plugged: bool) -> None:
        """Pull the microphone's cable, or put it in again."""
        if plugged:
            self._unplugged(hall).unlink(missing_ok=True)
        else:
            self._unplugged(hall).touch()

    def unplugged(self, device: str) -> bool:
        """Whether the microphone's cable is out."""
        return self._unplugged(device).exists()

    # --- what the parts are made with ---

    async def _run(self, name: str, *words: str) -> Child:
        return await self._start(Command(name, words))

    async def _start(self, command: Command) -> Child:
        child = Child(command, self.folder.logs, self._note_processes)
        self.children[command.name] = child
        await child.start()
        return child

    async def _cloud(self, command: str, *words: str) -> str:
        """Run one command of the control plane; what it printed.

        Raises:
            CityError: it failed.
        """
        return await self._tool(
            *(PYTHON, "-m", "cloud", command, "--settings", str(self._cloud_file), *words),
            within_s=COMMAND_S,
        )

    async def _tool(self, *words: str, within_s: float) -> str:
        """Run a program to its end; what it printed.

        Raises:
            CityError: it failed, or did not end in time.
        """
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        name = " ".join(words[1:4])
        try:
            async with asyncio.timeout(within_s):
                out, errors = await process.communicate()
        except TimeoutError:
            raise CityError(f"{name} did not end within {within_s:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise CityError(f"{name} failed: {errors.decode(errors='replace')[-800:]}")
        return out.decode()

    def _failed(self, name: str, what: str) -> str:
        child = self.children[name]
        return f"{name} {what}; its log is {self.folder.logs / name}.log and ends: {child.log.tail()}"

    def _note_processes(self) -> None:
        self.folder.note_processes([child.pid for child in self.children.values() if child.running])

    def write_addresses(self, start_page: str) -> None:
        """Tell other programs where everything is: `addresses.json` in the data folder."""
        ports = self.ports
        addresses = {
            "start_page": start_page,
            "pages": ports.pages_url,
            "bootstrap": f"https://localhost:{ports.bootstrap}",
            "device": f"https://localhost:{ports.device}",
            "broker": ports.broker,
            "mutual_tls": self.tls,
            "registry": self.registry_url,
            "payments": self.payments_url,
            "kiosks": {device: f"http://{LOOPBACK}:{port}" for device, port in ports.kiosks.items()},
        }
        (self.folder.path / "addresses.json").write_text(json.dumps(addresses, indent=1), encoding="utf-8")

    # --- the administrator ---

    @property
    def _password_file(self) -> Path:
        return self.folder.path / "administrator.json"

    def _keep_password(self, one_time: str | None) -> None:
        if one_time is not None:
            self.set_password(Password(one_time, one_time=True))
            return
        try:
            self.password = Password(**json.loads(self._password_file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            self.password = None
        if self.password is not None and self.password.one_time and not self.must_change_password():
            self.password = None  # a person has chosen another since

    def must_change_password(self) -> bool:
        """Whether the administrator has still to choose a password."""
        with closing(sqlite3.connect(self.folder.cloud / "fleet.db")) as database:
            row = database.execute(
                "SELECT must_change_password FROM operators WHERE name = ?", (ADMIN,)
            ).fetchone()
        return row is not None and bool(row[0])

    def set_password(self, password: Password) -> None:
        """Remember what the story chose, for the next run in this folder."""
        self.password = password
        write_private(self._password_file, json.dumps(vars(password)))

    # --- citizens ---

    def citizens(self) -> Mapping[str, Person]:
        """The people by id, those first who can ask for a sheet for themselves."""
        holders = {person for person in self.people.persons if self.people.lists_of(person)}
        first = sorted(self.people.persons, key=lambda person: person not in holders)
        return {person: self.people.persons[person] for person in first}


def _leaf(group: BaseExceptionGroup[CityError]) -> BaseException:
    first = group.exceptions[0]
    return _leaf(first) if isinstance(first, BaseExceptionGroup) else first
