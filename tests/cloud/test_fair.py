"""Devices take turns, and none gets more than its share."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cloud.fair import BATCH_BYTES_MAX, WAITING_MAX, Turns, share
from contract.messages import IN_FLIGHT_MAX, MESSAGE_BYTES_MAX


def test_devices_take_turns_and_each_keeps_its_order() -> None:
    turns: Turns[int] = Turns()
    for owner, item in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)]:
        assert turns.offer(owner, item)
    assert len(turns) == 6
    assert [turns.take() for _ in range(7)] == [1, 4, 5, 2, 6, 3, None]


def test_a_line_is_bounded_and_tasks_of_our_own_are_not() -> None:
    turns: Turns[int] = Turns(waiting_max=2)
    assert [turns.offer("a", item) for item in range(3)] == [True, True, False]
    assert all(turns.offer("", item, bounded=False) for item in range(10))
    assert turns.take() == 0
    assert turns.offer("a", 9)


def test_a_device_that_follows_the_contract_always_finds_room() -> None:
    """It may have a window under way, and may send it again after a reconnection."""
    turns: Turns[int] = Turns()
    assert all(turns.offer("a", item) for item in range(2 * IN_FLIGHT_MAX))
    assert not turns.offer("a", 0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers()), max_size=60))
def test_nobody_is_passed_over_twice(offered: list[tuple[str, int]]) -> None:
    turns: Turns[tuple[str, int]] = Turns()
    for each in offered:
        turns.offer(each[0], each)
    waiting = Counter(owner for owner, _ in offered)
    since: Counter[str] = Counter()
    taken = []
    while (item := turns.take()) is not None:
        taken.append(item)
        for owner in waiting:
            since[owner] += 1
        assert since[item[0]] <= 3
        since[item[0]] = 0
        waiting[item[0]] -= 1
        waiting = +waiting
    for owner in "abc":
        assert [each for each in taken if each[0] == owner] == [each for each in offered if each[0] == owner]


def test_a_small_batch_is_taken_as_it_is() -> None:
    batch = [("a", b"x" * MESSAGE_BYTES_MAX)] * WAITING_MAX
    assert share(batch).kept == list(range(WAITING_MAX))


def test_a_flood_leaves_the_batch_to_the_others() -> None:
    batch = [("a", b"1")] * 400 + [("b", b"2")] + [("a", b"1")] * 99
    kept, excess = share(batch)
    assert [batch[position] for position in kept] == [*[("a", b"1")] * WAITING_MAX, ("b", b"2")]
    assert excess == {"a": 499 - WAITING_MAX}


def test_a_flood_of_large_messages_is_bounded_by_bytes_and_never_stands_still() -> None:
    batch = [("a", b"x" * MESSAGE_BYTES_MAX), ("b", b"2")] * 100
    kept, excess = share(batch)
    sizes = Counter[str]()
    for position in kept:
        sizes[batch[position][0]] += len(batch[position][1])
    assert 0 < sizes["a"] <= BATCH_BYTES_MAX
    assert excess == {"a": 100 - BATCH_BYTES_MAX // MESSAGE_BYTES_MAX}
    huge = [("a", b"x" * (BATCH_BYTES_MAX + 1)), *[("b", b"2")] * WAITING_MAX]
    assert share(huge).kept[0] == 0, "the first one always goes"
