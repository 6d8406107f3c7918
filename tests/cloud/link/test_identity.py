"""Two machines with one identity are told from one that restarts."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.link.identity import SEEN_MAX, SHARED_FOR_S, WITHIN_S, Coming, is_shared, note

Seen = tuple[Coming, ...]


def run(comings: list[Coming]) -> list[bool]:
    """For each coming whether it proves a second machine."""
    seen: Seen = ()
    found = []
    for coming in comings:
        seen, back = note(seen, coming)
        found.append(back)
    return found


def at(boot: str, second: int, connection: int = 0, said: int | None = None) -> Coming:
    return Coming(boot, connection, second * 1000 if said is None else said, second * 1000)


def test_a_boot_that_comes_back_after_another_is_a_second_machine() -> None:
    assert run([at("a", 0), at("b", 20), at("a", 45), at("b", 50)]) == [False, False, True, True]


def test_a_device_that_reconnects_and_restarts_is_one_machine() -> None:
    comings = [at(boot, 10 * number) for number, boot in enumerate("aaabbcddde")]
    assert run(comings) == [False] * 10


def test_a_copy_of_what_was_said_before_proves_nothing() -> None:
    """The broker gives again what it has no acknowledgement for, in the old order."""
    a, b = at("a", 0, said=7), at("b", 20, said=9)
    again = [a._replace(at_ms=60_000), b._replace(at_ms=60_001)]
    assert run([a, b, *again]) == [False] * 4


def test_a_machine_that_was_copied_while_it_ran_is_told_by_its_connections() -> None:
    comings = [at("a", 0, 5), at("a", 10, 6), at("a", 20, 6, said=1), at("a", 30, 7)]
    assert run(comings) == [False, False, True, False]


def test_what_was_long_ago_is_no_sign() -> None:
    assert run([at("a", 0), at("b", 20), at("a", 21 + int(WITHIN_S))]) == [False] * 3
    assert is_shared(1_000, 1_000 + int(SHARED_FOR_S) * 1000)
    assert not is_shared(1_000, 1_001 + int(SHARED_FOR_S) * 1000)
    assert not is_shared(None, 0)


@given(st.lists(st.integers(0, 900), max_size=40), st.data())
def test_one_machine_is_never_taken_for_two(pauses: list[int], data: st.DataObject) -> None:
    """It reconnects and restarts as it likes; its clock may say anything; the last few may be told again."""
    second, boot, number = 0, 0, 0
    comings: list[Coming] = []
    for pause in pauses:
        second += pause
        if data.draw(st.booleans(), "restarts"):
            boot, number = boot + 1, 0
        number += 1
        comings.append(at(f"boot-{boot}", second, number, said=data.draw(st.integers(0, 3), "clock")))
        again = data.draw(st.integers(0, 5), "told again")
        comings += [coming._replace(at_ms=second * 1000 + 5) for coming in comings[-again:] if again]
    assert not any(run(comings))


@given(st.integers(1, 600), st.integers(3, 30))
def test_two_machines_are_found_at_the_third_coming_and_after(pause_s: int, times: int) -> None:
    comings = [at("ab"[number % 2], number * pause_s) for number in range(times)]
    assert run(comings) == [False, False, *[True] * (times - 2)]


def test_little_is_remembered() -> None:
    seen: Seen = ()
    for number in range(100):
        seen, _ = note(seen, at(f"boot-{number}", number))
    assert len(seen) == SEEN_MAX
