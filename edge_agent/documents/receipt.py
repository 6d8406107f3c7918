"""The text of receipts and slips; 42 columns, what a printer of 80 mm has in its first font.

Receipts are printed in a code page without Cyrillic: Serbian stands in Latin letters on them.
"""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from contract.languages import euros, latin, official_date

COLUMNS = 42
Translate = Callable[[str], str]


@dataclass(frozen=True)
class Line:
    """One line of paper, at most `COLUMNS` characters (half of them when `large`)."""

    text: str = ""
    centred: bool = False
    bold: bool = False
    large: bool = False


@dataclass(frozen=True)
class Receipt:
    """What a receipt says: no name and no number of a person.

    `kind` is the document's name in the citizen's language, `at` the kiosk's local time, `verify_url` the
    address where anybody can verify the paper; empty where there is none.
    """

    municipality: str
    kind: str
    serial: str
    amount_cents: int
    at: datetime
    verify_url: str


def receipt(said: Receipt, _: Translate) -> list[Line]:
    """The lines of a receipt for a document that was printed and paid."""
    return _plain(
        [
            Line(said.municipality, centred=True, bold=True),
            Line(),
            Line(_("Receipt"), centred=True, bold=True, large=True),
            Line(),
            *_filled(said.kind),
            _row(_("Number"), said.serial),
            _row(_("Date"), f"{official_date(said.at.date())} {said.at:%H:%M}"),
            Line("-" * COLUMNS),
            _row(_("Paid by card"), euros(said.amount_cents), bold=True),
            Line("-" * COLUMNS),
            *(
                [*_filled(_("Anybody can verify the document at:")), *_filled(said.verify_url)]
                if said.verify_url
                else []
            ),
            Line(),
            Line(_("Thank you"), centred=True),
        ]
    )


def slip(municipality: str, title: str, bring: list[str], _: Translate) -> list[Line]:
    """The lines of a slip that says what to bring to the counter."""
    lines = [
        Line(municipality, centred=True, bold=True),
        Line(),
        *_filled(title, bold=True),
        Line(),
        *_filled(_("Please go to the counter and bring:")),
    ]
    for item in bring:
        first, *rest = textwrap.wrap(item, COLUMNS - 2) or [""]
        lines += [Line(f"- {first}"), *(Line(f"  {more}") for more in rest)]
    return _plain(lines)


def _row(label: str, value: str, bold: bool = False) -> Line:
    """Label left, value right; a value is never cut, a label is."""
    room = COLUMNS - len(value) - 1
    return Line(f"{label[: max(0, room)]:<{max(0, room)}} {value}"[-COLUMNS:], bold=bold)


def _filled(text: str, bold: bool = False) -> list[Line]:
    return [Line(part, bold=bold) for part in textwrap.wrap(text, COLUMNS)]


def _plain(lines: list[Line]) -> list[Line]:
    """Cyrillic as Latin, and no control characters; a digraph may lengthen a line, so it is cut once more."""
    return [
        replace(line, text=_printable(latin(line.text))[: COLUMNS // 2 if line.large else COLUMNS])
        for line in lines
    ]


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
