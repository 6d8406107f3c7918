"""Telemetry from the broker into the store: ours beside the script that most people would write.

Both find the same messages waiting in the same mosquitto and write into the same VictoriaMetrics, so the
generator is not in the measurement. Counted is what the store says it has taken, from the first to the last
increase; each runs twice in turn, and the better run counts.
"""

import re
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy.orm import sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.devices import Device
from contract import topics
from contract.messages import Lane, encode, seal
from contract.telemetry import Sample, TelemetryBatch
from tests.benchmarks.naive_ingest import CLIENT_ID
from tests.benchmarks.report import Measurement
from tests.cloud.mosquitto import Mosquitto
from tests.cloud.telemetry.victoria import Victoria

MESSAGES = 120_000
MESSAGES_BACKLOG = 20_000
DEVICES = 16
SAMPLES_BACKLOG = 10
"""Samples of one message after an outage; a device that is in touch sends one."""
ROUNDS = 2
WINDOW = 50
TIMEOUT_S = 120.0
POLL_S = 0.25
"""To be asked costs the store time that it would need for the points."""
VALUES = {
    "cpu_pct": 12.5,
    "memory_pct": 41.25,
    "disk_pct": 20.125,
    "temperature_c": 48.5,
    "uptime_s": 100_000,
    "clock_skew_ms": 12,
    "outbox_waiting": 1,
    "outbox_dropped": 0,
    "printer_state": 3,
    "printer_ready": True,
    "printer_paper_empty": False,
    "printer_jammed": False,
    "printer_toner_pct": 77.5,
}
START_MS = 1_790_000_000_000
SETTINGS = """
data_dir = "{data}"
public_url = "http://localhost"
pages = {{ port = 1 }}
bootstrap = {{ port = 1 }}
device = {{ port = 1 }}
broker = {{ host = "127.0.0.1", port = {port}, tls = false }}
telemetry = {{ store = "{store}", url = "{url}" }}
documents = {{ registry_url = "http://localhost", payments_url = "http://localhost" }}
"""


@dataclass(frozen=True)
class Run:
    """One consumer's run: samples stored in a second, and CPU seconds for a million of them."""

    rate: float
    cpu: float


