"""The possession sheet: what the registry says of a possession list, and how that stands on the paper.

Every value is set in type as the registry spells it; names are never turned into another alphabet.
"""

from datetime import date
from typing import Annotated, Any

import msgspec

from cloud.documents.issue import Issue, frame, grouped, word
from cloud.documents.kinds import KindRules, Kinds
from contract.documents import PreviewRow
from contract.languages import euros, official_date

NUMBERS_MAX = 10_000_000.0

Short = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
Long = Annotated[str, msgspec.Meta(max_length=200)]
Metres = Annotated[float, msgspec.Meta(ge=0, le=NUMBERS_MAX)]


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """One holder and the part held, such as `1/2`."""

    name: Long
    address: Long
    share: Short


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """One parcel; `y_m` is the easting, `x_m` the northing of its reference point (EPSG:9141)."""

    number: Short
    place: Long
    use: Short
    area_m2: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
    y_m: Metres
    x_m: Metres


class Right(msgspec.Struct, frozen=True, kw_only=True):
    """A right of others, or an encumbrance, on one parcel."""

    kind: Short
    parcel: Short
    in_favour_of: Long
    reference: Short
    since: date


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry says of one possession list."""

    number: Short
    zone_code: Short
    zone: Short
    changed_on: date
    holders: Annotated[list[Holder], msgspec.Meta(min_length=1, max_length=50)]
    parcels: Annotated[list[Parcel], msgspec.Meta(min_length=1, max_length=200)]
    rights: Annotated[list[Right], msgspec.Meta(max_length=200)]


def preview(sheet: Sheet, *, price_cents: int, language: str, kinds: Kinds) -> list[PreviewRow]:
    """What the citizen sees before paying: the same values as on the paper."""
    words = {name: text[language] for name, text in kinds.words.items()}
    area = grouped(sum(parcel.area_m2 for parcel in sheet.parcels))
    rows = [
        (words["list"], sheet.number),
        (words["zone"], sheet.zone),
        *((words["holder"], f"{holder.name} ({holder.share})") for holder in sheet.holders),
        (words["parcels"], ", ".join(parcel.number for parcel in sheet.parcels)),
        (f"{words['total']}, {words['area']}", area),
        (words["rights"], str(len(sheet.rights)) if sheet.rights else words["no_rights"]),
        (words["fee"], euros(price_cents)),
    ]
    return [PreviewRow(label=label, value=value) for label, value in rows]


def page(sheet: Sheet, issue: Issue, rules: KindRules, kinds: Kinds) -> dict[str, Any]:
    """Everything that the template `possession-sheet.typ` prints, as text."""
    language = issue.language
    return frame(issue, rules, kinds) | {
        "number": sheet.number,
        "zone": f"{sheet.zone} ({sheet.zone_code})",
        "as_of": official_date(sheet.changed_on),
        "holders": [[holder.name, holder.address, holder.share] for holder in sheet.holders],
        "parcels": [
            [
                parcel.number,
                parcel.place,
                word(kinds.uses, parcel.use, language),
                grouped(parcel.area_m2),
                coordinate(parcel.y_m),
                coordinate(parcel.x_m),
            ]
            for parcel in sheet.parcels
        ],
        "total_area": grouped(sum(parcel.area_m2 for parcel in sheet.parcels)),
        "rights": [
            [
                word(kinds.rights, right.kind, language),
                right.parcel,
                right.in_favour_of,
                right.reference,
                official_date(right.since),
            ]
            for right in sheet.rights
        ],
    }


def coordinate(metres: float) -> str:
    """A coordinate to the centimetre, with a decimal comma."""
    return f"{metres:.2f}".replace(".", ",")
