"""The seats of a hall: who sits where, read from forms and CSV files, kept in the database."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.assembly import NAME_LENGTH_MAX, Seat
from cloud.errors import MalformedError, RefusedError

SEATS_MAX = 500
"""Of one hall."""
CSV_CHARACTERS_MAX = 50_000
COLUMNS = ("seat", "name", "group", "chair")
_SEAT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_YES = frozenset({"1", "yes", "true", "po", "da", "да", "x"})
_NO = frozenset({"", "0", "no", "false", "jo", "ne", "не"})


@dataclass(frozen=True)
class Member:
    """Who sits at a seat; `chair` presides, and its speaking time is counted apart."""

    seat: str
    name: str
    group: str
    chair: bool


def member(seat: str, name: str, group: str, *, chair: bool) -> Member:
    """A member from what a person typed.

    Raises:
        MalformedError: the seat is no id of the hall's microphones, or a text is empty or too long.
    """
    seat, name, group = seat.strip(), " ".join(name.split()), " ".join(group.split())
    if not _SEAT.fullmatch(seat):
        raise MalformedError(f"seat {seat!r:.40}: 1 to 32 letters, digits, '_', '.' and '-'")
    if not 1 <= len(name) <= NAME_LENGTH_MAX or len(group) > NAME_LENGTH_MAX:
        raise MalformedError(
            f"seat {seat}: a name has 1 to {NAME_LENGTH_MAX} characters, a group at most as many"
        )
    return Member(seat, name, group, chair)


def parse(text: str) -> list[Member]:
    """The members of a CSV file with the columns `seat,name,group,chair` (comma or semicolon).

    Raises:
        MalformedError: another header, a broken line, a seat twice, more than one chair, or too much.
    """
    if len(text) > CSV_CHARACTERS_MAX:
        raise MalformedError(f"the file has more than {CSV_CHARACTERS_MAX} characters")
    text = text.lstrip("\ufeff").strip()
    head = text.split("\n", 1)[0]
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=";" if ";" in head else ",", strict=True))
    except csv.Error as error:
        raise MalformedError(f"the text cannot be read as CSV: {error}") from None
    if not rows or tuple(cell.strip().lower() for cell in rows[0]) != COLUMNS:
        raise MalformedError(f"the first line is {','.join(COLUMNS)}")
    found = [_row(number, row) for number, row in enumerate(rows[1:], 2) if any(cell.strip() for cell in row)]
    seats = [each.seat for each in found]
    twice = sorted({seat for seat in seats if seats.count(seat) > 1})
    if twice:
        raise MalformedError(f"seat {twice[0]} stands twice in the file")
    if not 1 <= len(found) <= SEATS_MAX or sum(each.chair for each in found) > 1:
        raise MalformedError(f"a hall has 1 to {SEATS_MAX} seats, and one of them at most is the chair's")
    return found


def _row(number: int, row: Sequence[str]) -> Member:
    if len(row) != len(COLUMNS):
        raise MalformedError(f"line {number} has {len(row)} columns, not {len(COLUMNS)}")
    chair = row[3].strip().casefold()
    if chair not in _YES | _NO:
        raise MalformedError(f"line {number}: chair is {row[3]!r:.20}; write yes or no")
    try:
        return member(row[0], row[1], row[2], chair=chair in _YES)
    except MalformedError as error:
        raise MalformedError(f"line {number}: {error}") from None


def seats(database: Session, device: str) -> list[Seat]:
    """The seats of a hall, the chair's first."""
    return list(
        database.scalars(sa.select(Seat).where(Seat.device == device).order_by(Seat.chair.desc(), Seat.seat))
    )


def put(database: Session, device: str, who: Member) -> None:
    """Write who sits at a seat; a new chair takes the place of the old one.

    Raises:
        RefusedError: the hall has as many seats as it may.
    """
    if who.chair:
        database.execute(
            sa.update(Seat).where(Seat.device == device, Seat.seat != who.seat).values(chair=False)
        )
    row = database.get(Seat, (device, who.seat))
    if row is None:
        if len(seats(database, device)) >= SEATS_MAX:
            raise RefusedError(f"a hall has at most {SEATS_MAX} seats; remove one first")
        row = Seat(device=device, seat=who.seat)
        database.add(row)
    row.name, row.group, row.chair = who.name, who.group, who.chair
    database.flush()


def replace(database: Session, device: str, members: Sequence[Member]) -> None:
    """Write the whole roster of a hall; seats that are not in it are gone."""
    database.execute(sa.delete(Seat).where(Seat.device == device))
    database.flush()
    for who in members:
        database.add(Seat(device=device, seat=who.seat, name=who.name, group=who.group, chair=who.chair))
    database.flush()


def remove(database: Session, device: str, seat: str) -> None:
    """Nobody sits there any more.

    Raises:
        RefusedError: the hall has no such seat.
    """
    row = database.get(Seat, (device, seat))
    if row is None:
        raise RefusedError("there is no such seat; load the page anew")
    database.delete(row)
