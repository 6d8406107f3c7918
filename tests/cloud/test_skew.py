"""The skew is reckoned from how early messages come, whatever their way costs."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.skew import SAMPLES_MIN, WINDOW_S, Skew, note

PERIOD_S = 10
Delays = st.lists(st.integers(0, 5_000), min_size=2 * WINDOW_S // PERIOD_S, max_size=3 * WINDOW_S // PERIOD_S)


UNKNOWN = Skew()


def run(leads: list[int], known: Skew = UNKNOWN, *, start_s: float = 1_000_000.0) -> list[Skew]:
    """What is known after each of `leads`, which come every ten seconds."""
    found = []
    for number, lead_ms in enumerate(leads):
        known = note(known, lead_ms, start_s + number * PERIOD_S)
        found.append(known)
    return found


def test_nothing_is_said_before_a_window_is_full() -> None:
    found = run([-30] * (WINDOW_S // PERIOD_S))
    assert [each.skew_ms for each in found[: SAMPLES_MIN - 1]] == [None] * (SAMPLES_MIN - 1)
    assert found[-1].skew_ms == -30


def test_the_message_that_travelled_fastest_tells_it() -> None:
    leads = [20_000 - delay for delay in (900, 40, 700, 3_000) * 10]
    assert run(leads)[-1].skew_ms == 19_960


@given(st.integers(-(10**9), 10**9), Delays)
def test_it_is_never_more_than_the_skew_and_short_of_it_by_the_shortest_way(
    skew_ms: int, delays: list[int]
) -> None:
    found = run([skew_ms - delay for delay in delays])
    for each in found:
        assert each.skew_ms is None or each.skew_ms <= skew_ms
    assert found[-1].skew_ms is not None
    assert found[-1].skew_ms >= skew_ms - min(delays[-WINDOW_S // PERIOD_S + 6 :])


@given(st.integers(-500, 500), Delays)
def test_a_clock_that_drifts_is_followed_within_a_window(ppm: int, delays: list[int]) -> None:
    """500 parts in a million are the most that NTP corrects (RFC 5905, section 11)."""
    skews = [number * PERIOD_S * ppm / 1000 for number in range(len(delays))]
    last = run([int(skew - delay) for skew, delay in zip(skews, delays, strict=True)])[-1].skew_ms
    assert last is not None
    drifted_ms = WINDOW_S * abs(ppm) / 1000
    assert last <= skews[-1] + drifted_ms + 1
    assert last >= skews[-1] - drifted_ms - min(delays[-WINDOW_S // PERIOD_S + 6 :]) - 1


@given(st.integers(-86_400_000, 86_400_000), Delays)
def test_a_clock_that_was_set_is_believed_after_a_window_at_the_latest(
    step_ms: int, delays: list[int]
) -> None:
    before = run([-20] * 40)[-1]
    found = run([step_ms - delay for delay in delays], before, start_s=1_000_000.0 + 40 * PERIOD_S)
    assert found[0].skew_ms is not None
    if step_ms - delays[0] > -20:
        assert found[0].skew_ms == step_ms - delays[0], "a clock that is ahead proves it at once"
    else:
        assert found[0].skew_ms == -20, "it may have been a slow way"
    assert found[-1].skew_ms is not None
    assert step_ms - 5_000 <= found[-1].skew_ms <= step_ms


def test_what_waited_at_the_broker_while_nobody_took_it_is_no_sign_of_a_clock() -> None:
    known = run([-20] * 40)[-1]
    back_s = 1_000_000.0 + 8 * 3600
    for late_ms in range(3_600_000, 0, -10_000):  # an hour's messages, all in one second
        known = note(known, -late_ms - 20, back_s)
        assert known.skew_ms == -20
    assert run([-20] * 40, known, start_s=back_s)[-1].skew_ms == -20


def test_a_server_whose_clock_was_set_back_forgets_what_lies_ahead() -> None:
    known = run([-20] * 40)[-1]
    found = run([3_600_000 - 20] * 40, known, start_s=1_000_000.0 - 3_600)
    assert found[0].skew_ms == 3_600_000 - 20
    assert len(found[0].window) == 1
