"""The language in which staff say which devices belong to a group. Pure.

    query = term { space term }          every term must hold
    term  = field ":" value
    field = "device" | "kind" | "site" | "agent" | "tag." key
    value = word | '"' anything '"'      within quotes \\" \\* and \\\\ are the signs themselves

A * at the end of a value stands for anything, within quotes too: kiosk-1* or "Prizren *".
`kind:kiosk site:"Prizren, Center" tag.floor:2*` are the kiosks of one place on the floors 2, 20, 21 …
Values are compared without regard to upper and lower case; the key of a tag is taken as it stands.
`tag.floor:*` are the devices that have the tag at all.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cloud.devices.problems import Problem, WrongError

QUERY_LENGTH_MAX = 500
TERMS_MAX = 20
KEY_LENGTH_MAX = 128
KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@+=-]*")
TAG = "tag."
FIELDS = ("device", "kind", "site", "agent")

_SPACE = re.compile(r"\s+")
_FIELD = re.compile(r'[^\s:"]*')
_WORD = re.compile(r'[^\s"]*')


@dataclass(frozen=True)
class Facts:
    """What a query looks at."""

    device: str
    kind: str
    site: str
    agent: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Term:
    """One condition; with `prefix` the value only has to begin so."""

    field: str
    value: str
    prefix: bool = False

    def holds(self, facts: Facts) -> bool:
        """Whether a device meets it."""
        if self.field.startswith(TAG):
            found = facts.tags.get(self.field.removeprefix(TAG))
        else:
            found = getattr(facts, self.field)
        if found is None:
            return False
        have, want = found.casefold(), self.value.casefold()
        return have.startswith(want) if self.prefix else have == want

    def __str__(self) -> str:
        """The term as one would write it."""
        escaped = re.sub(r'(["\\*])', r"\\\1", self.value)
        plain = bool(self.value or self.prefix) and not re.search(r'[\s"\\*]', self.value)
        star = "*" if self.prefix else ""
        return f"{self.field}:{self.value}{star}" if plain else f'{self.field}:"{escaped}{star}"'


@dataclass(frozen=True)
class Query:
    """All terms must hold."""

    terms: tuple[Term, ...]

    def holds(self, facts: Facts) -> bool:
        """Whether a device belongs to it."""
        return all(term.holds(facts) for term in self.terms)

    def __str__(self) -> str:
        """The query as one would write it."""
        return " ".join(str(term) for term in self.terms)


def parse(text: str) -> Query:
    """What `text` asks for.

    Raises:
        WrongError: it is no query; the sentence says what is wrong, and where.
    """
    if len(text) > QUERY_LENGTH_MAX:
        raise WrongError(Problem.QUERY_LENGTH, limit=QUERY_LENGTH_MAX)
    terms: list[Term] = []
    position = _skip_space(text, 0)
    while position < len(text):
        if len(terms) == TERMS_MAX:
            raise WrongError(Problem.QUERY_TERMS, limit=TERMS_MAX)
        term, position = _term(text, position)
        terms.append(term)
        after = _skip_space(text, position)
        if after == position < len(text):
            raise WrongError(Problem.NO_SPACE, at=position + 1)
        position = after
    if not terms:
        raise WrongError(Problem.QUERY_EMPTY)
    return Query(tuple(terms))


def _term(text: str, start: int) -> tuple[Term, int]:
    match = _FIELD.match(text, start)
    assert match is not None, "it matches nothing too"
    field, colon = match[0], match.end()
    if text[colon : colon + 1] != ":":
        raise WrongError(Problem.NO_TERM, at=start + 1)
    key = field.removeprefix(TAG)
    if field.startswith(TAG):
        if len(key) > KEY_LENGTH_MAX or not KEY.fullmatch(key):
            raise WrongError(Problem.TAG_KEY, what=key, limit=KEY_LENGTH_MAX)
    elif field not in FIELDS:
        raise WrongError(Problem.NO_FIELD, at=start + 1, what=field)
    read = _quoted if text[colon + 1 : colon + 2] == '"' else _word
    value, prefix, end = read(text, colon + 1)
    return Term(field, value, prefix), end


def _word(text: str, start: int) -> tuple[str, bool, int]:
    match = _WORD.match(text, start)
    assert match is not None, "it matches nothing too"
    word = match[0]
    prefix = word.endswith("*")
    value = word[:-1] if prefix else word
    if not word:
        raise WrongError(Problem.NO_VALUE, at=start + 1)
    if "*" in value:
        raise WrongError(Problem.STAR, at=start + 1 + value.index("*"))
    if "\\" in value:
        raise WrongError(Problem.BACKSLASH_OUTSIDE, at=start + 1 + value.index("\\"))
    return value, prefix, match.end()


def _quoted(text: str, start: int) -> tuple[str, bool, int]:
    value = ""
    position = start + 1
    while position < len(text):
        sign = text[position]
        if sign == '"':
            return value, False, position + 1
        if sign == "*":
            if text[position + 1 : position + 2] != '"':
                raise WrongError(Problem.STAR, at=position + 1)
            return value, True, position + 2
        if sign == "\\":
            position += 1
            sign = text[position : position + 1]
            if sign not in ('"', "\\", "*"):
                raise WrongError(Problem.BACKSLASH, at=position)
        value += sign
        position += 1
    raise WrongError(Problem.NEVER_CLOSED, at=start + 1)


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
