"""One quiet hour of a kiosk, lived as often as it has effects: each time the power goes before another."""

import pytest

from simulators.world.plants import PLANTS, Plant
from simulators.world.world import WorldError, calm


def effects(plant: Plant | None = None) -> int:
    """How many effects there are before the evening; the hours after it only hold what was reached."""
    world = calm(None, plant)
    world.run()
    return world.effects_before_healing


def test_the_quiet_hour_has_everything_in_it() -> None:
    log: list[str] = []
    calm(None, log=log).run()
    told = "\n".join(log)
    for effect in (
        "Append(",
        "Publish(",
        "Forget(",
        "Begin(",
        "Resume(",
        "Conclude(",
        "Keep(",
        "Spool(",
        "Tell(",
    ):
        assert effect in told, effect


def test_no_cut_costs_anything() -> None:
    count = effects()
    assert count > 50
    for cut in range(count):
        try:
            calm(cut).run()
        except AssertionError as error:
            pytest.fail(f"the power goes before effect {cut}: {error}")


@pytest.mark.parametrize("bug", ["forget-before-ack", "print-before-ledger", "reuse-boot"])
def test_a_planted_bug_is_found_by_some_cut(bug: str) -> None:
    plant = PLANTS[bug]
    for cut in range(effects(plant)):
        try:
            calm(cut, plant).run()
        except WorldError:
            return
    pytest.fail(f"{bug} was planted, and no cut showed it")
