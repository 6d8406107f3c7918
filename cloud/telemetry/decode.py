"""Samples out of the bytes of a message, quickly.

The table of metrics is compiled into a msgspec struct with bounds, so that one pass in C decodes and checks
what `contract.telemetry.check` checks value by value; that function still says what is wrong with a batch.
Metrics that the table does not know are left out: a device cannot make new series.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contract.errors import MalformedError
from contract.messages import AT_MAX_MS, AT_MIN_MS, read
from contract.telemetry import METRICS, SAMPLES_MAX, Metric, TelemetryBatch, Value, check

NAMES = tuple(metric.name for metric in METRICS)


def _bounded(metric: Metric) -> Any:
    if metric.type == "bool":
        return bool | UnsetType
    kind: Any = int if metric.type == "int" else float
    return Annotated[kind, Meta(ge=kind(metric.low), le=kind(metric.high))] | UnsetType


_Values = msgspec.defstruct(
    "_Values", [(metric.name, _bounded(metric), UNSET) for metric in METRICS], frozen=True, gc=False
)


class _Sample(msgspec.Struct, frozen=True, gc=False):
    at: Annotated[int, Meta(ge=AT_MIN_MS, le=AT_MAX_MS)]
    values: _Values  # type: ignore[valid-type] # made from the table of metrics


class _Batch(msgspec.Struct, frozen=True, gc=False):
    samples: Annotated[list[_Sample], Meta(min_length=1, max_length=SAMPLES_MAX)]


_BATCH = msgspec.json.Decoder(_Batch)

Sample = tuple[int, tuple[tuple[str, Value], ...]]
"""When (ms since 1970 UTC, the device's clock), and each metric with its value."""


def samples(body: bytes | msgspec.Raw) -> list[Sample]:
    """The samples in the body of a `telemetry` message that have a known metric.

    Raises:
        MalformedError: it is no batch, or a time or value is out of range or of another type.
    """
    try:
        batch = _BATCH.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        check(read(body, TelemetryBatch))
        raise MalformedError(f"not a batch of samples: {error}") from None
    decoded = []
    for sample in batch.samples:
        values = msgspec.structs.astuple(sample.values)
        known = tuple([pair for pair in zip(NAMES, values, strict=True) if pair[1] is not UNSET])
        if known:
            decoded.append((sample.at, known))
    return decoded
