"""The quick decoder takes exactly what the contract's own check takes."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud.telemetry.decode import samples
from contract.errors import MalformedError
from contract.messages import AT_MAX_MS, AT_MIN_MS, read
from contract.telemetry import METRICS, SAMPLES_MAX, TelemetryBatch, check

AT = 1_790_000_000_000

numbers = st.one_of(
    st.booleans(),
    st.integers(-(10**14), 10**14),
    st.integers(-130, 160),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-130, 160),
)
odd: st.SearchStrategy[Any] = st.one_of(
    numbers, st.none(), st.text(max_size=3), st.lists(st.integers(), max_size=1)
)
values = st.dictionaries(st.sampled_from([metric.name for metric in METRICS]), odd, max_size=4)
times = st.one_of(st.integers(AT_MIN_MS - 1, AT_MAX_MS + 1), st.sampled_from([0, AT]), st.floats(0, 1e12))
batches = st.fixed_dictionaries(
    {"samples": st.lists(st.fixed_dictionaries({"at": times, "values": values}), max_size=3)}
)


def contract_takes(body: bytes) -> bool:
    try:
        check(read(body, TelemetryBatch))
    except MalformedError:
        return False
    return True


@given(batches)
@example({"samples": [{"at": AT, "values": {"uptime_s": 3.0}}]})
@example({"samples": [{"at": AT, "values": {"cpu_pct": 3, "printer_ready": 1}}]})
@example({"samples": [{"at": AT, "values": {"clock_skew_ms": 10**30}}]})
@example({"samples": [{"at": float(AT), "values": {}}]})
def test_both_say_the_same(batch: dict[str, Any]) -> None:
    body = json.dumps(batch).encode()
    if not contract_takes(body):
        with pytest.raises(MalformedError):
            samples(body)
        return
    wanted = [(sample["at"], sample["values"]) for sample in batch["samples"] if sample["values"]]
    assert [(at, dict(known)) for at, known in samples(body)] == wanted


def test_a_metric_that_nobody_knows_makes_no_series_and_harms_nothing() -> None:
    body = {"samples": [{"at": AT, "values": {"cpu_pct": 1.5, "made_up": 7}}, {"at": AT, "values": {"x": 1}}]}
    assert samples(msgspec.json.encode(body)) == [(AT, (("cpu_pct", 1.5),))]


@pytest.mark.parametrize("count", [0, SAMPLES_MAX + 1])
def test_a_batch_has_a_bound(count: int) -> None:
    body = msgspec.json.encode({"samples": [{"at": AT, "values": {"cpu_pct": 1.0}}] * count})
    with pytest.raises(MalformedError, match="1 to 200 samples"):
        samples(body)


def test_the_reason_is_the_contracts() -> None:
    body = msgspec.json.encode({"samples": [{"at": AT, "values": {"cpu_pct": 101.0}}]})
    with pytest.raises(MalformedError, match=r"cpu_pct is 101\.0: between 0 and 100 is taken"):
        samples(body)
