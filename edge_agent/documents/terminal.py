"""What the kiosk needs of a payment terminal.

The only terminal there is now is the simulated one (`terminal_http.py`); a real one is a file beside it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class CardState(StrEnum):
    """How an authorisation stands; `authorised` holds the money and takes none."""

    WAITING = "waiting"
    AUTHORISED = "authorised"
    DECLINED = "declined"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    CAPTURED = "captured"
    VOIDED = "voided"


@dataclass(frozen=True)
class Authorisation:
    """One authorisation at the provider."""

    authorisation: str
    state: CardState


class Terminal(Protocol):
    """A card terminal.

    Each verb may be repeated, and raises UnavailableError when it does not answer, MalformedError when its
    answer cannot be understood.
    """

    async def authorise(self, reference: str, amount_cents: int) -> Authorisation:
        """Ask for a card and wait for its end; the same reference never holds the money twice.

        Raises:
            RefusedError: the terminal is at work for another reference, or does not take the amount.
        """

    async def abandon(self, reference: str) -> None:
        """Stop asking for a card. If the card was quicker, the authorisation stands: `find` tells."""

    async def find(self, reference: str) -> Authorisation | None:
        """The last authorisation under this reference; None if there was none."""

    async def void(self, authorisation: str) -> Authorisation:
        """Let go of the held money; once is as good as twice.

        Raises:
            RefusedError: it was captured already.
        """
