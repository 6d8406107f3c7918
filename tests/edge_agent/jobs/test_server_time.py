"""The server's time is what its answer says, between asking and hearing; whatever else comes says nothing."""

import pytest

from edge_agent.jobs.server_time import ServerClock
from edge_agent.ports import ServerTime

SECONDS = 1_790_000_000


def test_an_answer_bounds_the_time_from_both_sides():
    clock = ServerClock()
    clock.ask("a", 10.0)
    assert clock.answered("a", SECONDS, 12.5) == ServerTime(SECONDS * 1000, SECONDS * 1000 + 3500)


def test_an_answer_counts_once_and_only_for_the_request_that_is_open():
    clock = ServerClock()
    assert clock.answered("", SECONDS, 0.0) is None
    clock.ask("a", 10.0)
    clock.ask("b", 30.0)
    assert clock.answered("a", SECONDS, 30.1) is None
    assert clock.answered("b", SECONDS, 30.2) is not None
    assert clock.answered("b", SECONDS, 99.0) is None


@pytest.mark.parametrize("timestamp", [-1, 0, 1_000_000_000, 99_999_999_999])
def test_what_is_no_time_is_not_believed(timestamp):
    clock = ServerClock()
    clock.ask("a", 0.0)
    assert clock.answered("a", timestamp, 0.1) is None
