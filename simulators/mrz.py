"""The machine-readable zone of an identity card: three lines of 30 characters, TD1.

Source: ICAO Doc 9303, part 5 (layout), part 3, section 4.9 (check digits) and section 6 (names).
The personal number stands in the optional data of line 1, as on Kosovo's identity card.
"""

import unicodedata
from datetime import date

from contract.languages import latin
from simulators.people import Person

LINE_LENGTH = 30
STATE = "RKS"
"""Doc 9303's code for Kosovo's documents."""
FILLER = "<"
_WEIGHTS = (7, 3, 1)
_LETTERS = {"Đ": "D", "Ð": "D", "Ø": "OE", "Æ": "AE", "ß": "SS"}


def td1(person: Person) -> tuple[str, str, str]:
    """The three lines on the back of the person's card."""
    number = person.document_number.ljust(9, FILLER)
    first = f"ID{STATE}{number}{check_digit(number)}{person.personal_number}".ljust(LINE_LENGTH, FILLER)
    born, expires = _date(person.date_of_birth), _date(person.document_expires)
    second = f"{born}{check_digit(born)}{person.sex}{expires}{check_digit(expires)}{STATE}".ljust(29, FILLER)
    second += check_digit(first[5:30] + second[0:7] + second[8:15] + second[18:29])
    names = f"{name(person.surname)}<<{name(person.given_names)}"[:LINE_LENGTH].ljust(LINE_LENGTH, FILLER)
    return first, second, names


def check_digit(text: str) -> str:
    """The check digit of `text`: weights 7, 3, 1, letters from A = 10, modulo 10."""
    total = 0
    for position, letter in enumerate(text):
        value = 0 if letter == FILLER else int(letter, 36)
        total += value * _WEIGHTS[position % 3]
    return str(total % 10)


def name(text: str) -> str:
    """A name in the letters that the zone has: A to Z and fillers."""
    plain = "".join(_LETTERS.get(letter, letter) for letter in latin(text).upper())
    decomposed = unicodedata.normalize("NFD", plain)
    letters = (letter for letter in decomposed if not unicodedata.combining(letter))
    return "".join(letter if "A" <= letter <= "Z" else FILLER for letter in letters)


def _date(day: date) -> str:
    return f"{day.year % 100:02d}{day.month:02d}{day.day:02d}"
