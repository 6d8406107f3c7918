"""What can be wrong with a group, a query or a tag: for programs in English, for people in their language."""

from enum import StrEnum

from cloud.errors import MalformedError, RefusedError
from cloud.web.languages import N_


class Problem(StrEnum):
    """What is wrong; the values that its sentence needs stand in it."""

    QUERY_LENGTH = "query-length"
    QUERY_TERMS = "query-terms"
    QUERY_EMPTY = "query-empty"
    NO_SPACE = "no-space"
    NO_TERM = "no-term"
    NO_FIELD = "no-field"
    NO_VALUE = "no-value"
    STAR = "star"
    BACKSLASH_OUTSIDE = "backslash-outside"
    BACKSLASH = "backslash"
    NEVER_CLOSED = "never-closed"
    TAG_KEY = "tag-key"
    TAG_VALUE = "tag-value"
    TAGS_MAX = "tags-max"
    TAG_COLON = "tag-colon"
    TAG_TWICE = "tag-twice"
    GROUP_NAME = "group-name"
    GROUP_TITLE = "group-title"
    GROUP_BOTH = "group-both"
    GROUP_MEMBERS = "group-members"
    GROUP_THERE = "group-there"
    GROUP_MISSING = "group-missing"
    GROUPS_MAX = "groups-max"
    NO_DEVICE = "no-device"


SENTENCES = {
    Problem.QUERY_LENGTH: N_("A query has at most %(limit)s characters."),
    Problem.QUERY_TERMS: N_("A query has at most %(limit)s terms."),
    Problem.QUERY_EMPTY: N_("A query has at least one term, such as %(example)s."),
    Problem.NO_SPACE: N_("At character %(at)s: put a space between two terms."),
    Problem.NO_TERM: N_(
        "At character %(at)s: a term is a field, a colon and a value without a space, such as %(example)s."
    ),
    Problem.NO_FIELD: N_("At character %(at)s: there is no field %(what)s. Fields are %(fields)s."),
    Problem.NO_VALUE: N_('At character %(at)s: a value is missing; "" is the empty one.'),
    Problem.STAR: N_("At character %(at)s: a * stands only at the end of a value."),
    Problem.BACKSLASH_OUTSIDE: N_("At character %(at)s: a value with a backslash stands in quotes."),
    Problem.BACKSLASH: N_('At character %(at)s: a backslash stands only before ", * and another backslash.'),
    Problem.NEVER_CLOSED: N_("At character %(at)s: these quotes are never closed."),
    Problem.TAG_KEY: N_(
        "%(what)s cannot be the key of a tag: take at most %(limit)s letters, digits and _ . / @ + = -, "
        "and begin with a letter, a digit or _."
    ),
    Problem.TAG_VALUE: N_(
        "The value of the tag %(what)s is longer than %(limit)s characters, or not printable."
    ),
    Problem.TAGS_MAX: N_("A device has at most %(limit)s tags."),
    Problem.TAG_COLON: N_("Line %(at)s: a tag is a key, a colon and a value, such as %(tag)s."),
    Problem.TAG_TWICE: N_("Line %(at)s: the key %(what)s comes twice."),
    Problem.GROUP_NAME: N_(
        "%(what)s cannot be the name of a group: "
        "take 1 to 63 small letters, digits, and hyphens between them."
    ),
    Problem.GROUP_TITLE: N_("A title has at most %(limit)s characters, all of them printable."),
    Problem.GROUP_BOTH: N_("A group has a query or devices by hand, not both."),
    Problem.GROUP_MEMBERS: N_("A group has at most %(limit)s devices by hand."),
    Problem.GROUP_THERE: N_("There is a group %(what)s already. Choose another name, or change that group."),
    Problem.GROUP_MISSING: N_("There is no group %(what)s. See the list of groups."),
    Problem.GROUPS_MAX: N_("There are %(limit)s groups already. Delete one first."),
    Problem.NO_DEVICE: N_("%(what)s is not a device of the fleet. See the list of devices."),
}
SHOWN_MAX = 80
"""Characters of what was wrong that are repeated."""
EXAMPLES: dict[str, str | int] = {
    "example": "kind:kiosk",
    "fields": "device, kind, site, agent, tag.KEY",
    "tag": "floor: 2",
}
"""What stands in sentences of every language as it is typed."""

assert set(SENTENCES) == set(Problem)


class WrongError(MalformedError):
    """What was written is wrong; `at` counts characters or lines from 1."""

    def __init__(self, problem: Problem, *, at: int = 0, what: str = "", limit: int = 0) -> None:
        self.problem = problem
        self.values: dict[str, str | int] = EXAMPLES | {"at": at, "what": what[:SHOWN_MAX], "limit": limit}
        super().__init__(SENTENCES[problem] % self.values)


class DeniedError(RefusedError):
    """What is there already, or is not there, forbids it."""

    def __init__(self, problem: Problem, *, what: str = "", limit: int = 0) -> None:
        self.problem = problem
        self.values: dict[str, str | int] = EXAMPLES | {"at": 0, "what": what[:SHOWN_MAX], "limit": limit}
        super().__init__(SENTENCES[problem] % self.values)
