"""What the broker says of itself becomes figures; what is no figure becomes nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud.broker_figures import FIGURES, BrokerFigures
from contract.telemetry import BROKER_METRICS

T0 = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
DROPPED = "$SYS/broker/publish/messages/dropped"


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def told(*story: tuple[float, str, bytes]) -> BrokerFigures:
    figures = BrokerFigures(connections_max=200)
    for seconds, topic, payload in story:
        figures.take(topic, payload, at(seconds))
    return figures


def test_a_broker_that_says_nothing_has_no_figures() -> None:
    assert told().now(T0) is None
    spoken = told((0, "$SYS/broker/uptime", b"3 seconds"))
    assert spoken.now(at(60)) is not None
    assert spoken.now(at(61)) is None


def test_connections_are_held_against_what_is_allowed() -> None:
    figures = told((0, "$SYS/broker/clients/connected", b"160")).now(T0)
    assert figures is not None
    assert (figures.full_pct, figures.near_full) == (80.0, True)


def test_drops_are_those_of_the_last_five_minutes() -> None:
    figures = told((0, DROPPED, b"1000"), (10, DROPPED, b"1003"), (200, DROPPED, b"1004"))
    for seconds, drops in ((200, 4), (250, 4)):
        now = figures.now(at(seconds))
        assert now is not None
        assert (now.drops, now.values["drops_5min"]) == (drops, drops)
    figures.take("$SYS/broker/uptime", b"400 seconds", at(400))
    later = figures.now(at(400))
    assert later is not None
    assert later.drops == 1


def test_a_broker_that_was_started_anew_counts_from_nothing() -> None:
    figures = told((0, DROPPED, b"1000"), (10, DROPPED, b"2")).now(at(10))
    assert figures is not None
    assert figures.drops == 2


@pytest.mark.parametrize("payload", [b"", b"many", b"nan", b"inf", b"1" * 400, b"\xff"])
def test_what_is_no_figure_is_left_out(payload: bytes) -> None:
    figures = told((0, DROPPED, payload)).now(T0)
    assert figures is not None
    assert "dropped" not in figures.values


def test_every_metric_of_the_contract_comes_from_somewhere() -> None:
    assert {metric.name for metric in BROKER_METRICS} == set(FIGURES.values()) | {"full_pct", "drops_5min"}
