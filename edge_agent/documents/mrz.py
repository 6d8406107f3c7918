"""Reads the machine-readable zone of identity cards (TD1) and passports (TD3).

Source: ICAO Doc 9303, parts 3 (check digits, 4.9), 4 (TD3) and 5 (TD1), eighth edition. Names are not read:
nothing here needs them.
"""

import re
from dataclasses import dataclass
from datetime import date

from contract.documents import Identification
from edge_agent.errors import MalformedError, RefusedError

TD1_LINE, TD1_LINES = 30, 3
TD3_LINE, TD3_LINES = 44, 2
TEXT_MAX = 512
"""Characters of what a reader sends for one document."""
PERSONAL_NUMBER = re.compile(r"\d{10}")
"""A personal number of Kosovo, in the optional data of its cards and passports."""
_ALLOWED = re.compile(r"[A-Z0-9<]+")
_WEIGHTS = (7, 3, 1)


@dataclass(frozen=True)
class Zone:
    """What a zone says, its check digits proven."""

    issuer: str
    document_number: str
    optional: tuple[str, ...]
    date_of_birth: date
    expires: date


def check_digit(text: str) -> int:
    """The check digit over `text` (digits, capital letters and fillers)."""
    return sum(_value(letter) * _WEIGHTS[i % 3] for i, letter in enumerate(text)) % 10


def parse(text: str, today: date) -> Zone:
    """The zone in `text`, its lines separated by CR or LF.

    A year of birth has two digits: the latest century that makes it no day after `today` is taken.

    Raises:
        MalformedError: neither TD1 nor TD3, an impossible date, or a wrong check digit.
    """
    lines = [line for line in re.split(r"[\r\n]+", text[: TEXT_MAX + 1].strip()) if line]
    if len(text) > TEXT_MAX or not all(_ALLOWED.fullmatch(line) for line in lines):
        raise MalformedError("the document reader sent what is no machine-readable zone")
    shape = [len(line) for line in lines]
    if shape == [TD1_LINE] * TD1_LINES:
        return _td1(lines, today)
    if shape == [TD3_LINE] * TD3_LINES:
        return _td3(lines, today)
    raise MalformedError(f"a zone of {len(lines)} lines is neither TD1 nor TD3")


def identification(zone: Zone, today: date) -> Identification:
    """What identifies the holder.

    Raises:
        RefusedError: the document has expired.
        MalformedError: the zone has no personal number.
    """
    if zone.expires < today:
        raise RefusedError("the document has expired")
    for field in zone.optional:
        found = PERSONAL_NUMBER.search(field)
        if found:
            return Identification(
                personal_number=found.group(),
                document_number=zone.document_number,
                date_of_birth=zone.date_of_birth.isoformat(),
            )
    raise MalformedError("the document carries no personal number")


def _td1(lines: list[str], today: date) -> Zone:
    first, second, _names = lines
    _prove(second[29], first[5:30] + second[0:7] + second[8:15] + second[18:29], "composite")
    number, optional = _number(first[5:14], first[14], first[15:30])
    return Zone(
        issuer=first[2:5].rstrip("<"),
        document_number=number,
        optional=(optional, second[18:29].strip("<")),
        date_of_birth=_birth(second[0:6], second[6], today),
        expires=_expiry(second[8:14], second[14]),
    )


def _td3(lines: list[str], today: date) -> Zone:
    first, second = lines
    _prove(second[43], second[0:10] + second[13:20] + second[21:43], "composite")
    _prove(second[9], second[0:9], "document number")
    optional = second[28:42]
    # An empty field may have a filler for its check digit (part 4, 4.2.2.2).
    if optional.strip("<") or second[42] != "<":
        _prove(second[42], optional, "optional data")
    return Zone(
        issuer=first[2:5].rstrip("<"),
        document_number=second[0:9].rstrip("<"),
        optional=(optional.strip("<"),),
        date_of_birth=_birth(second[13:19], second[19], today),
        expires=_expiry(second[21:27], second[27]),
    )


def _number(head: str, digit: str, optional: str) -> tuple[str, str]:
    """A number longer than nine characters goes on in the optional data (part 5, 4.2.2.1, note j)."""
    if digit != "<":
        _prove(digit, head, "document number")
        return head.rstrip("<"), optional.strip("<")
    tail, _, rest = optional.partition("<")
    if not tail:
        raise MalformedError("the document number has no check digit")
    number = head + tail[:-1]
    _prove(tail[-1], number, "document number")
    return number.rstrip("<"), rest.strip("<")


def _birth(text: str, digit: str, today: date) -> date:
    _prove(digit, text, "date of birth")
    year, month, day = _parts(text)
    century = today.year // 100 * 100
    try:
        born = date(century + year, month, day)
        return born if born <= today else date(century - 100 + year, month, day)
    except ValueError:
        raise MalformedError("the date of birth is no date") from None


def _expiry(text: str, digit: str) -> date:
    _prove(digit, text, "date of expiry")
    year, month, day = _parts(text)
    try:
        return date(2000 + year, month, day)
    except ValueError:
        raise MalformedError("the date of expiry is no date") from None


def _parts(text: str) -> tuple[int, int, int]:
    if not text.isdigit():
        raise MalformedError("a date of the zone is not made of digits")
    return int(text[0:2]), int(text[2:4]), int(text[4:6])


def _prove(digit: str, over: str, about: str) -> None:
    if not digit.isdigit() or check_digit(over) != int(digit):
        raise MalformedError(f"the check digit of the {about} is wrong")


def _value(letter: str) -> int:
    if letter == "<":
        return 0
    return int(letter, 36)
