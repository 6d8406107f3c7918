"""Errors that a reader of the contract can meet."""


class MalformedError(ValueError):
    """What arrived does not follow the contract; the sender must be corrected, a retry will not help."""


class IllegalTransitionError(ValueError):
    """A life cycle has no such edge; nothing was changed."""

    def __init__(self, machine: str, state: str, event: str) -> None:
        super().__init__(f"{machine}: {event!r} is not possible in state {state!r}")
        self.machine = machine
        self.state = state
        self.event = event
