"""What the kiosk needs of a document reader, and the fake of it."""

from collections.abc import Callable
from typing import Protocol

Heard = Callable[[str | None], None]
"""Takes the text of one document as the reader sent it; None when the reader was lost."""


class DocumentReader(Protocol):
    """A reader of machine-readable zones that speaks by itself when a document is presented."""

    def listen(self, heard: Heard) -> None:
        """From now on give each presented document to `heard`; what came before is thrown away.

        Raises:
            UnavailableError: the reader cannot be opened.
        """

    def deafen(self) -> None:
        """Stop listening and forget what was half read."""


class MemoryDocumentReader:
    """A reader for tests: `present` is the citizen."""

    def __init__(self) -> None:
        self._heard: Heard | None = None

    def listen(self, heard: Heard) -> None:
        """Listen."""
        self._heard = heard

    def deafen(self) -> None:
        """Stop."""
        self._heard = None

    @property
    def listening(self) -> bool:
        """Whether a document would be read now."""
        return self._heard is not None

    def present(self, text: str | None) -> None:
        """Lay a document on the reader; nobody may be listening."""
        if self._heard is not None:
            self._heard(text)
