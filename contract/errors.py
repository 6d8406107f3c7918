"""Errors that a reader of the contract can meet."""


class MalformedError(ValueError):
    """What arrived does not follow the contract; the sender must be corrected, a retry will not help."""


class UnknownVersionError(MalformedError):
    """What arrived is of a later version of the contract; a reader that is updated understands it."""


class IllegalTransitionError(ValueError):
    """A life cycle has no such edge; nothing was changed."""

    def __init__(self, machine: str, state: str, event: str) -> None:
        super().__init__(f"{machine}: {event!r} is not possible in state {state!r}")
        self.machine = machine
        self.state = state
        self.event = event
