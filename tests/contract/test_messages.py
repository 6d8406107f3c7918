"""Golden messages stay readable for ever; what is not a message is refused with a sentence."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import captions, documents, jobs, link, recordings, telemetry, twin, updates
from contract.errors import MalformedError
from contract.messages import MESSAGE_BYTES_MAX, Ack, Envelope, Lane, Presence, open_envelope, read, seal

EXAMPLES = Path(__file__).parents[2] / "contract" / "examples"
ENVELOPED: dict[str, type[msgspec.Struct]] = {
    "telemetry": telemetry.TelemetryBatch,
    "evidence": documents.Evidence,
    "caption-final": captions.CaptionSegment,
    "caption-partial": captions.CaptionSegment,
    "update-news": updates.UpdateNews,
    "recordings": recordings.RecordingNews,
    "floor": recordings.FloorEvent,
    "dropped": link.Dropped,
}
BARE: dict[str, type[msgspec.Struct]] = {
    "presence": Presence,
    "presence-connection": Presence,
    "ack": Ack,
    "reconnect": link.Reconnect,
    "job-update": jobs.Update,
    "job-start-next-accepted": jobs.ExecutionAnswer,
    "job-describe-accepted": jobs.ExecutionAnswer,
    "job-update-rejected": jobs.Rejection,
    "twin-update": twin.Update,
    "twin-update-accepted": twin.Answer,
    "twin-update-rejected": twin.Rejection,
    "twin-get-accepted": twin.Answer,
    "twin-delete-accepted": twin.DeleteAnswer,
    "twin-delta": twin.Delta,
    "twin-documents": twin.Documents,
    "set-sitting": captions.SetSitting,
    "set-sitting-changed": captions.SetSitting,
    "print-document": documents.PrintJob,
    "apply-update": updates.ApplyUpdate,
    "cancel-update": updates.CancelUpdate,
    "document-request": documents.NewRequest,
    "birth-certificate-request": documents.NewRequest,
    "document-view": documents.View,
    "segment-dated": recordings.SegmentEntry,
    "stored-segment": recordings.StoredSegment,
}

SAID_SINCE: dict[str, dict[str, object]] = {"job-start-next-accepted": {"executionNumber": 1}}
"""What is written today in the execution of an older message; AWS says it always."""


def golden(name: str) -> bytes:
    return (EXAMPLES / f"{name}.v1.json").read_bytes()


def test_every_golden_file_has_a_reader() -> None:
    assert {path.name.removesuffix(".v1.json") for path in EXAMPLES.glob("*.v1.json")} == set(
        ENVELOPED
    ) | set(BARE)


@pytest.mark.parametrize("name", ENVELOPED)
def test_a_golden_envelope_is_read_and_written_back(name: str) -> None:
    envelope = open_envelope(golden(name))
    body = read(envelope.body, ENVELOPED[name])
    again = seal(
        msgspec.json.encode(body),
        boot=envelope.boot,
        lane=envelope.lane,
        seq=envelope.seq,
        at=envelope.at,
        sent=envelope.sent,
        historical=envelope.historical,
        kept_from=envelope.kept_from,
    )
    assert json.loads(again) == json.loads(golden(name))


@pytest.mark.parametrize("name", BARE)
def test_a_golden_message_is_read_and_written_back(name: str) -> None:
    expected = json.loads(golden(name))
    if name in SAID_SINCE:
        expected["execution"] |= SAID_SINCE[name]
    assert json.loads(msgspec.json.encode(read(golden(name), BARE[name]))) == expected


@pytest.mark.parametrize("name", [*ENVELOPED, *BARE])
def test_fields_that_are_not_known_yet_are_ignored(name: str) -> None:
    tree = json.loads(golden(name))
    tree["new_in_2031"] = {"deep": [1, 2, 3]}
    if name in ENVELOPED:
        tree["body"]["also_new"] = None
        read(open_envelope(json.dumps(tree).encode()).body, ENVELOPED[name])
    else:
        read(json.dumps(tree).encode(), BARE[name])


@given(st.binary(max_size=400))
def test_random_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises(MalformedError):
        open_envelope(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_json_is_an_envelope_or_is_refused(tree: object) -> None:
    try:
        envelope = open_envelope(json.dumps(tree).encode())
    except MalformedError:
        return
    assert isinstance(envelope, Envelope)


def test_a_message_that_is_too_large_is_refused() -> None:
    with pytest.raises(MalformedError, match="at most"):
        open_envelope(b" " * (MESSAGE_BYTES_MAX + 1))
    with pytest.raises(MalformedError, match="at most"):
        read(b" " * (MESSAGE_BYTES_MAX + 1), Ack)


@pytest.mark.parametrize(
    "change",
    [
        {"seq": -1},
        {"boot": ""},
        {"boot": "x" * 65},
        {"at": 0},
        {"at": 5e12},
        {"lane": "other"},
        {"v": 0},
        {"seq": "1"},
    ],
)
def test_a_field_out_of_range_is_refused(change: dict[str, object]) -> None:
    tree = {"boot": "b", "lane": "events", "seq": 1, "at": 1_795_423_200_000, "sent": 1, "body": {}} | change
    with pytest.raises(MalformedError):
        open_envelope(json.dumps(tree).encode())


def test_a_clock_that_was_never_set_is_refused() -> None:
    batch = telemetry.TelemetryBatch(samples=[telemetry.Sample(at=1000, values={})])
    with pytest.raises(MalformedError, match="between 2020 and 2100"):
        telemetry.check(batch)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cpu_pct", True),
        ("cpu_pct", 101),
        ("uptime_s", 1.5),
        ("uptime_s", False),
        ("printer_ready", 1),
        ("memory_pct", float("nan")),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused(name: str, value: float | bool) -> None:
    batch = telemetry.TelemetryBatch(samples=[telemetry.Sample(at=1_795_423_200_000, values={name: value})])
    with pytest.raises(MalformedError, match=name):
        telemetry.check(batch)


def test_a_metric_that_is_not_known_yet_passes() -> None:
    telemetry.check(
        telemetry.TelemetryBatch(samples=[telemetry.Sample(at=1_795_423_200_000, values={"new_metric": 3})])
    )


@pytest.mark.parametrize("count", [0, telemetry.SAMPLES_MAX + 1])
def test_an_empty_or_endless_batch_is_refused(count: int) -> None:
    sample = telemetry.Sample(at=1_795_423_200_000, values={})
    with pytest.raises(MalformedError, match="1 to"):
        telemetry.check(telemetry.TelemetryBatch(samples=[sample] * count))


def test_lanes_are_three() -> None:
    assert list(Lane) == ["telemetry", "events", "live"]
