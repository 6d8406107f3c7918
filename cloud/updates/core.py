"""What news of an update means for what is known of it: pure."""

from dataclasses import dataclass

from cloud.errors import MalformedError
from contract.updates import DETAIL_LENGTH_MAX, UPDATE, UpdateNews

CODE_LENGTH_MAX = 32
NUMBER_MAX = 2**31 - 1
"""Revisions and attempts that a database takes."""


@dataclass(frozen=True)
class Standing:
    """Where an update stands on a device; revision 0 is the control plane's own word."""

    state: str
    revision: int
    attempt: int
    code: str
    detail: str

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self.state in UPDATE.ends


BEGIN = Standing(UPDATE.initial, 0, 0, "", "")


def take(known: Standing, news: UpdateNews) -> Standing:
    """The standing after `news`: the highest revision counts, however late the others come.

    Raises:
        MalformedError: a state or a number that the contract does not know.
    """
    if news.state not in UPDATE.states:
        raise MalformedError(f"{news.state!r:.40} is no state of an update")
    if not 1 <= news.revision <= NUMBER_MAX or not 0 <= news.attempt <= NUMBER_MAX:
        raise MalformedError("revision or attempt is out of range")
    if len(news.code) > CODE_LENGTH_MAX or len(news.detail) > DETAIL_LENGTH_MAX:
        raise MalformedError("code or detail is too long")
    if news.revision <= known.revision:
        return known
    return Standing(news.state, news.revision, news.attempt, news.code, news.detail)


def not_taken(known: Standing, code: str, detail: str) -> Standing:
    """The job ended, and the device has not taken the assignment; what it says later counts more."""
    if known.revision > 0 or known.ended:
        return known
    return Standing("failed", 0, 0, code, detail[:DETAIL_LENGTH_MAX])
