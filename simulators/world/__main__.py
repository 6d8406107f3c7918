"""`python -m simulators.world --seeds N | --seed S`: N worlds, or one world told step by step."""

import argparse
import sys
import time

from simulators.world.plants import PLANTS
from simulators.world.world import from_seed


def main() -> int:
    """0 all worlds held; 1 one did not, and its seed is printed."""
    parser = argparse.ArgumentParser(prog="python -m simulators.world", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", type=int, help="how many worlds, from --first on")
    which.add_argument("--seed", type=int, help="one world, told effect by effect")
    parser.add_argument("--first", type=int, default=0, help="the first seed of --seeds")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="plant this bug, to see it found")
    chosen = parser.parse_args()
    plant = PLANTS.get(chosen.plant)
    if chosen.seed is not None:
        return _tell(chosen.seed, chosen.plant)
    began = time.perf_counter()
    failed = 0
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        try:
            from_seed(seed, plant).run()
        except AssertionError as error:
            failed += 1
            print(f"seed {seed}: {error}")
    took_s = time.perf_counter() - began
    print(f"worlds {chosen.seeds}, failed {failed}, {1000 * took_s / max(1, chosen.seeds):.0f} ms each")
    return 1 if failed else 0


def _tell(seed: int, plant: str | None) -> int:
    log: list[str] = []
    world = from_seed(seed, PLANTS.get(plant or ""), log)
    print(world.mix)
    try:
        world.run()
    except AssertionError as error:
        print("\n".join(log))
        print(f"seed {seed}: {error}")
        return 1
    print("\n".join(log))
    print(f"seed {seed} held: {world.clock.steps} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
