"""What becomes of a device's twin: every decision, no I/O.

Shapes, codes and version rules are those of AWS's classic Device Shadow (see `contract.twin`). Where its
documents leave a choice: a twin that was deleted keeps its version for ever, and a request with a token
that comes twice is taken once.
"""

import hashlib
import math
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from contract.twin import (
    CLIENT_TOKEN_BYTES_MAX,
    DEPTH_MAX,
    DOCUMENT_BYTES_MAX,
    NUMBER_MAX,
    ErrorCode,
    Section,
    State,
    Update,
    difference,
    merge,
)

REQUEST_BYTES_MAX = 2 * DOCUMENT_BYTES_MAX
"""A request that is larger is not even read: the twin could not hold it."""
STAMP = "timestamp"


@dataclass(frozen=True)
class Twin:
    """One device's twin; version 0 was never there.

    `desired_at` and `reported_at` have the shape of their sections, with `{"timestamp": seconds}` in place of
    each value. `last` is the fingerprint of the request that was taken last, '' if it had no token.
    """

    version: int = 0
    exists: bool = False
    desired: Section = field(default_factory=dict)
    reported: Section = field(default_factory=dict)
    desired_at: Section = field(default_factory=dict)
    reported_at: Section = field(default_factory=dict)
    last: str = ""

    @property
    def delta(self) -> Section:
        """What is desired and not reported so."""
        return difference(self.desired, self.reported)


@dataclass(frozen=True)
class Refusal:
    """A request that changes nothing; `token` goes with the answer as far as it can be read."""

    code: ErrorCode
    message: str
    token: str = ""


@dataclass(frozen=True)
class Changed:
    """A request that was taken; `wish` is what was asked for."""

    wish: Update
    before: Twin
    after: Twin


@dataclass(frozen=True)
class Repeated:
    """The same request as before, come once more: it is answered again, and nothing changes."""

    twin: Twin


def update(twin: Twin, wish: Update, mark: str, at_s: int) -> Changed | Repeated | Refusal:
    """The twin after `wish`, whose fingerprint is `mark`, at `at_s` (seconds since 1970 UTC)."""
    if mark and mark == twin.last:
        return Repeated(twin)
    if wish.version is not None and wish.version != twin.version:
        sentence = f"Version conflict: the twin has version {twin.version}, the request {wish.version}"
        return Refusal(ErrorCode.CONFLICT, f"{sentence}; get it again", wish.client_token)
    desired, desired_at = _changed(twin.desired, twin.desired_at, wish.state.desired, at_s)
    reported, reported_at = _changed(twin.reported, twin.reported_at, wish.state.reported, at_s)
    size = len(msgspec.json.encode({"desired": desired, "reported": reported}))
    if size > DOCUMENT_BYTES_MAX:
        sentence = f"The twin would have {size} bytes: at most {DOCUMENT_BYTES_MAX} are kept"
        return Refusal(ErrorCode.TOO_LARGE, sentence, wish.client_token)
    after = Twin(twin.version + 1, True, desired, reported, desired_at, reported_at, mark)
    return Changed(wish, twin, after)


def delete(twin: Twin, token: str, mark: str) -> Twin | Repeated | Refusal:
    """The twin after it was deleted: nothing but its version."""
    if mark and mark == twin.last:
        return Repeated(twin)
    if not twin.exists:
        return missing(token)
    return replace(Twin(), version=twin.version, last=mark)


def missing(token: str) -> Refusal:
    """There is no twin, so there is nothing to tell."""
    return Refusal(ErrorCode.NOT_FOUND, "No shadow exists: the first update makes it", token)


def fingerprint(name: str, token: str, payload: bytes) -> str:
    """Tells a request that comes twice from a new one; requests without a token are always new."""
    return hashlib.sha256(name.encode() + b"\0" + payload).hexdigest() if token else ""


def stamps_of(stamps: Section, part: Section) -> Section:
    """Out of the metadata of a section what belongs to the values in `part`."""
    found: Section = {}
    for key, value in part.items():
        there = stamps.get(key)
        if isinstance(value, dict) and value and isinstance(there, dict):
            inner = stamps_of(there, value)
            if inner:
                found[key] = inner
        elif there is not None:
            found[key] = there
    return found


