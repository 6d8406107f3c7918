"""Every time-series store does the same: the one in memory, SQLite, and a real VictoriaMetrics."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloud.errors import RefusedError, UnavailableError
from cloud.telemetry.store import Last, Point, TelemetryStore
from cloud.telemetry.store_influx import InfluxStore
from cloud.telemetry.store_memory import MemoryStore
from cloud.telemetry.store_sqlite import SqliteStore
from tests.cloud.mosquitto import free_port
from tests.cloud.telemetry.victoria import Victoria

T0 = 1_790_000_040_000
"""A whole minute in September 2026, in ms."""


@dataclass
class Port:
    """A store, and what makes its writings visible."""

    store: TelemetryStore
    show: Callable[[], None]


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victoria]:
    server = Victoria(tmp_path_factory.mktemp("victoria"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["memory", "sqlite", "victoria"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Port]:
    if request.param == "memory":
        made = Port(MemoryStore(), lambda: None)
    elif request.param == "sqlite":
        made = Port(SqliteStore(tmp_path / "telemetry.db"), lambda: None)
    else:
        server: Victoria = request.getfixturevalue("victoria")
        made = Port(InfluxStore(server.url, bucket="fleet", org="fleet"), server.show)
    yield made
    made.store.close()


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """A name of this test's own, because the server is shared."""
    return f"kiosk-{zlib.crc32(request.node.name.encode())}"


def point(device: str, at: int, **values: bool | int | float) -> Point:
    return Point(device, "Prishtina, Sheshi 1=A", "kiosk", at, tuple(values.items()))


def test_the_newest_of_each_metric_is_found(port: Port, device: str) -> None:
    port.store.write(
        [
            point(device, T0 + 20_000, cpu_pct=50.5, printer_ready=True),
            point(device, T0 + 10_000, cpu_pct=12.5, uptime_s=7),
            point(f"{device}-b", T0 + 20_000, cpu_pct=1.0),
        ]
    )
    port.show()
    assert port.store.latest([device], T0, T0 + 60_000) == {
        device: {
            "cpu_pct": Last(T0 + 20_000, 50.5),
            "printer_ready": Last(T0 + 20_000, 1.0),
            "uptime_s": Last(T0 + 10_000, 7.0),
        }
    }
    both = port.store.latest([device, f"{device}-b", "nobody"], T0, T0 + 60_000)
    assert both.keys() == {device, f"{device}-b"}
    assert port.store.latest([device], T0 + 20_000, T0 + 60_000) == {}
    assert port.store.latest([device], T0, T0 + 10_000)[device]["cpu_pct"] == Last(T0 + 10_000, 12.5)
    assert port.store.latest([], T0, T0 + 60_000) == {}


def test_a_point_written_twice_is_there_once(port: Port, device: str) -> None:
    for _ in range(2):
        port.store.write([point(device, T0 + 10_000, cpu_pct=10.0), point(device, T0 + 20_000, cpu_pct=30.0)])
    port.show()
    assert port.store.series(device, "cpu_pct", T0, T0 + 60_000, 60) == [(T0 + 60_000, 20.0)]


def test_a_series_is_means_over_steps_without_empty_ones(port: Port, device: str) -> None:
    port.store.write(
        [
            point(device, T0, cpu_pct=99.0),
            point(device, T0 + 1, cpu_pct=10.0),
            point(device, T0 + 30_000, cpu_pct=20.0),
            point(device, T0 + 30_001, cpu_pct=40.0),
            point(device, T0 + 120_000, cpu_pct=80.0),
            point(device, T0 + 121_000, cpu_pct=77.0),
        ]
    )
    port.show()
    assert port.store.series(device, "cpu_pct", T0, T0 + 120_000, 30) == [
        (T0 + 30_000, 15.0),
        (T0 + 60_000, 40.0),
        (T0 + 120_000, 80.0),
    ]
    assert port.store.series(device, "cpu_pct", T0 + 10_000, T0 + 40_000, 30) == [(T0 + 30_000, 15.0)]
    assert port.store.series(device, "cpu_pct", T0, T0, 30) == []
    assert port.store.series(device, "memory_pct", T0, T0 + 60_000, 30) == []


def test_late_points_are_stored_where_they_belong(port: Port, device: str) -> None:
    month_ms = 30 * 24 * 3_600_000
    port.store.write([point(device, T0 + 30_000, cpu_pct=1.0)])
    port.store.write([point(device, T0 - month_ms + 30_000, cpu_pct=2.0)])
    port.show()
    assert port.store.series(device, "cpu_pct", T0 - month_ms, T0 - month_ms + 60_000, 60) == [
        (T0 - month_ms + 60_000, 2.0)
    ]
    assert port.store.latest([device], T0, T0 + 60_000)[device]["cpu_pct"].value == 1.0


@pytest.mark.parametrize("port", ["memory", "sqlite"], indirect=True)
def test_what_is_too_old_is_forgotten(port: Port, device: str) -> None:
    port.store.write([point(device, T0, cpu_pct=1.0), point(device, T0 + 10_000, cpu_pct=2.0)])
    port.store.forget(T0 + 1)
    assert port.store.series(device, "cpu_pct", T0 - 60_000, T0 + 60_000, 60) == [(T0 + 60_000, 2.0)]


def test_a_server_that_is_away_is_unavailable() -> None:
    store = InfluxStore(f"http://127.0.0.1:{free_port()}", bucket="fleet", org="fleet")
    with pytest.raises(UnavailableError):
        store.write([point("kiosk-01", T0, cpu_pct=1.0)])
    with pytest.raises(UnavailableError):
        store.latest(["kiosk-01"], T0, T0 + 1000)
    store.close()


def test_a_server_that_knows_no_such_address_is_unavailable_not_refused(victoria: Victoria) -> None:
    store = InfluxStore(f"{victoria.url}/nowhere", bucket="fleet", org="fleet")
    with pytest.raises((UnavailableError, RefusedError)):
        store.write([point("kiosk-01", T0, cpu_pct=1.0)])
    store.close()


def test_a_locked_file_is_unavailable_and_the_points_can_be_written_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud.telemetry.store_sqlite.BUSY_TIMEOUT_S", 0.01)
    store, other = SqliteStore(tmp_path / "t.db"), SqliteStore(tmp_path / "t.db")
    other._connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="locked"):
        store.write([point("kiosk-01", T0, cpu_pct=1.0)])
    other._connection.execute("ROLLBACK")
    store.write([point("kiosk-01", T0, cpu_pct=1.0)])
    assert store.latest(["kiosk-01"], T0 - 1, T0) == {"kiosk-01": {"cpu_pct": Last(T0, 1.0)}}
    store.close()
    other.close()
