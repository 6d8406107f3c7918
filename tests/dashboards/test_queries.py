"""Each panel's query, asked of a real VictoriaMetrics that the cloud's own store has filled."""

import time
from collections.abc import Iterator

import pytest

from cloud.telemetry.store import MEASUREMENT as STORED_AS
from cloud.telemetry.store import Point
from cloud.telemetry.store_influx import InfluxStore
from contract.telemetry import Value
from dashboards.panels import ROWS, Panel
from dashboards.promql import FILTERS, MEASUREMENT, query
from tests.dashboards.victoria import Victoria

NOW_S = int(time.time())
PANELS = [panel for row in ROWS for panel in row.panels]


def machine(worse: int) -> dict[str, Value]:
    """Health of a machine that is the worse, the greater the number."""
    return {
        "cpu_pct": 10.0 + worse,
        "memory_pct": 20.0 + worse,
        "disk_pct": 30.0 + worse,
        "temperature_c": 40.5 + worse,
        "uptime_s": 9000 - worse,
        "clock_skew_ms": -10 * worse,
        "outbox_waiting": worse,
        "outbox_dropped": 2 * worse,
    }


def printer(*, state: int, empty: bool, jammed: bool, toner: float) -> dict[str, Value]:
    return {
        "printer_state": state,
        "printer_ready": state != 5,
        "printer_paper_empty": empty,
        "printer_jammed": jammed,
        "printer_toner_pct": toner,
    }


def hall(level: float, waiting: int, *, full: bool = False) -> dict[str, Value]:
    return {
        "microphone_level_dbfs": level,
        "recordings_waiting_bytes": waiting,
        "recordings_full": full,
    }


def points() -> list[Point]:
    """Three kiosks and a recorder now, each of them otherwise 90 s ago; one kiosk silent for 10 minutes."""
    healthy = printer(state=3, empty=False, jammed=False, toner=90.0)
    empty = printer(state=5, empty=True, jammed=False, toner=55.5)
    jammed = printer(state=5, empty=True, jammed=True, toner=7.0)
    fleet: list[tuple[str, str, str, int, dict[str, Value]]] = [
        ("kiosk-01", "municipality", "kiosk", 0, machine(1) | healthy),
        ("kiosk-02", "municipality", "kiosk", 0, machine(2) | empty),
        ("kiosk-03", "dardania", "kiosk", 0, machine(3) | jammed),
        ("recorder-01", "assembly", "recorder", 0, machine(4) | hall(-31.5, 960_000)),
        ("kiosk-01", "municipality", "kiosk", 90, machine(50) | jammed),
        ("kiosk-03", "dardania", "kiosk", 90, machine(50) | healthy),
        ("recorder-01", "assembly", "recorder", 90, machine(50) | hall(-3.0, 1, full=True)),
        ("kiosk-16", "ulpiana", "kiosk", 600, machine(60) | jammed),
    ]
    return [
        Point(device, site, kind, (NOW_S - age_s) * 1000, tuple(values.items()))
        for device, site, kind, age_s, values in fleet
    ]


HIGHEST = {"municipality": 2.0, "dardania": 3.0, "assembly": 4.0}
EXPECTED: dict[str, dict[str, float]] = {
    "Devices heard": {"": 4},
    "Printers not ready": {"": 2},
    "Printers without paper": {"": 2},
    "Printers jammed": {"": 1},
    "Messages waiting on devices": {"": 10},
    "Samples dropped by policy": {"": 20},
    "Processor": {site: 10 + worse for site, worse in HIGHEST.items()},
    "Memory": {site: 20 + worse for site, worse in HIGHEST.items()},
    "Disk": {site: 30 + worse for site, worse in HIGHEST.items()},
    "Temperature": {site: 40.5 + worse for site, worse in HIGHEST.items()},
    "Clock skew": {site: 10 * worse for site, worse in HIGHEST.items()},
    "Shortest uptime": {site: 9000 - worse for site, worse in HIGHEST.items()},
    "Printers stopped": {"": 2},
    "Lowest toner": {"municipality": 55.5, "dardania": 7},
    "Loudest microphone": {"assembly": -31.5},
    "Recordings that wait": {"assembly": 960_000},
    "Recorders full": {"": 0},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victoria]:
    with Victoria(tmp_path_factory.mktemp("victoria")) as victoria:
        writer = InfluxStore(victoria.url, bucket="fleet", org="fleet")
        try:
            writer.write(points())
        finally:
            writer.close()
        victoria.settle()
        yield victoria


def ask(store: Victoria, panel: Panel, at_s: int = NOW_S, **chosen: str) -> dict[str, float]:
    """The panel's query with the dashboard's variables filled in as Grafana does; All is `.*`."""
    promql = query(panel)
    for name in FILTERS:
        promql = promql.replace(f"${name}", chosen.get(name, ".*"))
    return store.ask(promql, at_s)


def titled(title: str) -> Panel:
    return next(panel for panel in PANELS if panel.title == title)


def test_names_are_those_of_the_store() -> None:
    assert MEASUREMENT == STORED_AS


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_shows_what_devices_sent(store: Victoria, panel: Panel) -> None:
    assert ask(store, panel) == EXPECTED[panel.title]


def test_the_variables_narrow(store: Victoria) -> None:
    assert ask(store, titled("Devices heard"), site="municipality") == {"": 2}
    assert ask(store, titled("Devices heard"), kind="recorder") == {"": 1}
    assert ask(store, titled("Processor"), device="kiosk-01|kiosk-03") == {"municipality": 11, "dardania": 13}


def test_a_healthy_site_counts_zero_and_an_unheard_one_nothing(store: Victoria) -> None:
    jammed = titled("Printers jammed")
    assert ask(store, jammed, site="municipality") == {"": 0}
    assert ask(store, jammed, site="ulpiana") == {}
    assert ask(store, titled("Devices heard"), site="ulpiana") == {"": 0}


def test_yesterday_shows_no_devices(store: Victoria) -> None:
    assert ask(store, titled("Devices heard"), NOW_S - 86_400) == {"": 0}
