"""What the one who sets a page and the one who seals it must agree on."""

from dataclasses import dataclass

PDF_BYTES_MAX = 2_000_000
"""A paper that is larger is refused before it is sealed."""


@dataclass(frozen=True)
class Box:
    """A rectangle on the page in millimetres, measured from its lower left corner."""

    x: float
    y: float
    width: float
    height: float


SEAL_BOX = Box(x=170, y=17, width=22, height=22)
"""Where the visible seal stands on the first page; the template leaves it free."""
