"""Where the load goes: one mosquitto with mutual TLS and the ingest, in a folder, on the loopback only.

Everything is made by the control plane's own commands, but for the devices' certificates: those are signed in
bulk with the key of the folder's own authority.
"""

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cloud.enrolment import pki
from edge_agent.link.identity import Identity, identity
from simulators.city.processes import Child, Command, mosquitto
from simulators.city.servers import free_ports

START_S = 30.0
STOP_S = 20.0
LOOK_S = 0.02
MOSQUITTO_PATH = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
SETTINGS = """
data_dir = "{folder}/cloud"
public_url = "http://localhost"
pages = {{ port = {pages} }}
bootstrap = {{ port = {bootstrap} }}
device = {{ port = {device} }}
broker = {{ host = "localhost", port = {broker} }}
documents = {{ registry_url = "http://127.0.0.1:9", payments_url = "http://127.0.0.1:9" }}
"""


class PlaceError(Exception):
    """The place cannot be made here; the sentence says why and what to do."""


@dataclass(frozen=True)
class Ledger:
    """What the cloud has of the telemetry lane: samples stored by device, and marks with a gap above."""

    stored: dict[str, int]
    counted: int
    gaps: int

    def since(self, before: "Ledger") -> "Ledger":
        """What has come since `before`; gaps are those that there are."""
        stored = {name: count - before.stored.get(name, 0) for name, count in self.stored.items()}
        return Ledger(stored, self.counted - before.counted, self.gaps)


class Place:
    """A broker and an ingest, and the identities of the devices that may come; `control` is not started."""

    def __init__(self, folder: Path, port: int, broker: Child, ingest: Child, control: Child) -> None:
        self.folder = folder
        self.port = port
        self.broker = broker
        self.ingest = ingest
        self.control = control
        self.identities: dict[str, Identity] = {}

    @property
    def cloud(self) -> Path:
        """The control plane's folder."""
        return self.folder / "cloud"

    async def start_broker(self) -> None:
        """Returns when it accepts connections."""
        await self.broker.start()
        async with asyncio.timeout(START_S):
            while not await self._answers():
                if not self.broker.running:
                    raise PlaceError(f"mosquitto ended: {self.broker.log.tail(5)}")
                await asyncio.sleep(LOOK_S)  # a port that opens gives no event to wait for

    async def end_broker(self, how: Literal["term", "kill"]) -> None:
        """In order, or as a power cut does; returns when it is gone."""
        (self.broker.terminate if how == "term" else self.broker.kill)()
        async with asyncio.timeout(STOP_S):
            await self.broker.ended()

    @staticmethod
    def cpu_s(child: Child) -> float:
        """Processor seconds that a process of the place has used since its last start."""
        return float(sum(psutil.Process(child.pid).cpu_times()[:2]))

    def ledger(self) -> Ledger:
        """Look into the telemetry database, beside the ingest that writes it."""
        path = self.cloud / "telemetry.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
            stored = dict(
                database.execute(
                    "SELECT s.device, count(*) FROM points p JOIN series s ON s.id = p.series "
                    "WHERE s.metric = 'uptime_s' GROUP BY s.device"
                ).fetchall()
            )
            counted = database.execute("SELECT coalesce(sum(messages), 0) FROM link_totals").fetchone()[0]
            gaps = database.execute(
                "SELECT count(*) FROM link_watermarks WHERE lane = 'telemetry' AND above != '[]'"
            ).fetchone()[0]
        return Ledger(stored, int(counted), int(gaps))

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


@asynccontextmanager
async def laid(folder: Path, devices: Sequence[str]) -> AsyncIterator[Place]:
    """The place in `folder` with these devices in its registry; its processes end with it.

    Raises:
        PlaceError: mosquitto is not installed, or a command of the control plane failed.
    """
    if shutil.which("mosquitto", path=MOSQUITTO_PATH) is None:
        raise PlaceError("mosquitto is missing: apt-get install mosquitto")
    ports = free_ports(4)
    settings = folder / "cloud.toml"
    named = dict(zip(("pages", "bootstrap", "device", "broker"), ports, strict=True))
    settings.write_text(SETTINGS.format(folder=folder, **named), encoding="utf-8")
    cloud = (sys.executable, "-m", "cloud")
    await _run(*cloud, "init", "--settings", str(settings))
    port = named["broker"]
    await _run(
        *(*cloud, "broker-config", "--settings", str(settings)),
        *("--out", str(folder / "broker"), "--port", str(port)),
    )
    listed = folder / "devices.csv"
    listed.write_text("".join(f"{name},kiosk,load\n" for name in devices), encoding="utf-8")
    await _run(*cloud, "enrol-token", "--settings", str(settings), "--list", str(listed))
    started = (sys.executable, "-m", "cloud.broker_log", str(folder / "broker"))
    broker = mosquitto(*started, again=False)
    ingest = Command("ingest", (*cloud, "ingest", "--settings", str(settings)), again=False)
    logs = folder / "logs"
    control = Command("control", (*cloud, "serve", "--settings", str(settings)), again=False)
    place = Place(folder, port, *(Child(each, logs) for each in (broker, ingest, control)))
    place.identities = await asyncio.to_thread(_enrol, place, devices)
    try:
        await place.start_broker()
        await place.ingest.start()
        async with asyncio.timeout(START_S):
            await place.ingest.log.wait("link_connected", 1)
        yield place
    finally:
        for child in (place.control, place.ingest, place.broker):
            await child.stop()


def _enrol(place: Place, devices: Sequence[str]) -> dict[str, Identity]:
    """Give each a key and a certificate of the place's own authority."""
    now = datetime.now(UTC)
    authority = pki.load(place.cloud / "pki")
    found = {}
    for name in devices:
        who = identity(place.folder / "devices" / name, place.cloud / "pki" / "ca.pem")
        key = ec.generate_private_key(ec.SECP256R1())
        who.key.parent.mkdir(parents=True, mode=0o700)
        who.key.touch(0o600)
        who.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        certificate = authority.device(key.public_key(), name, "kiosk", now)
        who.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        found[name] = who
    return found


async def _run(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise PlaceError(f"{' '.join(words[1:4])} failed: {said.decode(errors='replace')[-1000:]}")
