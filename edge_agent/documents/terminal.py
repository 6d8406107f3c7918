"""What the kiosk needs of a payment terminal, and the fake of it.

The only terminal there is now is the simulated one (`terminal_http.py`); a real one is a file beside it.
"""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from edge_agent.errors import UnavailableError


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


@dataclass
class MemoryTerminal:
    """A terminal for tests: `present` is the citizen's card; `down` does not answer."""

    down: bool = False
    found: dict[str, Authorisation] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)
    _card: "asyncio.Future[CardState] | None" = None
    _reference: str = ""

    async def authorise(self, reference: str, amount_cents: int) -> Authorisation:
        """Wait for `present` or `abandon`."""
        self._answer()
        self._card = asyncio.get_running_loop().create_future()
        self._reference = reference
        self.amounts[reference] = amount_cents
        state = await self._card
        self.found[reference] = Authorisation(f"auth-{reference}", state)
        self._answer()
        return self.found[reference]

    async def abandon(self, reference: str) -> None:
        """Stop waiting."""
        self._answer()
        if self._reference == reference:
            self.present(CardState.CANCELLED)

    async def find(self, reference: str) -> Authorisation | None:
        """What is known."""
        self._answer()
        return self.found.get(reference)

    async def void(self, authorisation: str) -> Authorisation:
        """Let go of the money."""
        self._answer()
        reference = authorisation.removeprefix("auth-")
        self.found[reference] = Authorisation(authorisation, CardState.VOIDED)
        return self.found[reference]

    @property
    def asking(self) -> bool:
        """Whether a card would be taken now."""
        return self._card is not None and not self._card.done()

    def present(self, state: CardState) -> None:
        """The card's word; nobody may be asking."""
        if self._card is not None and not self._card.done():
            self._card.set_result(state)

    def _answer(self) -> None:
        if self.down:
            raise UnavailableError("the terminal does not answer")