def run() -> list[Measurement]:
    """Measure; needs mosquitto and victoria-metrics from Debian."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        victoria = Victoria(root / "victoria")
        broker = Mosquitto(root / "broker")
        victoria.start()
        broker.start()
        try:
            return _measure(root, victoria, broker)
        finally:
            broker.kill()
            victoria.kill()


def _measure(root: Path, victoria: Victoria, broker: Mosquitto) -> list[Measurement]:
    base = [sys.executable, str(Path(__file__).with_name("naive_ingest.py")), str(broker.port), victoria.url]
    filled: list[float] = []

    def best(program: list[str], count: Callable[[], int], samples: int) -> Run:
        filled.append(_fill(broker.port, samples))
        return _consume(program, count, samples)

    rows: list[Measurement] = []
    for samples, about in (
        (1, "one sample a message"),
        (SAMPLES_BACKLOG, f"{SAMPLES_BACKLOG} samples a message"),
    ):
        ours = _settings(root / f"influx-{samples}", broker.port, "influx", victoria.url)
        runs: dict[str, list[Run]] = {"naive": [], "ours": []}
        for _ in range(ROUNDS):
            runs["naive"].append(best(base, lambda: _victoria_rows(victoria.url), samples))
            runs["ours"].append(best(ours, lambda: _victoria_rows(victoria.url), samples))
        naive_rate, our_rate = (max(each.rate for each in runs[name]) for name in ("naive", "ours"))
        naive_cpu, our_cpu = (min(each.cpu for each in runs[name]) for name in ("naive", "ours"))
        ratio = our_rate / naive_rate
        target = "ratio >= 3" if samples == 1 else ""
        rows += [
            Measurement(
                f"ingest, {about}",
                our_rate,
                "samples/s",
                "paho + batching WriteApi",
                naive_rate,
                ratio,
                target,
                ratio >= 3 if target else None,
            ),
            Measurement(
                f"ingest CPU, {about}",
                our_cpu,
                "s/million samples",
                "paho + batching WriteApi",
                naive_cpu,
                our_cpu / naive_cpu,
                "",
                None,
            ),
        ]
    database = root / "sqlite" / "telemetry.db"
    sqlite = best(_settings(root / "sqlite", broker.port, "sqlite", ""), lambda: _sqlite_points(database), 1)
    rows += [
        Measurement("ingest into SQLite", sqlite.rate, "samples/s", "", None, None, "", None),
        Measurement("ingest: generator", max(filled), "messages/s", "", None, None, "", None),
    ]
    return rows


def _settings(data: Path, port: int, store: str, url: str) -> list[str]:
    """A data folder with a registry; the command that ingests with it."""
    data.mkdir()
    engine = connect(f"sqlite:///{data / 'fleet.db'}")
    complete().create_all(engine)
    with sessionmaker(engine).begin() as session:
        for number in range(DEVICES):
            session.add(
                Device(
                    device=f"kiosk-{number:02d}",
                    kind="kiosk",
                    site="Prishtina",
                    registered_at=datetime.now(UTC),
                )
            )
    engine.dispose()
    path = data / "cloud.toml"
    path.write_text(SETTINGS.format(data=data, port=port, store=store, url=url))
    return [sys.executable, "-m", "cloud", "ingest", "--settings", str(path)]


def _fill(port: int, samples: int) -> float:
    """Let messages wait for the consumer; how many the generator wrote in a second."""
    subscribed = threading.Event()
    properties = paho.Properties(paho.PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, protocol=paho.MQTTv5)
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port, clean_start=True, properties=properties)
    client.subscribe(topics.subscription("telemetry"), qos=1)
    client.loop_start()
    assert subscribed.wait(TIMEOUT_S)
    client.disconnect()
    client.loop_stop()
    packets = _packets(samples)
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03gen")
        assert raw.recv(4) == b"\x20\x02\x00\x00"
        for first in range(0, len(packets), WINDOW):
            sent = packets[first : first + WINDOW]
            raw.sendall(b"".join(sent))
            acknowledged = 0
            while acknowledged < 4 * len(sent):
                acknowledged += len(raw.recv(4096))
    return len(packets) / (time.monotonic() - begun)


def _packets(samples: int) -> list[bytes]:
    """MQTT 3.1.1 PUBLISH packets at QoS 1, encoded before the clock starts."""
    packets = []
    boot = f"boot-{time.monotonic_ns()}"
    for number in range(_messages(samples)):
        device, seq = number % DEVICES, number // DEVICES + 1
        at = START_MS + seq * 10_000
        body = TelemetryBatch(
            samples=[Sample(at=at + step, values={**VALUES, "uptime_s": seq}) for step in range(samples)]
        )
        payload = seal(
            encode(body),
            boot=boot,
            lane=Lane.TELEMETRY,
            seq=seq,
            at=at,
            sent=at,
            historical=False,
            kept_from=1,
        )
        topic = topics.build("telemetry", device=f"kiosk-{device:02d}").encode()
        packet = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number % 60_000 + 1) + payload
        packets.append(b"\x32" + _length(len(packet)) + packet)
    return packets


def _messages(samples: int) -> int:
    return MESSAGES if samples == 1 else MESSAGES_BACKLOG


def _length(number: int) -> bytes:
    encoded = bytearray()
    while True:
        number, low = divmod(number, 128)
        encoded.append(low | (128 if number else 0))
        if not number:
            return bytes(encoded)


def _consume(program: list[str], count: Callable[[], int], samples: int) -> Run:
    """Start the consumer and watch the store's own counter until everything is there."""
    wanted = _messages(samples) * samples * len(VALUES)
    before = count()
    process = subprocess.Popen(program, stderr=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    try:
        first, begun, cpu_before = 0, 0.0, 0.0
        deadline = time.monotonic() + TIMEOUT_S
        while (now := count() - before) < wanted:
            if now > 0 and first == 0:
                first, begun, cpu_before = now, time.monotonic(), _cpu(watched)
            assert process.poll() is None, f"{program} ended"
            assert time.monotonic() < deadline, f"{program} stored {now} of {wanted} values"
            time.sleep(POLL_S)  # the store's counter gives no event to wait for
        seconds, cpu = time.monotonic() - begun, _cpu(watched) - cpu_before
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
    stored = (wanted - first) / len(VALUES)
    return Run(stored / seconds, cpu / stored * 1e6)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _victoria_rows(url: str) -> int:
    text = httpx.get(f"{url}/metrics").text
    found = re.search(r'^vm_rows_inserted_total\{type="influx"\} (\d+)$', text, re.MULTILINE)
    return int(found[1]) if found else 0


def _sqlite_points(path: Path) -> int:
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT coalesce(sum(points), 0) FROM link_totals").fetchone()[0])
    except sqlite3.OperationalError:  # not made yet
        return 0
