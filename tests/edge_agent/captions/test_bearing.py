"""The server's time over the positions of the sound: the truth lies always between its two bounds."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.captions.bearing import DRIFT, Bearing, Moment

RATE = 16_000
NOW = 1_790_000_000_000


def test_nothing_is_known_before_the_server_has_spoken():
    bearing = Bearing(RATE)
    bearing.not_before(0, NOW)
    assert not bearing.known
    bearing.tell(0, Moment(NOW, NOW + 1000))
    assert bearing.known


def test_the_second_time_makes_it_narrower():
    bearing = Bearing(RATE)
    bearing.tell(0, Moment(NOW, NOW + 1000))
    bearing.tell(RATE // 2, Moment(NOW + 1000, NOW + 2000))
    assert bearing.at(RATE // 2) == Moment(NOW + 1000, NOW + 1501)


def test_of_two_that_disagree_the_newer_holds():
    bearing = Bearing(RATE)
    bearing.tell(0, Moment(NOW, NOW + 1000))
    bearing.tell(RATE, Moment(NOW + 60_000, NOW + 61_000))
    assert bearing.at(RATE) == Moment(NOW + 60_000, NOW + 61_000)


def test_a_change_of_the_sitting_bounds_what_is_heard_after_it_and_nothing_before():
    bearing = Bearing(RATE)
    bearing.tell(0, Moment(NOW, NOW + 1000))
    bearing.not_before(RATE, NOW + 1700)
    assert bearing.at(RATE).earliest_ms == NOW + 1700
    assert bearing.at(RATE - 1).earliest_ms < NOW + 1000


@given(
    rate_error=st.floats(-DRIFT, DRIFT),
    answers=st.lists(
        st.tuples(st.integers(0, 3_600_000), st.integers(0, 15_000), st.integers(0, 999)), min_size=1
    ),
    asked_ms=st.integers(0, 3_600_000),
)
def test_the_truth_lies_between_whatever_the_way_of_the_answers(rate_error, answers, asked_ms):
    bearing = Bearing(RATE)

    def position(ms: int) -> int:
        return round(ms * (1 + rate_error) * RATE / 1000)

    for at_ms, way_ms, part_ms in sorted(answers):
        earliest = NOW + at_ms - min(way_ms, at_ms) - part_ms
        bearing.tell(position(at_ms), Moment(earliest, earliest + 1000 + way_ms))
    found = bearing.at(position(asked_ms))
    assert found.earliest_ms <= NOW + asked_ms <= found.latest_ms + 1
