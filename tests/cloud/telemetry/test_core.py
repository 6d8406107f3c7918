"""A handful of messages is sorted out: stored, marked, refused."""

from collections import Counter

from cloud.refusals import Reason
from cloud.telemetry.core import Member, Sorted, sort_out
from cloud.telemetry.store import Point
from cloud.watermark import ABOVE_MAX, Key, Tally, Watermark
from contract.messages import MESSAGE_BYTES_MAX, Lane, encode, seal
from contract.telemetry import Sample, TelemetryBatch

AT = 1_790_000_000_000
MEMBERS = {"kiosk-01": Member("Prishtina", "kiosk"), "kiosk-02": Member("Peja", "kiosk")}
KEY = Key("kiosk-01", "b1", "telemetry")
LATER = b'{"v":2,"boot":"b1","lane":"telemetry","seq":1,"at":1790000000000,"sent":1,"body":{}}'


def message(
    seq: int,
    *,
    at: int = AT,
    lane: Lane = Lane.TELEMETRY,
    kept_from: int = 0,
    historical: bool = False,
    body: bytes | None = None,
) -> bytes:
    batch = TelemetryBatch(samples=[Sample(at=at, values={"cpu_pct": 1.5, "uptime_s": 7})])
    return seal(
        body or encode(batch),
        boot="b1",
        lane=lane,
        seq=seq,
        at=at,
        sent=at,
        historical=historical,
        kept_from=kept_from,
    )


def sort(*messages: tuple[str, bytes], standing: Watermark = Watermark()) -> Sorted:  # noqa: B008 - frozen
    return sort_out(messages, MEMBERS, lambda key: standing if key == KEY else Watermark())


def test_samples_become_points_with_the_registrys_tags() -> None:
    out = sort(("kiosk-01", message(1)), ("kiosk-02", message(1, at=AT + 1)))
    values = (("cpu_pct", 1.5), ("uptime_s", 7))
    assert out.points == [
        Point("kiosk-01", "Prishtina", "kiosk", AT, values),
        Point("kiosk-02", "Peja", "kiosk", AT + 1, values),
    ]
    assert out.marks == {KEY: Watermark(1), Key("kiosk-02", "b1", "telemetry"): Watermark(1)}
    assert (out.messages, out.samples, out.values, out.refused) == (2, 2, 4, [])


def test_several_of_one_device_move_its_mark_together() -> None:
    out = sort(*[("kiosk-01", message(seq)) for seq in (5, 7, 6)], standing=Watermark(4))
    assert out.marks == {KEY: Watermark(7)}


def test_what_came_before_is_stored_again_and_not_counted_again() -> None:
    out = sort(("kiosk-01", message(3)), standing=Watermark(4))
    assert (len(out.points), out.messages, out.samples, out.values) == (1, 0, 0, 0)
    assert out.marks == {KEY: Watermark(4)}


def test_what_never_came_is_counted_once_it_is_given_up() -> None:
    standing = Watermark(4, tuple(range(8, 8 + ABOVE_MAX)))
    out = sort(("kiosk-01", message(9_000)), standing=standing)
    assert (out.lost, out.marks[KEY]) == (3, Watermark(7 + ABOVE_MAX, (9_000,)))
    assert sort(("kiosk-01", message(9_000, kept_from=9_000)), standing=standing).lost == 0
    assert sort(("kiosk-01", message(5)), ("kiosk-01", message(6)), standing=Watermark(4)).lost == 0


def test_the_oldest_live_sample_is_found_by_the_clouds_clock() -> None:
    late = encode(
        TelemetryBatch(
            samples=[
                Sample(at=AT, values={"cpu_pct": 1.0}),
                Sample(at=AT + 9_000, values={"clock_skew_ms": 500}),
            ]
        )
    )
    assert (
        sort(("kiosk-01", message(1, body=late)), ("kiosk-02", message(1, at=AT + 9_000))).oldest
        == AT + 8_500
    )
    assert sort(("kiosk-01", message(1, historical=True))).oldest is None


def test_a_gap_is_closed_by_what_the_device_says_it_keeps() -> None:
    assert sort(("kiosk-01", message(9, kept_from=9))).marks == {KEY: Watermark(9)}
    assert sort(("kiosk-01", message(9))).marks == {KEY: Watermark(0, (9,))}


def test_what_is_wrong_is_refused_and_the_rest_stored() -> None:
    out = sort(
        ("stranger", message(1)),
        ("", b"{}"),
        ("kiosk-01", b"\xff"),
        ("kiosk-01", b" " * (MESSAGE_BYTES_MAX + 1)),
        ("kiosk-01", message(1, lane=Lane.EVENTS)),
        ("kiosk-01", message(0)),
        ("kiosk-01", message(1, body=b'{"samples":[{"at":1,"values":{}}]}')),
        ("kiosk-01", LATER),
        ("kiosk-01", message(2)),
    )
    assert Counter(refused.reason for refused in out.refused) == {
        Reason.FOREIGN: 2,
        Reason.NOT_AN_ENVELOPE: 2,
        Reason.VERSION: 1,
        Reason.OVERSIZED: 1,
        Reason.WRONG_LANE: 1,
        Reason.MALFORMED: 1,
    }
    assert {refused.device for refused in out.refused if refused.reason is Reason.FOREIGN} == {""}
    assert (len(out.points), out.marks) == (1, {KEY: Watermark(2)})
    assert out.tallies == {KEY: Tally(stored=1, refused=1)}


def test_a_malformed_message_that_comes_again_is_refused_once() -> None:
    wrong = message(1, body=b'{"samples":[]}')
    out = sort(("kiosk-01", wrong), ("kiosk-01", wrong))
    assert len(out.refused) == 1
    assert out.tallies == {KEY: Tally(refused=1, repeated=1)}


def test_what_was_skipped_is_not_taken_for_the_next_in_order() -> None:
    """The mark moves by one, as it does in order, but by what was dropped."""
    out = sort(("kiosk-01", message(7, kept_from=6)), standing=Watermark(4))
    assert out.marks == {KEY: Watermark(5, (7,))}
    assert out.tallies == {KEY: Tally(stored=1, dropped=1)}


def test_the_message_that_travelled_fastest_tells_how_far_a_clock_is_ahead() -> None:
    received = AT + 2_000
    messages = [("kiosk-01", message(1)), ("kiosk-01", message(2, at=AT + 500)), ("kiosk-02", message(1))]
    out = sort_out(messages, MEMBERS, lambda _key: Watermark(), received)
    assert out.leads == {"kiosk-01": -1_500, "kiosk-02": -2_000}
    never_set = seal(
        b'{"samples":[]}',
        boot="b1",
        lane=Lane.TELEMETRY,
        seq=1,
        at=AT,
        sent=2**62,
        historical=False,
        kept_from=0,
    )
    assert sort_out([("kiosk-01", never_set)], MEMBERS, lambda _key: Watermark(), received).leads == {}


def test_a_message_that_is_nested_too_deeply_is_refused_like_any_other() -> None:
    """It once ended the ingest, and came again first when the ingest was started again."""
    deep = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    out = sort(
        ("kiosk-01", b'{"boot":%s}' % deep),
        ("kiosk-01", message(1)[:-2] + b',"x":' + deep + b"}}"),
        ("kiosk-02", message(1)),
    )
    assert [each.reason for each in out.refused] == [Reason.NOT_AN_ENVELOPE, Reason.NOT_AN_ENVELOPE]
    assert out.messages == 1
