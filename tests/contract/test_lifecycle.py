"""Level 0: every legal and every illegal transition of every life cycle."""

import pytest

from contract.captions import SEGMENT, SITTING
from contract.documents import DOCUMENT
from contract.enrolment import CERTIFICATE
from contract.errors import IllegalTransitionError
from contract.jobs import BY_DEVICE, EXECUTION, Status
from contract.lifecycle import Machine
from contract.recordings import RECORDING

MACHINES = (SEGMENT, SITTING, DOCUMENT, CERTIFICATE, EXECUTION, RECORDING)


def every_pair() -> list[tuple[Machine, str, str]]:
    return [
        (machine, state, event)
        for machine in MACHINES
        for state in machine.states
        for event in machine.events
    ]


@pytest.mark.parametrize(("machine", "state", "event"), every_pair(), ids=lambda x: getattr(x, "name", x))
def test_an_event_moves_along_its_edge_or_is_refused(machine: Machine, state: str, event: str) -> None:
    target = machine.edges[state].get(event)
    if target is None:
        with pytest.raises(IllegalTransitionError, match=state):
            machine.apply(state, event)
        assert not machine.allows(state, event)
    else:
        assert machine.apply(state, event) == target
        assert machine.allows(state, event)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_every_state_can_be_reached_and_can_end(machine: Machine) -> None:
    reached = {machine.initial}
    while True:
        further = {target for state in reached for target in machine.edges[state].values()} - reached
        if not further:
            break
        reached |= further
    assert reached == set(machine.states)
    for start in machine.states:
        ahead = {start}
        while True:
            further = {target for state in ahead for target in machine.edges[state].values()} - ahead
            if not further:
                break
            ahead |= further
        assert ahead & machine.ends, f"{machine.name}: {start} never ends"


def test_a_table_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(AssertionError, match="leads nowhere"):
        Machine("broken", "a", {"a": {"go": "b"}})


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(IllegalTransitionError):
        EXECUTION.apply("SLEEPING", "start")


def test_job_states_are_those_of_aws() -> None:
    assert set(EXECUTION.states) == {status.value for status in Status}
    assert set(BY_DEVICE) == {Status.IN_PROGRESS, Status.SUCCEEDED, Status.FAILED, Status.REJECTED}


def test_money_is_captured_only_after_delivery() -> None:
    before_capture = {state for state, events in DOCUMENT.edges.items() if "captured" in events.values()}
    assert before_capture == {"delivered", "uncollected"}
    assert {state for state, events in DOCUMENT.edges.items() if "delivered" in events.values()} == {
        "offered",
        "printing",
        "in_doubt",
    }


def test_nothing_is_reprinted_out_of_doubt() -> None:
    assert set(DOCUMENT.edges["in_doubt"].values()) == {"delivered", "voided"}


def test_a_picture_is_printed_from_the_table() -> None:
    picture = SITTING.mermaid()
    assert picture.startswith("stateDiagram-v2")
    assert "    open --> paused: pause\n" in picture
    assert picture.count("-->") == 1 + sum(max(1, len(events)) for events in SITTING.edges.values())
