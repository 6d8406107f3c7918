"""Histories in which much goes wrong, and those that failed once; each is replayed by its seed alone:
`make simulate SEED=N`. `make simulate SEEDS=10000` lives through more of them."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cloud.documents.core import ENDED
from simulators.world import hunt
from simulators.world.faults import MODELS, Fault
from simulators.world.world import HEALS_S, from_seed

ROOT = Path(__file__).parents[2]
SEEDS = 200
CHUNKS = 10
LONG_SEEDS = 10_000


def failed_once() -> list[int]:
    lines = (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def live(seeds: range) -> tuple[Counter[Fault], Counter[str]]:
    """Live through `seeds`; which faults bit in how many worlds, and how the documents ended."""
    bitten: Counter[Fault] = Counter()
    ends: Counter[str] = Counter()
    for seed in seeds:
        world = from_seed(seed)
        try:
            world.run()
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}; see it with: make simulate SEED={seed}")
        bitten.update(world.faults.bites.keys())
        ends.update(facts.state for facts in world.cloud.db.facts.values())
    return bitten, ends


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS // CHUNKS))
def test_nothing_is_lost_doubled_or_stuck(first: int) -> None:
    bitten, ends = live(range(first, first + SEEDS // CHUNKS))
    silent = [fault for fault in MODELS if not bitten[fault]]
    assert len(silent) <= 3, f"these faults never bit in {SEEDS // CHUNKS} worlds: {silent}"
    assert {"closed"} < set(ends) <= ENDED, "some papers come out, and some do not"


@pytest.mark.parametrize("seed", failed_once())
def test_what_failed_once_holds(seed: int) -> None:
    from_seed(seed).run()


@pytest.mark.long
@pytest.mark.parametrize("first", range(SEEDS, LONG_SEEDS, 700))
def test_simulation_of_ten_thousand_seeds(first: int) -> None:
    bitten, _ = live(range(first, min(LONG_SEEDS, first + 700)))
    assert all(bitten[fault] for fault in MODELS)


def test_a_seed_is_a_whole_history_whatever_python_hashes() -> None:
    script = (
        "from simulators.world.world import from_seed\n"
        "for seed in (11, 12, 13):\n"
        "    world = from_seed(seed, traced=True)\n"
        "    world.run()\n"
        "    print(world.trace.digest, world.trace.count)\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert all(int(line.split()[1]) > 100 for line in told[0].splitlines())


def test_a_fault_that_is_left_out_leaves_the_others_as_they_were() -> None:
    """Each has chance of its own, which is what makes a failure smaller without making it another."""
    case = hunt.of_seed(3)
    full, less = from_seed(3), from_seed(3, mix={})
    for fault in case.mix:
        draws = [[world.faults.stream(fault).random() for _ in range(5)] for world in (full, less)]
        assert draws[0] == draws[1]


def test_nothing_goes_wrong_after_healing() -> None:
    world = from_seed(0)
    world.run()
    bites = Counter(world.faults.bites)
    assert bites
    world.clock.run(world.clock.now + HEALS_S)
    assert world.faults.bites == bites


@pytest.mark.parametrize("arguments", [["--seeds", "6", "--processes", "2"], ["--seed", "3"]])
def test_the_command_tells_what_bit(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "simulators.world", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held" in done.stdout or "failed 0" in done.stdout
    assert "power-cut" in done.stdout


def test_a_failing_seed_is_told_and_made_smaller() -> None:
    command = [sys.executable, "-m", "simulators.world", "--seed", "8", "--plant", "ack-before-store"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    *_, smaller, _, line = done.stdout.splitlines()
    assert smaller.startswith("seed 8 made smaller: ")
    assert "cloud-kill" in smaller
    assert len(smaller.split(";")[0].split(",")) < len(hunt.of_seed(8).mix)
    assert line.startswith("8 ")
