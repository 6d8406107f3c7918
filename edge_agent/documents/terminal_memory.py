"""A payment terminal for tests and for reading."""

import asyncio
from dataclasses import dataclass, field

from edge_agent.documents.terminal import Authorisation, CardState
from edge_agent.errors import UnavailableError


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
