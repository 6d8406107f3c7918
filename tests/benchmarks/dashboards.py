"""How long a dashboard's queries take on a day of data: VictoriaMetrics and InfluxDB 1.6 side by side.

Both hold the same points, a sample of each device every 10 s. A dashboard is opened three times with a range
of 24 h; its queries are asked one after the other, and the middle one of the three counts. Fleet shows all
devices, Kiosk one of them.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx

from contract.telemetry import (
    AUTHORITY_METRICS,
    BROKER_METRICS,
    INCIDENT_METRICS,
    INGEST_METRICS,
    LEDGER_METRICS,
    LINK_METRICS,
    METRICS,
    Metric,
)
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
THEIRS = {"health": METRICS, "link": LINK_METRICS, "ledger": LEDGER_METRICS}
OURS = {
    "ingest": INGEST_METRICS,
    "broker": BROKER_METRICS,
    "incident": INCIDENT_METRICS,
    "authority": AUTHORITY_METRICS,
}
"""Measurements with what they hold: of each device, and of the platform itself."""
HARDWARE = {"printer_": "kiosk", "microphone_": "recorder", "recordings_": "recorder"}
"""Whose metrics begin so; all others are of every device."""
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
        if board is not KIOSK or _of_kind(panel.metric, "kiosk")
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
            batch += [f"{line}{at_ms}" for line in variants[(tick + at) % VARIANTS]]
        for measurement, metrics in OURS.items():
            tags = f"{measurement},device=svc-control,site=cloud,kind=service"
            batch.append(f"{tags} {_fields(metrics, 0, tick % VARIANTS)} {at_ms}")
        if len(batch) >= LINES_MAX:
            yield "\n".join(batch)
            batch = []
    if batch:
        yield "\n".join(batch)


def _sample(device: str, kind: str, at: int, turn: int) -> list[str]:
    """The device's lines, without their moments."""
    tags = f"device={device},site=site-{at // DEVICES_A_SITE},kind={kind}"
    return [
        f"{measurement},{tags} {_fields([each for each in metrics if _of_kind(each.name, kind)], at, turn)} "
        for measurement, metrics in THEIRS.items()
    ]


def _of_kind(metric: str, kind: str) -> bool:
    """Whether a device of this kind has the hardware that the metric is about."""
    owner = next((owner for start, owner in HARDWARE.items() if metric.startswith(start)), kind)
    return owner == kind


def _fields(metrics: Sequence[Metric], at: int, turn: int) -> str:
    """A value of each metric within its range; it differs by device and by turn."""
    fields = []
    for metric in metrics:
        value = min(max(turn / 2 + at % 9, metric.low), metric.high)
        written = f"{value:.1f}" if metric.type == "float" else f"{int(value)}i"
        fields.append(f"{metric.name}={written}")
    return ",".join(fields)
