"""What can be wrong with a hall's seats as a person wrote them; pages say it in their language."""

from enum import StrEnum, unique

from cloud.errors import MalformedError
from cloud.web.languages import N_

SHOWN_MAX = 40
"""Characters of what was written that a sentence repeats."""


@unique
class Problem(StrEnum):
    """Why a seat or a table was not taken."""

    SEAT = "seat"
    NAME = "name"
    TOO_LONG = "too-long"
    NO_CSV = "no-csv"
    FIRST_LINE = "first-line"
    COLUMNS = "columns"
    CHAIR = "chair"
    TWICE = "twice"
    CHAIRS = "chairs"
    COUNT = "count"


SENTENCES = {
    Problem.SEAT: N_("A seat is 1 to 32 letters, digits, '_', '.' and '-', not %(what)s."),
    Problem.NAME: N_("A name has 1 to %(limit)d characters, a group at most as many."),
    Problem.TOO_LONG: N_("The table has more than %(limit)d characters."),
    Problem.NO_CSV: N_("The table cannot be read as CSV: look at its quotation marks."),
    Problem.FIRST_LINE: N_("The first line must be %(what)s, with commas or semicolons."),
    Problem.COLUMNS: N_("A line has %(limit)d columns; put a name with a comma in quotation marks."),
    Problem.CHAIR: N_("Whether somebody presides is yes or no, not %(what)s."),
    Problem.TWICE: N_("Seat %(what)s stands there twice."),
    Problem.CHAIRS: N_("One person at most presides."),
    Problem.COUNT: N_("A hall has 1 to %(limit)d seats."),
}
assert set(SENTENCES) == set(Problem)


class RosterError(MalformedError):
    """A seat or a table is wrong; `line` counts from 1, 0 where it is no line's fault."""

    def __init__(self, problem: Problem, *, line: int = 0, what: str = "", limit: int = 0) -> None:
        self.problem = problem
        self.line = line
        self.values: dict[str, str | int] = {"what": what[:SHOWN_MAX], "limit": limit}
        where = f"line {line}: " if line else ""
        super().__init__(where + SENTENCES[problem] % self.values)

    def on(self, line: int) -> "RosterError":
        """The same, of a line of a table."""
        return RosterError(
            self.problem, line=line, what=str(self.values["what"]), limit=int(self.values["limit"])
        )
