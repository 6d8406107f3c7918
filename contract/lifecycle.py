"""A life cycle is a table of transitions; whatever is not in its table cannot happen."""

from collections.abc import Mapping
from dataclasses import dataclass

from contract.errors import IllegalTransitionError


@dataclass(frozen=True)
class Machine:
    """One life cycle: `edges[state][event]` is the next state.

    A state with no edges is an end. The same table serves the device, the cloud and the simulators.
    """

    name: str
    initial: str
    edges: Mapping[str, Mapping[str, str]]

    def __post_init__(self) -> None:
        assert self.initial in self.edges, f"{self.name}: unknown initial state {self.initial}"
        for state, events in self.edges.items():
            for event, target in events.items():
                assert target in self.edges, f"{self.name}: {state} --{event}--> {target} leads nowhere"

    @property
    def states(self) -> tuple[str, ...]:
        """Every state, in the order in which the table names them."""
        return tuple(self.edges)

    @property
    def events(self) -> tuple[str, ...]:
        """Every event, in the order of its first mention."""
        return tuple(dict.fromkeys(event for events in self.edges.values() for event in events))

    @property
    def ends(self) -> frozenset[str]:
        """The states that nothing leaves."""
        return frozenset(state for state, events in self.edges.items() if not events)

    def allows(self, state: str, event: str) -> bool:
        """Whether `event` may happen in `state`."""
        return event in self.edges.get(state, {})

    def apply(self, state: str, event: str) -> str:
        """The state after `event`.

        Raises:
            IllegalTransitionError: the table has no such edge.
        """
        try:
            return self.edges[state][event]
        except KeyError:
            raise IllegalTransitionError(self.name, state, event) from None

    def mermaid(self) -> str:
        """The table as a Mermaid state diagram, for the documentation."""
        lines = ["stateDiagram-v2", f"    [*] --> {self.initial}"]
        for state, events in self.edges.items():
            lines += [f"    {state} --> {target}: {event}" for event, target in events.items()]
            if not events:
                lines.append(f"    {state} --> [*]")
        return "\n".join(lines) + "\n"
