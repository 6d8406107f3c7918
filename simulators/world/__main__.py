"""`python -m simulators.world --seeds N | --seed S`: N worlds, or one world told step by step."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from simulators.world.faults import MODELS, Fault
from simulators.world.hunt import minimise, of_seed
from simulators.world.plants import PLANTS, Plant
from simulators.world.world import from_seed

CHUNK = 25
"""Seeds that a process takes at once."""
MINIMISED_MAX = 5
"""Failures that are made smaller; a bug that fails in a hundred seeds is not a hundred bugs."""
TOLD_MAX = 400
"""Lines of a trace that are printed; the rest is counted."""


@dataclass
class Report:
    """What came of a run of seeds; `worlds` counts by fault the worlds in which it bit, `bites` how often."""

    failures: dict[int, str] = field(default_factory=dict)
    worlds: Counter[Fault] = field(default_factory=Counter)
    bites: Counter[Fault] = field(default_factory=Counter)
    lived: int = 0
    cpu_s: float = 0.0

    def add(self, other: "Report") -> None:
        """Take in what another process saw."""
        self.failures |= other.failures
        self.worlds += other.worlds
        self.bites += other.bites
        self.lived += other.lived
        self.cpu_s += other.cpu_s


def live(first: int, count: int, plant: str | None) -> Report:
    """Live through `count` seeds from `first` on."""
    report = Report()
    began = time.process_time()
    for seed in range(first, first + count):
        world = from_seed(seed, _plant(plant))
        try:
            world.run()
        except AssertionError as error:
            report.failures[seed] = str(error) or "an assertion of a core failed"
        report.worlds.update(world.faults.bites.keys())
        report.bites.update(world.faults.bites)
        report.lived += 1
    report.cpu_s = time.process_time() - began
    return report


def main() -> int:
    """0 all worlds held; 1 one did not, and its seed is printed."""
    parser = argparse.ArgumentParser(prog="python -m simulators.world", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", type=int, help="how many worlds, from --first on")
    which.add_argument("--seed", type=int, help="one world, told step by step")
    parser.add_argument("--first", type=int, default=0, help="the first seed of --seeds")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--plant", choices=sorted(PLANTS), help="plant this bug, to see it found")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return _tell(chosen.seed, chosen.plant)
    report = Report()
    began = time.perf_counter()
    for part in _parts(chosen.first, chosen.seeds, chosen.processes, chosen.plant):
        report.add(part)
        for seed, failure in part.failures.items():
            print(f"seed {seed}: {failure}", flush=True)
        if sys.stderr.isatty():
            print(f"\r{report.lived} of {chosen.seeds}", end="", file=sys.stderr, flush=True)
    _print_summary(report, time.perf_counter() - began)
    for seed in sorted(report.failures)[:MINIMISED_MAX]:
        _print_smaller(seed, chosen.plant)
    return 1 if report.failures else 0


def _parts(first: int, count: int, processes: int, plant: str | None) -> Iterator[Report]:
    starts = range(first, first + count, CHUNK)
    sizes = [min(CHUNK, first + count - start) for start in starts]
    if processes <= 1:
        yield from (live(start, size, plant) for start, size in zip(starts, sizes, strict=True))
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(live, starts, sizes, [plant] * len(sizes))


def _print_summary(report: Report, took_s: float) -> None:
    each_ms = 1000 * report.cpu_s / max(1, report.lived)
    print("fault               worlds    bites")
    for fault in MODELS:
        print(f"{fault:20}{report.worlds[fault]:6}{report.bites[fault]:9}")
    print(
        f"worlds {report.lived}, failed {len(report.failures)}, "
        f"{each_ms:.0f} ms of one core each, {took_s:.0f} s in all"
    )


def _print_smaller(seed: int, plant: str | None) -> None:
    case, failure = minimise(of_seed(seed), _plant(plant))
    print(f"seed {seed} made smaller: {case}")
    print(f"for tests/simulation/seeds.txt once its cause is known:\n{seed} {failure}")


def _tell(seed: int, plant: str | None) -> int:
    world = from_seed(seed, _plant(plant), traced=True)
    failure = None
    try:
        world.run()
    except AssertionError as error:
        failure = str(error) or "an assertion of a core failed"
    lines = list(world.trace.lines)[-TOLD_MAX:]
    if len(lines) < world.trace.count:
        print(f"… {world.trace.count - len(lines)} earlier lines are left out")
    print("\n".join(line if len(line) <= 200 else line[:199] + "…" for line in lines))
    for fault, count in world.faults.bites.items():
        print(f"{fault}: bit {count} times. {MODELS[fault].about}")
    print(f"trace {world.trace.digest[:16]}, {world.clock.steps} steps")
    if failure is None:
        print(f"seed {seed} held")
        return 0
    print(f"seed {seed}: {failure}")
    _print_smaller(seed, plant)
    return 1


def _plant(name: str | None) -> Plant | None:
    return PLANTS[name].plant if name is not None else None


if __name__ == "__main__":
    sys.exit(main())
