"""What an agent at rest sends and receives in an hour, beside a bare paho process with the same topics.

Both speak through a relay on the loopback that counts the bytes of their connection, TLS included, and asks
the kernel for its segments; the headers of IPv4 and TCP (with timestamps) are added for each of them. A real
ingest stores and acknowledges. The window begins when the device has been connected for a while; what a
connection costs once is reported apart.
"""

import asyncio
import socket
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from simulators.load.place import Place, laid
from tests.benchmarks.report import Measurement
from tests.edge_agent.broker import free_port

WINDOW_S = 120.0
"""Twelve samplings and four keep-alives."""
SETTLED_S = 25.0
"""The link has been up for so long, and the first sample is acknowledged."""
DEADLINE_S = 60.0
HEADERS_BYTES = 20 + 32
"""Of one segment: RFC 791 and RFC 9293 with the timestamps of RFC 7323, as Linux sends them."""
HOUR_S = 3600.0
PERIOD_S = 10.0
_SEGMENTS_AT = 136
"""Offset of tcpi_segs_out and tcpi_segs_in in struct tcp_info (linux/tcp.h)."""
BARE = """
import json, ssl, sys, time, psutil, shutil, paho.mqtt.client as paho
folder, port, device = sys.argv[1:]
client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=device, protocol=paho.MQTTv5)
context = ssl.create_default_context(cafile=f"{folder}/../../cloud/pki/ca.pem")
context.load_cert_chain(f"{folder}/pki/device.pem", f"{folder}/pki/device.key")
client.tls_set_context(context)
client.will_set(f"fleet/v1/{device}/presence", json.dumps({"online": False}), 1, True)
def up(*_):
    names = ("ack", "jobs/notify", "jobs/notify-next")
    client.subscribe([(f"fleet/v1/{device}/{name}", 1) for name in names])
    client.publish(f"fleet/v1/{device}/presence", json.dumps({"online": True}), 1, True)
client.on_connect = up
client.connect("localhost", int(port), keepalive=30)
client.loop_start()
while True:
    values = {"cpu_pct": psutil.cpu_percent(), "memory_pct": psutil.virtual_memory().percent,
              "disk_pct": round(100 * shutil.disk_usage(folder).used / shutil.disk_usage(folder).total, 1),
              "uptime_s": int(time.time() - psutil.boot_time())}
    client.publish(f"fleet/v1/{device}/telemetry", json.dumps({"at": int(time.time() * 1000), **values}), 1)
    time.sleep(10)
"""


Words = Callable[[int], list[str]]
"""The command of a device that is to connect to this port."""


@dataclass(frozen=True)
class Wire:
    """Bytes of payload of TCP, and segments, both ways."""

    bytes: int
    segments: int

    @property
    def on_the_wire(self) -> int:
        """Bytes with the headers of IPv4 and TCP."""
        return self.bytes + self.segments * HEADERS_BYTES

    def since(self, before: "Wire") -> "Wire":
        return Wire(self.bytes - before.bytes, self.segments - before.segments)


class Relay:
    """Hands one connection at a time on to the broker, and counts it; the device's side of it is measured."""

    def __init__(self, port: int) -> None:
        self._broker = port
        self._device: socket.socket | None = None
        self._bytes = 0
        self.connections = 0
        self.came = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    def read(self) -> Wire:
        """Since the connection was opened."""
        assert self._device is not None, "no device has come"
        told = self._device.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SEGMENTS_AT + 8)
        return Wire(self._bytes, sum(struct.unpack_from("=II", told, _SEGMENTS_AT)))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._device = writer.get_extra_info("socket")
        there, back = await asyncio.open_connection("127.0.0.1", self._broker)
        self.came.set()
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65_536):
                self._bytes += len(piece)
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass  # the device was ended
        writer.close()


def run() -> list[Measurement]:
    """The rows of the agent at rest: link, telemetry and jobs."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Measurement]:
    async with laid(folder, ["bare", "kiosk-001"]) as place:
        bare = await _hour(place, lambda port: _bare(place, port))
        agent = await _hour(place, lambda port: _agent(place, port))
    return [
        Measurement(
            f"agent at rest: {about}",
            value,
            unit,
            "bare paho, same topics, no acknowledgement of storing",
            beside,
            value / beside,
            "",
            None,
        )
        for about, unit, value, beside in (
            (f"on the wire, TLS and TCP/IP included (from {WINDOW_S:g} s)", "B/h", agent.hour, bare.hour),
            ("of this TLS records", "B/h", agent.records, bare.records),
            ("a connection once, with its handshake", "B", agent.once, bare.once),
        )
    ]


@dataclass(frozen=True)
class Hour:
    """Bytes an hour on the wire and in TLS records, and those of the first `SETTLED_S` of a connection."""

    hour: float
    records: float
    once: float


def _bare(place: Place, port: int) -> list[str]:
    return [sys.executable, "-c", BARE, str(place.folder / "devices" / "bare"), str(port), "bare"]


def _agent(place: Place, port: int) -> list[str]:
    away = f"https://localhost:{free_port()}"
    file = place.folder / "agent.toml"
    file.write_text(
        f'device = "kiosk-001"\nkind = "kiosk"\nsite = "bench"\n'
        f'data_dir = "{place.folder / "devices" / "kiosk-001"}"\n'
        f'[broker]\nhost = "localhost"\nport = {port}\n[telemetry]\nperiod_s = {PERIOD_S}\n'
        f'[cloud]\nbootstrap_url = "{away}"\ndevice_url = "{away}"\n'
        f'ca_file = "{place.cloud / "pki" / "ca.pem"}"\n'
    )
    return [sys.executable, "-m", "edge_agent", "--settings", str(file)]


async def _hour(place: Place, words: Words) -> Hour:
    relay = Relay(place.port)
    async with relay.listening() as port:
        process = await asyncio.create_subprocess_exec(
            *words(port), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(DEADLINE_S):
                await relay.came.wait()
            await asyncio.sleep(SETTLED_S)
            once = relay.read()
            await asyncio.sleep(WINDOW_S)
            window = relay.read().since(once)
            assert relay.connections == 1, f"it connected {relay.connections} times: nothing was measured"
            assert process.returncode is None, "it ended"
        finally:
            process.kill()
            await process.wait()
    factor = HOUR_S / WINDOW_S
    return Hour(window.on_the_wire * factor, window.bytes * factor, once.on_the_wire)
