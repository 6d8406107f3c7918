"""What an agent at rest costs a device: memory, processor, time to start; beside a bare Python with paho.

Memory is PSS (a page that n processes share counts 1/n) from `/proc/PID/smaps_rollup`; private pages are
given too, because they do not depend on who else runs. Both processes hold a connection with mutual TLS to a
mosquitto that is started here.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.report import Measurement
from tests.edge_agent.authority import Authority
from tests.edge_agent.broker import Broker, free_port, mosquitto

REST_S = 5.0
SAMPLES = 5
SAMPLE_EVERY_S = 1.0
CPU_S = 20.0
"""Two samplings at the default of one each 10 s."""
STARTS = 5
DEADLINE_S = 30.0
KIB = 1024
BARE = """
import ssl, sys, paho.mqtt.client as paho
folder, port = sys.argv[1:]
client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="bare", protocol=paho.MQTTv5)
context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
context.load_cert_chain(f"{folder}/data/pki/device.pem", f"{folder}/data/pki/device.key")
client.tls_set_context(context)
client.on_connect = lambda *_: print("link_connected", file=sys.stderr, flush=True)
client.connect("localhost", int(port))
client.loop_forever()
"""


@dataclass(frozen=True)
class Cost:
    """Of one process at rest: megabytes (10^6 bytes), percent of one core, seconds from exec to connected.

    The start is the quickest of several: whatever else runs on the machine only ever adds to it.
    """

    pss_mb: float
    private_mb: float
    cpu_pct: float
    start_s: float


def run() -> list[Measurement]:
    """The rows of the agent at rest, of a recorder without its recogniser and of a kiosk."""
    authority = Authority()
    with tempfile.TemporaryDirectory() as name, mosquitto(Path(name) / "broker", authority) as broker:
        place = _Place(Path(name), broker, authority)
        bare = place.cost(place.bare("bare"))
        rest = place.cost(place.agent("kiosk-001", "kiosk", ""))
        recorder = place.cost(place.agent("hall-01", "recorder", _recorder(Path(name))))
        kiosk = place.cost(place.agent("kiosk-002", "kiosk", _kiosk(Path(name))))
    return [
        *_rows("agent at rest", rest, bare, 35.0),
        _row("agent at rest: private memory", rest.private_mb, "MB", bare.private_mb, "", None),
        _row(
            "agent at rest: processor",
            rest.cpu_pct,
            "% of a core",
            bare.cpu_pct,
            "value <= 1",
            rest.cpu_pct <= 1,
        ),
        *_rows("recorder without recogniser", recorder, bare, 60.0),
        *_rows("kiosk with its pages", kiosk, bare, 80.0),
    ]


def _rows(name: str, cost: Cost, bare: Cost, target_mb: float) -> list[Measurement]:
    return [
        _row(
            f"{name}: memory (PSS)",
            cost.pss_mb,
            "MB",
            bare.pss_mb,
            f"value <= {target_mb:g}",
            cost.pss_mb <= target_mb,
        ),
        _row(f"{name}: start", cost.start_s, "s", bare.start_s, "value <= 1.5", cost.start_s <= 1.5),
    ]


def _row(name: str, value: float, unit: str, baseline: float, target: str, held: bool | None) -> Measurement:
    ratio = value / baseline if baseline else None
    return Measurement(name, value, unit, "bare Python with paho connected", baseline, ratio, target, held)


class _Place:
    """Where the measured processes live."""

    def __init__(self, folder: Path, broker: Broker, authority: Authority) -> None:
        self._folder = folder
        self._broker = broker
        self._authority = authority

    def bare(self, device: str) -> list[str]:
        folder = self._member(device)
        return [sys.executable, "-c", BARE, str(folder), str(self._broker.port)]

    def agent(self, device: str, kind: str, hardware: str) -> list[str]:
        folder = self._member(device)
        away = f"https://localhost:{free_port()}"
        file = folder / "agent.toml"
        file.write_text(
            f'device = "{device}"\nkind = "{kind}"\nsite = "bench"\ndata_dir = "{folder / "data"}"\n'
            f'[broker]\nhost = "localhost"\nport = {self._broker.port}\n'
            f'[cloud]\nbootstrap_url = "{away}"\ndevice_url = "{away}"\nca_file = "{folder / "ca.pem"}"\n'
            + hardware
        )
        return [sys.executable, "-m", "edge_agent", "--settings", str(file)]

    def cost(self, words: list[str]) -> Cost:
        starts = []
        for _ in range(STARTS - 1):
            with _connected(words) as (_, start_s):
                starts.append(start_s)
        with _connected(words) as (process, start_s):
            starts.append(start_s)
            time.sleep(REST_S)
            found = []
            for _ in range(SAMPLES):
                found.append(_memory(process.pid))
                time.sleep(SAMPLE_EVERY_S)
            before = _cpu_s(process.pid)
            time.sleep(CPU_S)
            cpu_pct = 100 * (_cpu_s(process.pid) - before) / CPU_S
        pss, private = (statistics.median(one[i] for one in found) for i in (0, 1))
        return Cost(pss, private, cpu_pct, min(starts))

    def _member(self, device: str) -> Path:
        folder = self._folder / device
        self._authority.write_device(folder / "data" / "pki", device)
        (folder / "ca.pem").write_bytes(self._authority.pem)
        return folder


@contextmanager
def _connected(words: list[str]) -> Iterator[tuple["subprocess.Popen[str]", float]]:
    """The process, once it has said that it is connected, and how long that took from its start."""
    began = time.monotonic()
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    guard = threading.Timer(DEADLINE_S, os.killpg, (process.pid, signal.SIGKILL))
    guard.start()
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if "link_connected" in line:
                break
        else:
            raise AssertionError("it did not connect: " + "".join(said)[-2000:])
        guard.cancel()
        yield process, time.monotonic() - began
    finally:
        guard.cancel()
        os.killpg(process.pid, signal.SIGKILL)  # with its children
        process.wait()
        process.stderr.close()


def _memory(pid: int) -> tuple[float, float]:
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, amount = line.partition(":")
        fields[name] = int(amount.split()[0]) * KIB / 1e6
    return fields["Pss"], fields["Private_Clean"] + fields["Private_Dirty"]


def _cpu_s(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / 100


def _recorder(folder: Path) -> str:
    """No sitting is open: the microphone runs, the recogniser does not."""
    return (
        '[recorder]\nmicrophone_command = ["sleep", "600"]\n'
        f'model_dir = "{folder}"\nvad_model = "{folder / "none.onnx"}"\n'
    )


def _kiosk(folder: Path) -> str:
    """Nothing of its hardware answers, which is the dearer case: it is looked for again and again."""
    return (
        f'[kiosk]\npage_port = {free_port()}\nprinter_uri = "ipp://127.0.0.1:{free_port()}/ipp/print"\n'
        f'document_reader_port = "{folder / "reader"}"\nreceipt_printer_port = "{folder / "receipts"}"\n'
        f'terminal_url = "http://127.0.0.1:{free_port()}"\n'
    )
