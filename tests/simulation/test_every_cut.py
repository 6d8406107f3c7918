"""One quiet hour of a kiosk with its board and a hall, lived as often as it has effects: each time the power
goes before another, takes what was not synced, and tears the write in hand."""

import pytest

from simulators.world.plants import PLANTS
from simulators.world.world import calm

CHUNKS = 4


def effects() -> int:
    """How many effects there are before the evening; the hours after it only hold what was reached."""
    world = calm(None)
    world.run()
    return world.effects_before_healing


def test_the_quiet_hour_has_everything_in_it() -> None:
    world = calm(None, traced=True)
    world.run()
    told = "\n".join(world.trace.lines)
    for effect in (
        "Append(",
        "sync",
        "Publish(",
        "Forget(",
        "Begin(",
        "Resume(",
        "Conclude(",
        "Keep(",
        "Spool(",
        "Tell(",
        "Remember(",
        "SendFinal(",
        "StopRecogniser(",
        "Activate(",
        "RollBack(",
        "Prove(",
        "NoteProven(",
        "Use(",
        "Commit()",
        "ClearSpare(",
        "Keep(values=",
        "Report(update=",
    ):
        assert effect in told, effect


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_cut_costs_anything(chunk: int) -> None:
    count = effects()
    assert count > 200
    for cut in range(chunk, count, CHUNKS):
        try:
            calm(cut).run()
        except AssertionError as error:
            pytest.fail(f"the power goes before effect {cut}: {error}")


@pytest.mark.parametrize("bug", ["forget-before-ack", "print-before-ledger", "reuse-boot", "never-syncs"])
def test_a_planted_bug_is_found_by_some_cut(bug: str) -> None:
    plant = PLANTS[bug].plant
    for cut in range(effects()):
        try:
            calm(cut, plant).run()
        except AssertionError:
            return
    pytest.fail(f"{bug} was planted, and no cut showed it")
