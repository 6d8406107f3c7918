"""Known bugs are planted: the worlds find each, and each fault is what finds it.

The table is `PLANTS` in `simulators/world/plants.py`; `FIRST` is the first seed in which each is found. A
change of a core makes other histories of the same seeds: then the others are looked through too, and
`make long WAY=simulation` says how the table reads now.
"""

import pytest

from simulators.world import hunt
from simulators.world.checkers import ALWAYS, HEALED
from simulators.world.faults import Fault
from simulators.world.plants import PLANTS, Plant

SEEDS = range(300)
"""A planted bug must be found within so many."""

FIRST = {
    "forget-before-ack": 1,
    "never-resends": 10,
    "counts-every-arrival": 0,
    "one-lock": 1,
    "deaf-without-time": 0,
    "forgets-the-floor": 0,
    "silent-silence": 0,
    "trusts-positions": 1,
    "highest-seen": 1,
    "declared-is-dropped": 0,
    "stays-down": 3,
    "believes-any-will": 43,
    "drops-when-offline": 0,
    "silent-drop": 0,
    "publish-before-append": 7,
    "reuse-boot": 0,
    "print-before-ledger": 1,
    "flashes-in-place": 0,
    "never-syncs": 0,
    "saves-in-place": 13,
    "wall-clock-timers": 1,
    "stamps-1970": 6,
    "believes-full-disk": 0,
    "trust-the-broker": 0,
    "ack-before-store": 2,
    "impatient": 2,
    "waits-for-ever": 2,
    "silence-is-refusal": 24,
    "silence-is-failure": 146,
    "forgotten-is-printed": 97,
    "stopped-is-gone": 64,
    "missed-is-captured": 11,
    "no-watchdog": 1,
    "dates-by-wall-clock": 0,
    "dates-by-guess": 2,
    "forgets-drops": 1,
    "fights-back": 2,
    "never-gives-up": 28,
    "no-reserve": 0,
    "reserve-used-once": 10,
    "no-jitter": 0,
    "positions-stand-still": 1,
    "ends-at-issue": 0,
    "throws-old-away": 0,
    "proves-by-any-link": 11,
    "shows-no-next": 92,
    "tries-for-ever": 0,
    "asks-at-once": 18,
    "believes-own-clock": 17,
    "keeps-no-settings": 0,
    "forgets-versions": 4,
    "tells-nobody": 0,
    "applies-deltas": 18,
}

BITES = [(name, faults) for name, planted in PLANTS.items() for faults in planted.found_by]


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found_and_without_it_the_world_holds(name: str) -> None:
    seed = hunt.first_found(PLANTS[name].plant, (FIRST[name], *SEEDS))
    assert seed is not None, f"{name} was planted in {len(SEEDS)} worlds, and none of them noticed"
    assert hunt.of_seed(seed).failure() is None


@pytest.mark.long
@pytest.mark.parametrize("name", PLANTS)
def test_simulation_finds_each_plant_first_where_the_table_says(name: str) -> None:
    assert hunt.first_found(PLANTS[name].plant, SEEDS) == FIRST[name]


@pytest.mark.parametrize(("name", "faults"), BITES, ids=[f"{name}-{faults[0]}" for name, faults in BITES])
def test_a_fault_bites(name: str, faults: tuple[Fault, ...]) -> None:
    """It shows the bug; the same worlds without it, with the company that it had, do not."""
    plant = PLANTS[name].plant
    seed = hunt.first_found(plant, SEEDS, faults)
    assert seed is not None, f"{name} was planted, and {faults} did not show it"
    assert hunt.first_found(plant, range(seed + 1), faults[1:]) is None


def test_every_fault_has_a_bug_that_it_finds() -> None:
    proven = {faults[0] for planted in PLANTS.values() for faults in planted.found_by}
    assert set(Fault) == proven, "a fault that finds nothing is a wrong model"


def test_every_fault_alone_finds_nothing_in_a_correct_tree() -> None:
    for fault in Fault:
        assert hunt.of_seed(1, (fault,)).failure() is None, fault


def test_no_plant_is_no_bug() -> None:
    assert hunt.of_seed(2, ()).failure(Plant()) is None


@pytest.mark.parametrize("checker", [*ALWAYS, *HEALED], ids=lambda checker: checker.__name__)
def test_a_checker_is_one_sentence(checker: object) -> None:
    assert checker.__doc__ is not None
    assert checker.__doc__.strip().count(".") == 1
