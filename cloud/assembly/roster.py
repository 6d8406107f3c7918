"""The seats of a hall: who sits where, read from forms and CSV files, kept in the database."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.assembly.problems import Problem, RosterError
from cloud.database.models.assembly import NAME_LENGTH_MAX, Seat
from cloud.errors import RefusedError

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
        RosterError: the seat is no id of the hall's microphones, or a text is empty or too long.
    """
    seat, name, group = seat.strip(), " ".join(name.split()), " ".join(group.split())
    if not _SEAT.fullmatch(seat):
        raise RosterError(Problem.SEAT, what=repr(seat))
    if not 1 <= len(name) <= NAME_LENGTH_MAX or len(group) > NAME_LENGTH_MAX:
        raise RosterError(Problem.NAME, limit=NAME_LENGTH_MAX)
    return Member(seat, name, group, chair)


def parse(text: str) -> list[Member]:
    """The members of a CSV file with the columns `seat,name,group,chair` (comma or semicolon).

    Raises:
        RosterError: another header, a broken line, a seat twice, more than one chair, or too much.
    """
    if len(text) > CSV_CHARACTERS_MAX:
        raise RosterError(Problem.TOO_LONG, limit=CSV_CHARACTERS_MAX)
    found: list[Member] = []
    for number, row in _rows(text):
        who = _member(number, row)
        if any(who.seat == each.seat for each in found):
            raise RosterError(Problem.TWICE, line=number, what=who.seat)
        if who.chair and any(each.chair for each in found):
            raise RosterError(Problem.CHAIRS, line=number)
        found.append(who)
    if not 1 <= len(found) <= SEATS_MAX:
        raise RosterError(Problem.COUNT, limit=SEATS_MAX)
    return found


def _rows(text: str) -> Iterator[tuple[int, Sequence[str]]]:
    """The rows below the first that are not empty, each with the number of its line in `text`."""
    text = text.removeprefix("\ufeff")
    head = text.lstrip().split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter=";" if ";" in head else ",", strict=True)
    began = False
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if began:
                yield reader.line_num, row
            elif tuple(cell.strip().lower() for cell in row) != COLUMNS:
                raise RosterError(Problem.FIRST_LINE, line=reader.line_num, what=",".join(COLUMNS))
            began = True
    except csv.Error:
        raise RosterError(Problem.NO_CSV, line=reader.line_num) from None
    if not began:
        raise RosterError(Problem.FIRST_LINE, what=",".join(COLUMNS))


def _member(number: int, row: Sequence[str]) -> Member:
    if len(row) != len(COLUMNS):
        raise RosterError(Problem.COLUMNS, line=number, limit=len(COLUMNS))
    chair = row[3].strip().casefold()
    if chair not in _YES | _NO:
        raise RosterError(Problem.CHAIR, line=number, what=repr(row[3]))
    try:
        return member(row[0], row[1], row[2], chair=chair in _YES)
    except RosterError as error:
        raise error.on(number) from None


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
