"""Reconnection: jittered, bounded, patient with refusals, and not fooled by a short success."""

import random

import pytest

from contract.link import DELAY_S_MAX
from edge_agent.link.reconnection import (
    CAP_S,
    DIAL_TIMEOUT_S,
    FIRST_WAIT_MAX_S,
    REFUSED_MAX_S,
    REFUSED_MIN_S,
    STABLE_S,
    TAKEN_OVER_MAX_S,
    TAKEN_OVER_MIN_S,
    Asked,
    Dial,
    Established,
    HangUp,
    Lost,
    Reason,
    Reconnection,
    TimePassed,
    Told,
)


class Highest:
    """Chance that always gives the longest wait."""

    def uniform(self, a: float, b: float) -> float:
        return b


def dial(core: Reconnection) -> float:
    """Let the wait pass; returns when it dialed."""
    at = core.deadline()
    assert at is not None
    assert core.handle(TimePassed(), at) == [Dial()]
    return at


def test_the_first_attempt_comes_at_once_but_not_with_everybody() -> None:
    core = Reconnection(Highest(), 100.0)
    assert core.deadline() == 100.0 + FIRST_WAIT_MAX_S
    assert core.handle(TimePassed(), 100.0) == []
    dial(core)
    assert core.state == "dialing"


def test_waits_double_up_to_the_cap() -> None:
    core = Reconnection(Highest(), 0.0)
    waits = []
    for _ in range(9):
        at = dial(core)
        core.handle(Lost("unavailable"), at)
        deadline = core.deadline()
        assert deadline is not None
        waits.append(deadline - at)
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, CAP_S, CAP_S, CAP_S])


def test_jitter_is_full() -> None:
    waits = []
    for seed in range(300):
        core = Reconnection(random.Random(seed), 0.0)
        core.attempts = 10
        at = dial(core)
        core.handle(Lost("unavailable"), at)
        waits.append((core.deadline() or 0) - at)
    assert min(waits) < 0.1 * CAP_S
    assert max(waits) > 0.9 * CAP_S
    assert sum(waits) / len(waits) == pytest.approx(CAP_S / 2, rel=0.15)


def test_who_is_refused_waits_longer_than_any_other() -> None:
    for seed in range(50):
        core = Reconnection(random.Random(seed), 0.0)
        at = dial(core)
        core.handle(Lost("refused"), at)
        wait = (core.deadline() or 0) - at
        assert REFUSED_MIN_S <= wait <= REFUSED_MAX_S
        assert wait > CAP_S


@pytest.mark.parametrize(("held_s", "wait_s"), [(STABLE_S - 1, 16.0), (STABLE_S, 1.0)])
def test_only_a_connection_that_held_counts_as_good(held_s: float, wait_s: float) -> None:
    core = Reconnection(Highest(), 0.0)
    core.attempts = 4
    at = dial(core)
    core.handle(Established(), at)
    assert core.state == "up"
    assert core.deadline() is None
    core.handle(Lost("unavailable"), at + held_s)
    assert core.deadline() == at + held_s + wait_s


def test_an_attempt_without_an_answer_is_given_up() -> None:
    core = Reconnection(Highest(), 0.0)
    at = dial(core)
    assert core.deadline() == at + DIAL_TIMEOUT_S
    assert core.handle(TimePassed(), at + DIAL_TIMEOUT_S) == [HangUp()]
    assert core.state == "down"


def test_what_comes_too_late_changes_nothing() -> None:
    core = Reconnection(Highest(), 0.0)
    core.handle(Established(), 0.1)
    assert core.state == "down"
    before = core.deadline()
    core.handle(Lost("refused"), 0.2)
    assert core.deadline() == before


@pytest.mark.parametrize("state", ["down", "dialing", "up"])
def test_who_has_another_certificate_dials_at_once(state: str) -> None:
    core = Reconnection(random.Random(1), 0.0)
    now = 0.0 if state == "down" else dial(core)
    if state == "up":
        core.handle(Established(), now)
    assert core.handle(Asked(), now) == [Dial()]
    assert core.state == "dialing"
    assert core.deadline() == now + DIAL_TIMEOUT_S


def lost(core: Reconnection, reason: Reason, now: float) -> float:
    """Lose the link at `now`; how long it waits then."""
    core.handle(Lost(reason), now)
    return (core.deadline() or 0) - now


def test_who_lost_the_link_to_another_leaves_it_alone_for_long_and_counts_it() -> None:
    waits = []
    for seed in range(50):
        core = Reconnection(random.Random(seed), 0.0)
        at = dial(core)
        core.handle(Established(), at)
        waits.append(lost(core, "taken-over", at + 1))
        assert core.taken_over == 1
    assert all(TAKEN_OVER_MIN_S <= wait <= TAKEN_OVER_MAX_S for wait in waits)
    assert max(waits) - min(waits) > 0.8 * (TAKEN_OVER_MAX_S - TAKEN_OVER_MIN_S)
    assert TAKEN_OVER_MIN_S >= REFUSED_MAX_S


def test_the_next_loss_waits_as_the_cloud_told_and_the_one_after_it_does_not() -> None:
    waits = []
    for seed in range(50):
        core = Reconnection(random.Random(seed), 0.0)
        at = dial(core)
        core.handle(Established(), at)
        core.handle(Told(20.0, 80.0, 600.0), at)
        waits.append(lost(core, "unavailable", at + 600.0))
        at = dial(core)
        assert lost(core, "unavailable", at) <= 2.0
    assert all(20.0 <= wait <= 80.0 for wait in waits)
    assert max(waits) - min(waits) > 40.0


def test_a_told_delay_runs_out_is_replaced_and_is_capped() -> None:
    core = Reconnection(Highest(), 0.0)
    at = dial(core)
    core.handle(Established(), at)
    core.handle(Told(20.0, 80.0, 10.0), at)
    assert lost(core, "unavailable", at + 10.1) == pytest.approx(1.0)
    at = dial(core)
    core.handle(Told(20.0, 80.0, 10.0), at)
    core.handle(Told(5.0, 9.0, 10.0), at)
    assert lost(core, "unavailable", at) == pytest.approx(9.0)
    at = dial(core)
    core.handle(Told(0.0, 1e9, 10.0), at)
    assert lost(core, "unavailable", at) == pytest.approx(DELAY_S_MAX)


@pytest.mark.parametrize("reason", ["refused", "taken-over"])
def test_nobody_comes_earlier_because_the_cloud_told_a_short_delay(reason: Reason) -> None:
    core = Reconnection(random.Random(1), 0.0)
    at = dial(core)
    core.handle(Established(), at)
    core.handle(Told(0.0, 1.0, 600.0), at)
    assert lost(core, reason, at) >= REFUSED_MIN_S
