"""What stands on every paper, whatever it says: numbers, dates, price, headings, how values are written."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from cloud.documents.kinds import KindRules, Kinds, Text
from contract.languages import euros, official_date

OFFICIAL = ("sq", "sr-Cyrl")
"""The languages that every label of an official paper has."""


@dataclass(frozen=True)
class Issue:
    """What makes one paper: numbers, dates, price, and the addresses under which it is verified.

    `verify_url` has the code in it and stands in the QR code, `verify_page` is where the code is typed in.
    """

    serial: str
    code: str
    verify_url: str
    verify_page: str
    issued_on: date
    valid_until: date
    price_cents: int
    language: str


def frame(issue: Issue, rules: KindRules, kinds: Kinds) -> dict[str, Any]:
    """Everything that `frame.typ` prints around the contents of a paper, as text, and every label."""
    language = issue.language

    def both(text: Text) -> dict[str, str]:
        return _labelled(text, language)

    return {
        "language": language.split("-")[0],
        "title": both(rules.title),
        "subtitle": both(rules.subtitle),
        "office": both(rules.office),
        "statement": rules.statement[language],
        "basis": rules.basis[language],
        "not_confirmed": "" if rules.basis_confirmed else kinds.words["not_confirmed"][language],
        "republic": _everywhere(kinds.municipality.republic, language),
        "municipality": _everywhere(kinds.municipality.name, language),
        "words": {name: both(text) for name, text in kinds.words.items()},
        "serial": issue.serial,
        "code": spaced(issue.code),
        "verify_url": issue.verify_url,
        "verify_page": issue.verify_page,
        "date": [issue.issued_on.year, issue.issued_on.month, issue.issued_on.day],
        "issued_on": official_date(issue.issued_on),
        "valid_until": official_date(issue.valid_until),
        "fee": euros(issue.price_cents),
    }


def grouped(number: int) -> str:
    """A whole number with its thousands apart by a narrow space, as official papers write it."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def spaced(code: str) -> str:
    """A code in five groups, easier to read off a paper."""
    return "-".join((code[:5], code[5:10], code[10:15], code[15:20], code[20:]))


def word(words: dict[str, Text], code: str, language: str) -> str:
    """The word for a registry's code; a code that we do not know stands as it is."""
    return words[code][language] if code in words else code


def _labelled(text: Text, language: str) -> dict[str, str]:
    """The text in the chosen language, and beside it in the official ones."""
    others = [code for code in OFFICIAL if code.split("-")[0] != language.split("-")[0]]
    return {"main": text[language], "other": " / ".join(text[code] for code in others)}


def _everywhere(text: Text, language: str) -> list[str]:
    """All three languages, Albanian first; Serbian in the alphabet that was chosen, else Cyrillic."""
    serbian = language if language.startswith("sr") else "sr-Cyrl"
    return [text["sq"], text[serbian], text["en"]]
