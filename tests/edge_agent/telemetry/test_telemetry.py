"""Telemetry: what is measured is sent, what cannot be measured is left out."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from contract.messages import Lane
from contract.telemetry import BY_NAME, Sample, TelemetryBatch, check
from edge_agent.ports import Handler
from edge_agent.telemetry.run import Readings, Telemetry
from edge_agent.telemetry.sensors import Machine

NOW = 1_763_900_000_000


class FakeLink:
    """Keeps what it is given."""

    boot = "b1"
    connected = True
    full = False

    def __init__(self) -> None:
        self.batches: list[TelemetryBatch] = []
        self.third = asyncio.Event()

    def stamp(self) -> int:
        return NOW

    async def send(
        self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct, *, lane: Lane, must: bool
    ) -> None:
        assert (topic_name, dict(ids), lane, must) == ("telemetry", {}, Lane.TELEMETRY, False)
        assert isinstance(body, TelemetryBatch)
        self.batches.append(body)
        if len(self.batches) == 3:
            self.third.set()

    def publish(
        self, topic_name: str, ids: Mapping[str, str], payload: bytes, qos: Literal[0, 1] = 1
    ) -> None:
        raise AssertionError("telemetry is kept until it is stored")

    def publish_live(self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct) -> None:
        raise AssertionError("telemetry is kept until it is stored")

    def subscribe(self, topic_name: str, handler: Handler) -> None: ...

    def on_connected(self, handler: Callable[[], None]) -> None: ...

    def on_disconnected(self, handler: Callable[[], None]) -> None: ...


async def sampled(*readings: Readings, at: int = NOW) -> list[Sample]:
    link = FakeLink()
    await Telemetry(link=link, period_s=10, readings=readings).sample(at)
    return [sample for batch in link.batches for sample in batch.samples]


async def test_readings_become_one_sample() -> None:
    found = await sampled(lambda: {"cpu_pct": 12.5}, lambda: {"printer_state": 3, "printer_ready": True})
    assert found == [Sample(at=NOW, values={"cpu_pct": 12.5, "printer_state": 3, "printer_ready": True})]


async def test_what_cannot_be_read_is_left_out() -> None:
    found = await sampled(lambda: {"cpu_pct": 1.0, "microphone_level_dbfs": None, "clock_skew_ms": None})
    assert found == [Sample(at=NOW, values={"cpu_pct": 1.0})]


@pytest.mark.parametrize(
    ("name", "value"),
    [("cpu_pct", float("nan")), ("temperature_c", 900.0), ("disk_pct", -1.0), ("printer_state", 9)],
)
async def test_an_impossible_value_does_not_cost_the_others(name: str, value: float) -> None:
    assert await sampled(lambda: {name: value, "uptime_s": 7}) == [Sample(at=NOW, values={"uptime_s": 7})]


async def test_without_any_reading_nothing_is_sent() -> None:
    assert await sampled(lambda: {"clock_skew_ms": None}) == []


@pytest.mark.parametrize("again", [{"cpu_pct": 2.0}, {"nonsense": 1.0}])
async def test_two_ways_cannot_claim_a_metric_nor_invent_one(again: dict[str, float]) -> None:
    with pytest.raises(AssertionError):
        await sampled(lambda: {"cpu_pct": 1.0}, lambda: again)


async def test_it_samples_again_and_again() -> None:
    link = FakeLink()
    telemetry = Telemetry(link=link, period_s=0.01, readings=[lambda: {"cpu_pct": 1.0}])
    task = asyncio.create_task(telemetry.run())
    async with asyncio.timeout(10):
        await link.third.wait()
    task.cancel()
    assert await asyncio.gather(task, return_exceptions=True)


async def test_another_pace_begins_at_once() -> None:
    link = FakeLink()
    telemetry = Telemetry(link=link, period_s=3600, readings=[lambda: {"cpu_pct": 1.0}])
    task = asyncio.create_task(telemetry.run())
    async with asyncio.timeout(10):
        while not link.batches:
            await asyncio.sleep(0)
        telemetry.pace(0.01)
        await link.third.wait()
    assert telemetry.period_s == 0.01
    task.cancel()
    assert await asyncio.gather(task, return_exceptions=True)


def test_this_machine_tells_how_it_is(tmp_path: Path) -> None:
    values = Machine(tmp_path).read()
    assert {"cpu_pct", "memory_pct", "disk_pct", "uptime_s"} <= set(values)
    assert set(values) <= set(BY_NAME)
    check(TelemetryBatch(samples=[Sample(at=NOW, values=values)]))


def test_a_temperature_comes_from_the_named_sensor_or_not_at_all(tmp_path: Path) -> None:
    sensor = tmp_path / "temp"
    machine = Machine(tmp_path, sensor)
    assert "temperature_c" not in machine.read()
    sensor.write_text("47250\n")
    assert machine.read()["temperature_c"] == 47.25
    sensor.write_text("nonsense")
    assert "temperature_c" not in machine.read()