def _changed(
    section: Section, stamps: Section, changes: Section | UnsetType | None, at_s: int
) -> tuple[Section, Section]:
    if isinstance(changes, UnsetType):
        return section, stamps
    if changes is None:
        return {}, {}
    return merge(section, changes), _stamped(section, stamps, changes, at_s)


def _stamped(section: Section, stamps: Section, changes: Section, at_s: int) -> Section:
    """The metadata after `changes` to `section`; it has the shape of the values, as `merge` leaves them."""
    times = dict(stamps)
    for key, value in changes.items():
        if isinstance(value, dict):
            nested = isinstance(section.get(key), dict)
            stamp = _stamped(section[key] if nested else {}, stamps[key] if nested else {}, value, at_s)
        else:
            stamp = {STAMP: at_s} if value is not None else {}
        if stamp:
            times[key] = stamp
        else:
            times.pop(key, None)
    return times


def read_update(payload: bytes) -> Update | Refusal:
    """The request in `payload`, held to every limit but the twin's size."""
    tree = read_tree(payload)
    if isinstance(tree, Refusal):
        return tree
    token = tree.get("clientToken", "")

    def refuse(sentence: str) -> Refusal:
        return Refusal(ErrorCode.BAD_REQUEST, sentence, token)

    if "state" not in tree:
        return refuse("Missing required node: state")
    state, version = tree["state"], tree.get("version")
    if not isinstance(state, dict):
        return refuse("State node must be an object")
    for name in state:
        if name not in ("desired", "reported"):
            return refuse(f"State contains an invalid node: {name!r:.80}")
        sentence = wrong_section(name, state[name])
        if sentence:
            return refuse(sentence)
    if version is not None and (type(version) is not int or not 0 <= version <= NUMBER_MAX):
        return refuse("Invalid version")
    return Update(
        state=State(desired=state.get("desired", UNSET), reported=state.get("reported", UNSET)),
        version=version,
        client_token=token,
    )


def read_tree(payload: bytes) -> dict[str, Any] | Refusal:
    """The JSON object in `payload`, its token checked; nothing at all is an empty one."""
    if len(payload) > REQUEST_BYTES_MAX:
        return Refusal(
            ErrorCode.TOO_LARGE, f"The payload exceeds the maximum size of {REQUEST_BYTES_MAX} bytes"
        )
    try:
        tree = msgspec.json.decode(payload.decode() or "{}")
    except UnicodeDecodeError:
        return Refusal(ErrorCode.NOT_UTF8, "Unsupported documented encoding; supported encoding is UTF-8")
    except (msgspec.DecodeError, RecursionError):
        return Refusal(ErrorCode.BAD_REQUEST, "Invalid JSON")
    if not isinstance(tree, dict):
        return Refusal(ErrorCode.BAD_REQUEST, "Invalid JSON: the request is an object")
    token = tree.get("clientToken", "")
    if not isinstance(token, str) or len(token.encode()) > CLIENT_TOKEN_BYTES_MAX:
        return Refusal(
            ErrorCode.BAD_REQUEST, f"Invalid clientToken: a text of {CLIENT_TOKEN_BYTES_MAX} bytes"
        )
    return tree


def wrong_section(name: str, section: Any) -> str:
    """What is wrong with the part of a request called `name`; empty when nothing is."""
    if section is None:
        return ""
    if not isinstance(section, dict):
        return f"{name.capitalize()} node must be an object"
    return _flaw(section, 1, within_array=False)


def _flaw(value: Any, depth: int, *, within_array: bool) -> str:
    """What of a value no twin can hold; empty when it can."""
    if isinstance(value, dict | list):
        if depth > DEPTH_MAX:
            return f"JSON contains too many levels of nesting; maximum is {DEPTH_MAX}"
        inner = value if isinstance(value, list) else value.values()
        within = within_array or isinstance(value, list)
        return next(filter(None, (_flaw(each, depth + 1, within_array=within) for each in inner)), "")
    if value is None and within_array:
        return "State contains an invalid node: an array holds no null"
    if type(value) is int and abs(value) > NUMBER_MAX:
        return f"State contains an invalid node: a whole number is at most {NUMBER_MAX}"
    if isinstance(value, float) and not math.isfinite(value):
        return "State contains an invalid node: a number is finite"
    return ""
