"""The ingest's own points: who is silent for how long, how late samples are, what was lost."""

from datetime import UTC, datetime, timedelta

from cloud.refusals import Reason, refusal
from cloud.telemetry.core import Member, Sorted
from cloud.telemetry.own_metrics import OwnMetrics
from cloud.telemetry.store import Point
from cloud.watermark import Key, Watermark

T0 = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MEMBERS = {"kiosk-01": Member("Prishtina", "kiosk"), "kiosk-02": Member("Peja", "kiosk")}


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def silent(points: list[Point]) -> dict[str, object]:
    return {point.device: dict(point.values)["silent_s"] for point in points if point.measurement == "link"}


def test_silence_counts_from_what_came_last_and_from_the_start_where_nothing_came() -> None:
    own = OwnMetrics("svc-ingest", T0)
    own.note(Sorted(marks={Key("kiosk-01", "b", "telemetry"): Watermark(1)}), later(30))
    points = own.points(MEMBERS, later(32.5))
    assert silent(points) == {"kiosk-01": 2.5, "kiosk-02": 32.5}
    assert points[1] == Point("kiosk-02", "Peja", "kiosk", ms(later(32.5)), (("silent_s", 32.5),), "link")


def test_of_one_that_is_only_awaited_no_silence_is_told_until_it_is_heard() -> None:
    own = OwnMetrics("svc-ingest", T0)
    members = MEMBERS | {"kiosk-03": Member("Peja", "kiosk", enrolled=False)}
    assert silent(own.points(members, later(400))) == {"kiosk-01": 400, "kiosk-02": 400}
    own.note(Sorted(marks={Key("kiosk-03", "b", "telemetry"): Watermark(1)}), later(400))
    assert silent(own.points(members, later(410)))["kiosk-03"] == 10


def test_the_skew_that_a_device_knows_stands_at_the_clouds_time() -> None:
    own = OwnMetrics("svc-ingest", T0)
    own.note(Sorted(skews={"kiosk-02": -75_000}), later(1))
    first, second, _ = own.points(MEMBERS, later(2))
    assert "skew_ms" not in dict(first.values)
    assert (dict(second.values)["skew_ms"], second.at) == (-75_000, ms(later(2)))


def test_they_are_due_each_period_and_forget_who_is_registered_no_more() -> None:
    own = OwnMetrics("svc-ingest", T0)
    assert own.due(T0)
    own.note(Sorted(marks={Key("kiosk-01", "b", "telemetry"): Watermark(1)}), later(1))
    assert silent(own.points({}, later(1))) == {}
    assert not own.due(later(10.9))
    assert own.due(later(11))
    assert own.due(later(-3600)), "the clock was set back"
    assert silent(own.points(MEMBERS, later(11)))["kiosk-01"] == 11, "its old hearing was kept"


def test_the_process_counts_and_tells_the_worst_lag_of_each_period_once() -> None:
    own = OwnMetrics("svc-ingest", T0)
    refused = [refusal("kiosk-01", "telemetry", Reason.MALFORMED, b"x")]
    own.note(Sorted(samples=3, lost=2, refused=refused, oldest=ms(T0)), later(1.5))
    own.note(Sorted(samples=4, oldest=ms(later(1.9))), later(2))
    own.note(Sorted(oldest=ms(later(60))), later(2))
    *_, first = own.points(MEMBERS, later(2))
    assert (first.device, first.site, first.kind, first.measurement) == (
        "svc-ingest",
        "cloud",
        "service",
        "ingest",
    )
    assert dict(first.values) == {"samples": 7, "refused": 1, "lost": 2, "lag_ms": 1500.0}
    *_, second = own.points(MEMBERS, later(12))
    assert dict(second.values) == {"samples": 7, "refused": 1, "lost": 2}
