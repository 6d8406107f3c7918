"""Health samples: which metrics there are, of which type and unit, and the batch they travel in."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from contract.errors import MalformedError
from contract.messages import AT_MAX_MS, AT_MIN_MS, encode, read

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
    Metric("outbox_bytes", "int", "B", 0, 1e12, "Room that kept messages take, with what each row costs."),
    Metric("outbox_refused", "int", "1", 0, 1e12, "Messages refused since this boot: the outbox was full."),
    Metric(
        "link_taken_over",
        "int",
        "1",
        0,
        1e9,
        "Connections of this boot that another client with this device's id took over.",
    ),
    Metric(
        "certificate_days_left",
        "float",
        "d",
        -40_000,
        40_000,
        "Until the device's certificate ends; below zero it has ended.",
    ),
    Metric(
        "certificate_failures",
        "int",
        "1",
        0,
        1e9,
        "Tries to renew the certificate that failed, one after the other.",
    ),
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
"""What the cloud itself writes of each device that was ever enrolled or is heard, as measurement `link`."""
INGEST_METRICS: tuple[Metric, ...] = (
    Metric("lag_ms", "float", "ms", 0, 1e13, "From measurement to storage, by the cloud's clock; the worst."),
    Metric("samples", "int", "1", 0, 1e15, "Samples stored since the process started."),
    Metric("refused", "int", "1", 0, 1e15, "Messages refused since the process started."),
    Metric("lost", "int", "1", 0, 1e15, "Messages given up: they never came and were not dropped by policy."),
)
"""What the ingest writes of itself, as measurement `ingest`."""
BROKER_METRICS: tuple[Metric, ...] = (
    Metric(
        "dropped", "int", "1", 0, 1e15, "Messages that the broker dropped for full queues since its start."
    ),
    Metric("drops_5min", "int", "1", 0, 1e15, "Messages that it dropped in the last five minutes."),
    Metric("connections", "int", "1", 0, 1e9, "Clients that are connected."),
    Metric("sessions", "int", "1", 0, 1e9, "Sessions that the broker keeps, of clients that are away too."),
    Metric("full_pct", "float", "%", 0, 1e6, "Connections in per cent of what its configuration allows."),
    Metric(
        "stored_messages", "int", "1", 0, 1e15, "Messages that it holds: retained ones and those that wait."
    ),
    Metric("stored_bytes", "int", "B", 0, 1e15, "Their bytes."),
    Metric("received", "int", "1", 0, 1e15, "Messages that it has taken since its start."),
    Metric("sent", "int", "1", 0, 1e15, "Messages that it has given out since its start."),
)
"""What the control plane writes of the broker by the broker's own counters, as measurement `broker`."""
INCIDENT_METRICS: tuple[Metric, ...] = (
    Metric("open", "int", "1", 0, 1e6, "Incidents of the site that are not closed; one cut uplink is one."),
    Metric("away", "int", "1", 0, 1e6, "Devices of the site that are off although they should not be."),
    Metric("deaf_s", "float", "s", 0, 4e9, "For how long the ingest has not listened; 0 while it does."),
)
"""What the control plane writes of each site as measurement `incident`; `deaf_s` stands at site `cloud`."""
LEDGER_METRICS: tuple[Metric, ...] = (
    Metric("stored", "int", "1", 0, 1e18, "Messages that are stored."),
    Metric("missing", "int", "1", 0, 1e18, "Messages that have not come although later ones have."),
    Metric("dropped", "int", "1", 0, 1e18, "Messages that the device dropped by its policy."),
    Metric("undeclared", "int", "1", 0, 1e18, "Those of them for which the device gave no reason."),
    Metric("lost", "int", "1", 0, 1e18, "Messages that never came and that the device did not drop."),
    Metric("refused", "int", "1", 0, 1e18, "Messages and uploads that were refused."),
    Metric("repeated", "int", "1", 0, 1e18, "Messages that came again."),
    Metric("returns", "int", "1", 0, 1e18, "Signs of two machines with this identity."),
    Metric("shared", "int", "1", 0, 1, "1 while two machines use this identity, 0 else."),
    Metric("skew_estimate_ms", "float", "ms", -1e13, 1e13, "Device clock minus server clock, at least."),
)
"""What the control plane writes of each device since the beginning, as measurement `ledger`."""
AUTHORITY_METRICS: tuple[Metric, ...] = (
    Metric(
        "issuer_days_left",
        "float",
        "d",
        -40_000,
        40_000,
        "Until the authority that signs devices' certificates ends; below zero it has. Missing where "
        "the root itself signs.",
    ),
    Metric("root_days_left", "float", "d", -40_000, 40_000, "Until the root ends, which devices trust."),
    Metric(
        "servers_days_left",
        "float",
        "d",
        -40_000,
        40_000,
        "Until the first certificate of the servers, the services and the seal of papers ends.",
    ),
    Metric(
        "revocations_days_left",
        "float",
        "d",
        -40_000,
        40_000,
        "Until the first list of revoked certificates is too old, and a broker takes nobody.",
    ),
    Metric(
        "former_devices",
        "int",
        "1",
        0,
        1e9,
        "Devices in service whose certificate is of an authority before the present one.",
    ),
)
"""What the control plane writes of the fleet's authorities, as measurement `authority`."""
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


def dated(body: bytes, origin: int) -> bytes:
    """An encoded batch with its offsets made dates: a sample before 2020 was so many ms after `origin` (ms).

    Raises:
        MalformedError: no batch.
    """
    batch = read(body, TelemetryBatch)
    samples = [
        sample
        if sample.at >= AT_MIN_MS
        else Sample(at=min(origin + sample.at, AT_MAX_MS), values=sample.values)
        for sample in batch.samples
    ]
    return encode(TelemetryBatch(samples=samples))


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
