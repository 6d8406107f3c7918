"""What the kiosk needs of a receipt printer, and the fake of it."""

from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.documents.receipt import Line
from edge_agent.errors import UnavailableError


class ReceiptPrinter(Protocol):
    """A printer of receipts."""

    async def print_lines(self, lines: list[Line]) -> None:
        """Print and cut.

        Raises:
            UnavailableError: it is not there, does not answer, or has no paper; nothing readable came out.
        """


@dataclass
class MemoryReceiptPrinter:
    """A receipt printer for tests: keeps what it printed; `empty` has no paper."""

    empty: bool = False
    receipts: list[list[Line]] = field(default_factory=list)

    async def print_lines(self, lines: list[Line]) -> None:
        """Keep the lines."""
        if self.empty:
            raise UnavailableError("the receipt printer has no paper")
        self.receipts.append(lines)
