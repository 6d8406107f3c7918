"""Fifty histories in which much goes wrong, and those that failed once; each is replayed by its seed alone:
`python -m simulators.world --seed N`."""

from pathlib import Path

import pytest

from simulators.world.plants import PLANTS
from simulators.world.world import WorldError, from_seed

SEEDS = 50
PLANTED_SEEDS = 200
"""A planted bug must be found within so many."""


def failed_once() -> list[int]:
    lines = (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_nothing_is_lost_doubled_or_stuck(first: int) -> None:
    for seed in range(first, first + 10):
        try:
            from_seed(seed).run()
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}; see it with: python -m simulators.world --seed {seed}")


@pytest.mark.parametrize("seed", failed_once())
def test_what_failed_once_holds(seed: int) -> None:
    from_seed(seed).run()


def test_a_seed_is_a_whole_history() -> None:
    logs: list[list[str]] = [[], []]
    for log in logs:
        from_seed(11, log=log).run()
    assert logs[0] == logs[1]
    assert len(logs[0]) > 100


def test_the_worlds_are_hard_enough() -> None:
    worlds = [from_seed(seed) for seed in range(SEEDS)]
    for world in worlds:
        world.run()
    assert sum(device.cuts for world in worlds for device in world.devices) > 50
    assert sum(world.cloud.kills for world in worlds) > 50
    assert sum(world.broker.kills for world in worlds) > 20
    states = {facts.state for world in worlds for facts in world.cloud.db.facts.values()}
    assert {"closed", "failed", "voided"} <= states
    assert any(device.disk.dropped for world in worlds for device in world.devices)


@pytest.mark.parametrize("bug", sorted(PLANTS))
def test_a_planted_bug_is_found(bug: str) -> None:
    for seed in range(PLANTED_SEEDS):
        try:
            from_seed(seed, PLANTS[bug]).run()
        except WorldError:
            return
    pytest.fail(f"{bug} was planted in {PLANTED_SEEDS} worlds, and none of them noticed")
