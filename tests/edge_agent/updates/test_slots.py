"""Which agent is started: a trial so often, then what was committed, else the base; nothing by guessing."""

import itertools
from pathlib import Path

import msgspec
import pytest

from edge_agent.errors import MalformedError
from edge_agent.updates.slots import BASE, SLOTS, Slot, Slots, State, Trial, choose

USABLE = [frozenset(some) for count in range(3) for some in itertools.combinations(SLOTS, count)]


@pytest.mark.parametrize("usable", USABLE)
@pytest.mark.parametrize("before", [BASE, *SLOTS])
@pytest.mark.parametrize("running", [BASE, *SLOTS])
@pytest.mark.parametrize("starts", [None, 0, 2, 3])
def test_only_what_is_there_is_started(
    running: Slot, before: Slot, usable: frozenset[Slot], starts: int | None
) -> None:
    trial = None if starts is None else Trial(slot="b", version="2.0", starts=starts)
    state = State(running=running, before=before, trial=trial)
    slot, after = choose(state, usable, 3)
    assert slot == BASE or slot in usable
    if trial is not None and "b" in usable and trial.starts < 3:
        assert slot == "b"
        assert after.trial is not None
        assert after.trial.starts == trial.starts + 1
    else:
        assert after.trial is None
        assert (after.undone is not None) == (trial is not None)
        assert slot == after.running
        if running == BASE or running in usable:
            assert slot == running


def test_a_trial_is_started_three_times_and_then_given_up() -> None:
    state = State(running="a", trial=Trial(slot="b", version="2.0"))
    started = []
    for _ in range(4):
        slot, state = choose(state, frozenset(SLOTS), 3)
        started.append(slot)
    assert started == ["b", "b", "b", "a"]
    assert state.undone is not None
    assert "3 times" in state.undone.sentence


def test_the_spare_slot_is_never_the_one_that_runs() -> None:
    for running in (BASE, *SLOTS):
        assert State(running=running).spare != running


def test_the_state_is_kept_and_a_damaged_one_is_not_guessed_at(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "slots")
    assert slots.load() == State()
    state = State(running="b", before="a", trial=Trial(slot="a", version="2.0", hardware=("printer",)))
    slots.save(state)
    assert slots.load() == state
    for damaged in (b"", b"{", b"\xff", b'{"v": 2}', msgspec.json.encode({"running": "c"})):
        (slots.folder / "state.json").write_bytes(damaged)
        with pytest.raises(MalformedError):
            slots.load()
