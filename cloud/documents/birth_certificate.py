"""The birth certificate: what the register of births says, and how that stands on the paper.

Every value is set in type as the register spells it; names are never turned into another alphabet.
"""

from datetime import date
from typing import Annotated, Any, Literal

import msgspec

from cloud.documents.issue import Issue, frame
from cloud.documents.kinds import KindRules, Kinds
from contract.documents import PreviewRow
from contract.languages import euros, official_date

Short = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
Long = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """One parent; `birth_surname` is empty where it is the same as the surname or not recorded."""

    name: Long
    birth_surname: Annotated[str, msgspec.Meta(max_length=80)] = ""


class Birth(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the register; a parent is missing where none is recorded."""

    number: Short
    registered_on: date
    given_names: Long
    surname: Long
    sex: Literal["F", "M"]
    personal_number: Annotated[str, msgspec.Meta(pattern="^[0-9]{10}$")]
    born_on: date
    place: Long
    municipality: Long
    father: Parent | None = None
    mother: Parent | None = None


def preview(birth: Birth, *, price_cents: int, language: str, kinds: Kinds) -> list[PreviewRow]:
    """What the citizen sees before paying: the same values as on the paper."""
    words = {name: text[language] for name, text in kinds.words.items()}
    rows = [
        (words["given_names"], birth.given_names),
        (words["surname"], birth.surname),
        (words["born_on"], official_date(birth.born_on)),
        (words["born_in"], birth.place),
        (words["father"], _parent(birth.father, words["not_recorded"])),
        (words["mother"], _parent(birth.mother, words["not_recorded"])),
        (words["entry"], birth.number),
        (words["fee"], euros(price_cents)),
    ]
    return [PreviewRow(label=label, value=value) for label, value in rows]


def page(birth: Birth, issue: Issue, rules: KindRules, kinds: Kinds) -> dict[str, Any]:
    """Everything that the template `birth-certificate.typ` prints, as text."""
    words = {name: text[issue.language] for name, text in kinds.words.items()}
    return frame(issue, rules, kinds) | {
        "number": birth.number,
        "registered_on": official_date(birth.registered_on),
        "given_names": birth.given_names,
        "surname": birth.surname,
        "sex": words["female" if birth.sex == "F" else "male"],
        "personal_number": birth.personal_number,
        "born_on": official_date(birth.born_on),
        "place": birth.place,
        "born_municipality": birth.municipality,
        "father": _parent(birth.father, words["not_recorded"]),
        "mother": _parent(birth.mother, words["not_recorded"]),
    }


def _parent(parent: Parent | None, not_recorded: str) -> str:
    if parent is None:
        return not_recorded
    return f"{parent.name} ({parent.birth_surname})" if parent.birth_surname else parent.name
