"""Errors of the agent, by what the reader should do about them."""


class AgentError(Exception):
    """Parent of all errors that the agent raises on purpose."""


class SettingsError(AgentError):
    """The settings are wrong; a person must correct them."""


class RefusedError(AgentError):
    """The other side said no; asking again changes nothing until a person has acted."""


class UnavailableError(AgentError):
    """The other side does not answer now; try again later, and `after_s` at the soonest if it said so."""

    def __init__(self, sentence: str, *, after_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.after_s = after_s


class MalformedError(AgentError):
    """The other side sent what cannot be understood."""
