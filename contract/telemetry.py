"""Health samples: which metrics there are, of which type and unit, and the batch they travel in."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from contract.errors import MalformedError
from contract.messages import AT_MAX_MS, AT_MIN_MS

SAMPLES_MAX = 200
"""Samples of one batch."""


@dataclass(frozen=True)
class Metric:
    """One metric; its type never changes, so that a store never sees a float become an integer."""

    name: str
    type: Literal["float", "int", "bool"]
    unit: str
    low: float
    high: float
    about: str


METRICS: tuple[Metric, ...] = (
    Metric("cpu_pct", "float", "%", 0, 100, "Processor time used since the last sample, all cores."),
    Metric("memory_pct", "float", "%", 0, 100, "Memory in use."),
    Metric("disk_pct", "float", "%", 0, 100, "Space used on the disk that holds the agent's data."),
    Metric(
        "temperature_c", "float", "°C", -60, 150, "Hottest processor sensor; missing where there is none."
    ),
    Metric("uptime_s", "int", "s", 0, 4e9, "Time since the machine started."),
    Metric(
        "clock_skew_ms",
        "int",
        "ms",
        -1e13,
        1e13,
        "Device clock minus server clock, by the last HTTPS answer.",
    ),
    Metric("outbox_waiting", "int", "1", 0, 1e9, "Messages kept and not yet acknowledged."),
    Metric("outbox_dropped", "int", "1", 0, 1e12, "Samples dropped by policy since this boot."),
    Metric("printer_state", "int", "1", 3, 5, "RFC 8011 printer-state: 3 idle, 4 processing, 5 stopped."),
    Metric("printer_ready", "bool", "1", 0, 1, "The printer answers, and nothing stops it."),
    Metric(
        "printer_paper_empty", "bool", "1", 0, 1, "media-empty or media-needed is among the state reasons."
    ),
    Metric("printer_jammed", "bool", "1", 0, 1, "media-jam is among the state reasons."),
    Metric("printer_toner_pct", "float", "%", 0, 100, "Lowest marker level that the printer tells."),
    Metric(
        "microphone_level_dbfs", "float", "dBFS", -120, 0, "Loudness (RMS) of the last second that was heard."
    ),
    Metric(
        "recordings_waiting_bytes", "int", "B", 0, 1e15, "Recorded sound that the server does not have yet."
    ),
    Metric("recordings_full", "bool", "1", 0, 1, "The disk is full: recording waits for room."),
)
LINK_METRICS: tuple[Metric, ...] = (
    Metric(
        "silent_s",
        "float",
        "s",
        0,
        4e9,
        "Time since the cloud took something from the device; since it began to listen where nothing came.",
    ),
    Metric(
        "skew_ms",
        "float",
        "ms",
        -1e13,
        1e13,
        "The device's last clock_skew_ms, at the cloud's time; its samples stand where its clock puts them.",
    ),
)
"""What the cloud itself writes of each registered device into the same store, as measurement `link`."""
INGEST_METRICS: tuple[Metric, ...] = (
    Metric("lag_ms", "float", "ms", 0, 1e13, "From measurement to storage, by the cloud's clock; the worst."),
    Metric("samples", "int", "1", 0, 1e15, "Samples stored since the process started."),
    Metric("refused", "int", "1", 0, 1e15, "Messages refused since the process started."),
    Metric("lost", "int", "1", 0, 1e15, "Messages given up: they never came and were not dropped by policy."),
)
"""What the ingest writes of itself, as measurement `ingest`."""
BY_NAME = {metric.name: metric for metric in METRICS}

Value = bool | int | float


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured at one moment; `at` is the device's wall clock in ms."""

    at: int
    values: dict[str, Value]


class TelemetryBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `telemetry`."""

    samples: list[Sample]


def check(batch: TelemetryBatch) -> None:
    """Hold every sample against the table of metrics. Unknown metrics are for newer readers and pass.

    Raises:
        MalformedError: a batch that is too long, a time out of range, or a value of a wrong type or range.
    """
    if not 1 <= len(batch.samples) <= SAMPLES_MAX:
        raise MalformedError(f"a batch has 1 to {SAMPLES_MAX} samples, this one has {len(batch.samples)}")
    for sample in batch.samples:
        if not AT_MIN_MS <= sample.at <= AT_MAX_MS:
            raise MalformedError(f"sample at {sample.at!r:.20}: milliseconds between 2020 and 2100 are taken")
        for name, value in sample.values.items():
            metric = BY_NAME.get(name)
            if metric is not None:
                _check_value(metric, value)


def _check_value(metric: Metric, value: Value) -> None:
    is_bool = isinstance(value, bool)
    if metric.type == "bool" and not is_bool:
        raise MalformedError(f"{metric.name} is true or false, not {value!r:.40}")
    if metric.type == "int" and (is_bool or not isinstance(value, int)):
        raise MalformedError(f"{metric.name} is a whole number, not {value!r:.40}")
    if metric.type == "float" and is_bool:
        raise MalformedError(f"{metric.name} is a number, not {value!r:.40}")
    if not metric.low <= value <= metric.high:
        raise MalformedError(
            f"{metric.name} is {value!r:.40}: between {metric.low:g} and {metric.high:g} is taken"
        )
