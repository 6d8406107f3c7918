"""How long a dashboard's queries take on a day of data: VictoriaMetrics and InfluxDB 1.6 side by side.

Both hold the same points, a sample of each device every 10 s. A dashboard is opened three times with a range
of 24 h; its queries are asked one after the other, and the middle one of the three counts. Fleet shows all
devices, Kiosk one of them.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from dashboards.dialects import INFLUXDB, VICTORIAMETRICS, Dialect
from dashboards.fleet import FLEET
from dashboards.kiosk import KIOSK
from dashboards.panels import Board, Drawing
from tests.benchmarks.report import Measurement
from tests.dashboards.influx import Influx
from tests.dashboards.interpolation import at_moment, interpolated, over_time
from tests.dashboards.victoria import Victoria

DAY_S = 86_400
PERIOD_S = 10
POINTS_WIDE = 720
"""Of a line, as many as Grafana asks for on a screen of usual width."""
STEP_S = DAY_S // POINTS_WIDE
ROUNDS = 3
LINES_MAX = 20_000
"""Of one writing."""
FLEETS = ((16, 2), (190, 10))
"""Kiosks and halls."""
DEVICES_A_SITE = 8
VARIANTS = 64
"""Different samples of a device; they come again and again."""
SETTLE_S = 60

Ask = Callable[[str, bool], None]


def run() -> list[Measurement]:
    """Measure; needs victoria-metrics and influxdb from Debian."""
    return [row for kiosks, halls in FLEETS for row in _fleet(kiosks, halls)]


def _fleet(kiosks: int, halls: int) -> list[Measurement]:
    until_s = int(time.time()) // STEP_S * STEP_S
    since_s = until_s - DAY_S
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "influx").mkdir()
        with Victoria(root / "victoria") as victoria, Influx(root / "influx") as influx:
            with httpx.Client(base_url=victoria.url, timeout=SETTLE_S) as http:
                for lines in _lines(kiosks, halls, since_s):
                    influx.write(lines)
                    http.post("/write", params={"precision": "ms"}, content=lines.encode()).raise_for_status()
            victoria.settle()

            def ask_victoria(query: str, in_time: bool) -> None:
                if in_time:
                    found = victoria.ask_range(query, since_s, until_s, STEP_S)
                else:
                    found = victoria.ask(query, until_s)
                assert found, query

            def ask_influx(query: str, in_time: bool) -> None:
                query = over_time(query, since_s, until_s, STEP_S) if in_time else at_moment(query, until_s)
                # A count of nothing is an empty answer here.
                assert influx.ask(query) or "count(" in query, query

            rows = []
            for board in (FLEET, KIOSK):
                ours = _seconds(board, VICTORIAMETRICS, ask_victoria)
                other = _seconds(board, INFLUXDB, ask_influx)
                rows.append(_row(board, kiosks + halls, ours, other))
            return rows


def _row(board: Board, devices: int, ours: float, other: float) -> Measurement:
    return Measurement(
        name=f"dashboards: {board.title}, 24 h of {devices} devices",
        value=ours,
        unit="s for all queries in VictoriaMetrics",
        baseline="InfluxDB 1.6",
        baseline_value=other,
        ratio=ours / other,
        target="",
        held=None,
    )


def _seconds(board: Board, dialect: Dialect, ask: Ask) -> float:
    chosen = {"device": "kiosk-001"} if board is KIOSK else {}
    queries = [
        (interpolated(query, peak_s=STEP_S, **chosen), panel.drawing in {Drawing.LINES, Drawing.STATES})
        for panel in board.panels
        if board is not KIOSK or panel.metric != "microphone_level_dbfs"
        for query in dialect.queries(panel)
    ]
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for query, in_time in queries:
            ask(query, in_time)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _lines(kiosks: int, halls: int, since_s: int) -> Iterator[str]:
    """A day of line protocol, in writings that follow time."""
    devices = [(f"kiosk-{at:03d}", "kiosk") for at in range(1, kiosks + 1)]
    devices += [(f"hall-{at:03d}", "recorder") for at in range(1, halls + 1)]
    samples = [
        [_sample(device, kind, at, turn) for turn in range(VARIANTS)]
        for at, (device, kind) in enumerate(devices)
    ]
    batch: list[str] = []
    for tick in range(DAY_S // PERIOD_S + 1):
        at_ms = (since_s + tick * PERIOD_S) * 1000
        for at, variants in enumerate(samples):
            health, link = variants[(tick + at) % VARIANTS]
            batch += (f"{health}{at_ms}", f"{link}{at_ms}")
        own = f"lag_ms=20.5,samples={tick * len(devices)}i,refused=0i,lost=0i"
        batch.append(f"ingest,device=svc-ingest,site=cloud,kind=service {own} {at_ms}")
        if len(batch) >= LINES_MAX:
            yield "\n".join(batch)
            batch = []
    if batch:
        yield "\n".join(batch)


def _sample(device: str, kind: str, at: int, turn: int) -> tuple[str, str]:
    tags = f"device={device},site=site-{at // DEVICES_A_SITE},kind={kind}"
    return f"health,{tags} {_fields(kind, at, turn)} ", f"link,{tags} silent_s={turn % 10}.5,skew_ms=3 "


def _fields(kind: str, at: int, turn: int) -> str:
    machine = (
        f"cpu_pct={turn / 2 + at % 7},memory_pct={40 + turn / 8},disk_pct={30 + at % 9}.5,"
        f"temperature_c={45 + turn / 16},uptime_s={100_000 + turn}i,clock_skew_ms=3i,"
        f"outbox_waiting={turn % 3}i,outbox_dropped=0i"
    )
    if kind == "recorder":
        return f"{machine},microphone_level_dbfs=-{30 + turn / 8}"
    return (
        f"{machine},printer_state={3 + turn % 2}i,printer_ready=1i,printer_paper_empty=0i,printer_jammed=0i,"
        f"printer_toner_pct={80 - turn / 8}"
    )
