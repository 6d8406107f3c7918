"""Many drops are few words, and none is told twice or forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from contract.link import DroppedRange, Why
from contract.messages import Lane
from edge_agent.link.tally import Tally

DROPS = st.lists(
    st.tuples(
        st.sampled_from(["b1", "b2"]),
        st.sampled_from(list(Lane)),
        st.integers(0, 6),
        st.sampled_from(list(Why)),
    ),
    max_size=40,
)


def noted(tally: Tally, drops: list[tuple[str, Lane, int, Why]]) -> None:
    for boot, lane, seq, why in drops:
        if seq:
            tally.note(boot, lane, seq, why)
        else:
            tally.note_unnumbered(lane, why)


def count(ranges: tuple[DroppedRange, ...]) -> int:
    return sum(each.count for each in ranges)


def test_neighbours_become_one_range() -> None:
    tally = Tally("b1", ())
    noted(tally, [("b1", Lane.TELEMETRY, seq, Why.ROWS) for seq in range(1, 1001)])
    assert [(each.from_seq, each.to_seq, each.count) for each in tally.ranges] == [(1, 1000, 1000)]


def test_other_boots_lanes_and_reasons_stay_apart() -> None:
    tally = Tally("b1", ())
    tally.note("b1", Lane.TELEMETRY, 1, Why.ROWS)
    tally.note("b1", Lane.TELEMETRY, 2, Why.BYTES)
    tally.note("b1", Lane.EVENTS, 2, Why.ROWS)
    tally.note("b0", Lane.TELEMETRY, 2, Why.ROWS)
    tally.note("b1", Lane.TELEMETRY, 4, Why.BYTES)
    assert len(tally) == 5


@given(DROPS, DROPS)
def test_nothing_is_lost_on_the_way_to_a_declaration_and_back(
    before: list[tuple[str, Lane, int, Why]], after: list[tuple[str, Lane, int, Why]]
) -> None:
    tally = Tally("b2", ())
    noted(tally, before)
    first = tally.first()
    rest = count(tally.ranges) - count(first)
    tally.declared(first)
    noted(tally, after)
    assert count(tally.ranges) == rest + len(after)
    tally.put_back(first)
    assert count(tally.ranges) == len(before) + len(after)
    again = Tally("b3", tally.ranges)
    assert count(again.ranges) == len(before) + len(after)
    unnumbered = [each for each in again.ranges if not each.from_seq]
    assert {each.boot for each in unnumbered} <= {"b3"}
    assert len(unnumbered) == len({(each.lane, each.why) for each in unnumbered})
