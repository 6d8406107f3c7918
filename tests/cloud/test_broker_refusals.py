"""Lines of mosquitto's log become counts of the device that they are about, whatever it wrote itself."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.broker_refusals import ENTRIES_MAX, LINE_BYTES_MAX, BrokerRefusals, read_report
from cloud.errors import MalformedError
from cloud.refusals import Reason

STAMP = b"2026-11-27T13:31:41: "
ME = "kiosk-01"


def counted(*lines: bytes, root: str = "fleet/v1") -> dict[tuple[str, str], int]:
    refusals = BrokerRefusals(root)
    refusals.take(b"".join(STAMP + line + b"\n" for line in lines))
    report = refusals.report()
    return dict(read_report(report)) if report else {}


def denied(topic: bytes, device: bytes = b"kiosk-01") -> bytes:
    return b"Denied PUBLISH from %s (d0, q1, r0, m7, '%s', ... (1 bytes))" % (device, topic)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (denied(b"fleet/v1/kiosk-02/telemetry"), Reason.FOREIGN_TOPIC),
        (denied(b"fleet/v1/kiosk-01/nothing"), Reason.UNKNOWN_TOPIC),
        (denied(b"fleet/v1/kiosk-01/ack"), Reason.UNKNOWN_TOPIC),
        (denied(b"fleet/v1/kiosk-01"), Reason.UNKNOWN_TOPIC),
        (denied(b"fleet/v1"), Reason.UNKNOWN_TOPIC),
        (denied(b"elsewhere/kiosk-02/x"), Reason.UNKNOWN_TOPIC),
        (denied(b"$SYS/broker/log/N"), Reason.UNKNOWN_TOPIC),
        (denied(b"fleet/v1/kiosk-02/" + b"x" * 900)[:1000], Reason.FOREIGN_TOPIC),
        (b"Dropped too large PUBLISH from kiosk-01 (d0, q1, r0, m7, 'x', ... (9 bytes))", Reason.OVERSIZED),
        (b"Client kiosk-01 disconnected due to oversize packet.", Reason.OVERSIZED),
        (b"Client kiosk-01 disconnected due to malformed packet.", Reason.BROKEN_PACKET),
        (b"Client kiosk-01 disconnected due to protocol error.", Reason.BROKEN_PACKET),
        (b"kiosk-01 1 fleet/v1/kiosk-02/#", Reason.FOREIGN_FILTER),
        (b"kiosk-01 0 #", Reason.FOREIGN_FILTER),
        (b"kiosk-01 2 $broker/refused", Reason.FOREIGN_FILTER),
    ],
)
def test_what_is_refused_is_counted_for_its_sender(line: bytes, reason: Reason) -> None:
    assert counted(line, line) == {(ME, reason): 2}


@pytest.mark.parametrize(
    "line",
    [
        b"OpenSSL Error[0]: error:0A000086:SSL routines::certificate verify failed",
        b"Client connection from 10.0.0.9 failed: error:0A0000C7:SSL routines::peer did not return a "
        b"certificate.",
    ],
)
def test_a_caller_without_a_good_certificate_has_no_name(line: bytes) -> None:
    assert counted(line) == {("", Reason.BAD_CERTIFICATE): 1}


@pytest.mark.parametrize(
    "line",
    [
        b"Received PUBLISH from kiosk-01 (d0, q1, r0, m1, 'fleet/v1/kiosk-01/telemetry', ... (9 bytes))",
        b"Sending PUBACK to kiosk-01 (m7, rc135)",
        b"\tfleet/v1/kiosk-02/# (QoS 1)",
        b"kiosk-01 1 fleet/v1/kiosk-01/ack",
        b"kiosk-01 fleet/v1/kiosk-02/#",
        b"svc-control 1 fleet/v1/+/presence",
        b"Client kiosk-01 disconnected.",
        b"Client kiosk-01 closed its connection.",
        b"OpenSSL Error[0]: error:0A000126:SSL routines::unexpected eof while reading",
        b"mosquitto version 2.0.11 running",
    ],
)
def test_what_is_allowed_is_not_counted(line: bytes) -> None:
    assert counted(line) == {}


@given(st.binary(max_size=200))
def test_no_topic_is_counted_for_another(topic: bytes) -> None:
    """A line feed cannot stand in one: the broker takes it for malformed before it writes of it."""
    told = topic.replace(b"\n", b"")
    for line in (denied(told), b"kiosk-01 1 " + told, b"\t" + told + b" (QoS 1)"):
        assert {device for device, _ in counted(line)} <= {ME}


@pytest.mark.parametrize(
    "topic",
    [
        b"', ... (1 bytes))  Denied PUBLISH from kiosk-02 (d0, q1, r0, m7, 'x', ... (1 bytes))",
        b"Client kiosk-02 disconnected due to protocol error.",
        STAMP + denied(b"x", b"kiosk-02"),
        "\u2028".encode() + STAMP + denied(b"x", b"kiosk-02"),
        "\u0085Denied PUBLISH from kiosk-02 (".encode(),
    ],
)
def test_a_topic_that_looks_like_a_line_is_a_topic(topic: bytes) -> None:
    assert counted(denied(topic)) == {(ME, Reason.UNKNOWN_TOPIC): 1}


@given(st.data())
def test_it_does_not_matter_where_the_log_is_cut(data: st.DataObject) -> None:
    log = b"".join(STAMP + line + b"\n" for line in (denied(b"x"), b"kiosk-02 1 #", b"New connection."))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=5)))
    refusals = BrokerRefusals("fleet/v1")
    passed = b"".join(refusals.take(log[a:b]) for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True))
    assert passed == STAMP + b"New connection.\n"
    assert dict(read_report(refusals.report() or b"")) == {
        (ME, Reason.UNKNOWN_TOPIC): 1, ("kiosk-02", Reason.FOREIGN_FILTER): 1
    }  # fmt: skip


def test_people_get_what_they_got_before() -> None:
    for_people = [
        b"mosquitto version 2.0.11 starting", b"New connection from 10.0.0.9:1 on port 8883.",
        b"New client connected from 10.0.0.9:1 as kiosk-01 (p5, c0, k30, u'kiosk-01').",
        b"Client kiosk-01 disconnected due to oversize packet.", b"Warning: no room.",
    ]  # fmt: skip
    for_nobody = [
        b"No will message specified.", b"Will message specified (3 bytes) (r1, q1).", b"\tx",
        b"Received PINGREQ from kiosk-01", b"Sending PINGRESP to kiosk-01", denied(b"x"), b"kiosk-01 1 x",
        b"kiosk-01 x",
    ]  # fmt: skip
    early = b"1795786301: Error: Unable to open the pid file."
    said = [STAMP + each for each in (*for_people, *for_nobody)] + [early]
    passed = BrokerRefusals("fleet/v1").take(b"\n".join(said) + b"\n")
    assert passed.splitlines() == [STAMP + each for each in for_people] + [early]


def test_many_names_are_counted_and_only_some_are_kept() -> None:
    refusals = BrokerRefusals("fleet/v1")
    for number in range(3 * ENTRIES_MAX):
        refusals.take(STAMP + denied(b"x", b"kiosk-%d" % number) + b"\n")
    report = refusals.report()
    assert report is not None
    assert len(report) < 131_072
    counts = read_report(report)
    assert sum(counts.values()) == 3 * ENTRIES_MAX
    assert counts["", Reason.UNKNOWN_TOPIC] == 2 * ENTRIES_MAX
    assert refusals.report() is None, "each is told once"


def test_a_line_without_end_takes_no_memory() -> None:
    refusals = BrokerRefusals("fleet/v1")
    for _ in range(100):
        assert refusals.take(b"x" * 100_000) == b""
    assert len(refusals.take(b"\n")) <= LINE_BYTES_MAX + 1


@pytest.mark.parametrize(
    "report",
    [
        b"", b"\xff", b"[]", b"{}", b'{"counts":[{"device":"a","reason":"x","count":1}]}',
        json.dumps({"counts": [{"device": "a" * 64, "reason": "oversized", "count": 1}]}).encode(),
        json.dumps({"counts": [{"device": "a", "reason": "oversized", "count": -1}]}).encode(),
        msgspec.json.encode({"counts": [{"device": "a", "reason": "excess", "count": 1}] * 3000}),
    ],
)  # fmt: skip
def test_what_is_no_report_is_malformed(report: bytes) -> None:
    with pytest.raises(MalformedError, match="what the broker refused"):
        read_report(report)
