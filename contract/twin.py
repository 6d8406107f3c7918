"""The twin of a device in the shapes of AWS's classic Device Shadow: what it should do, what it says it does.

Sources: AWS IoT Core developer guide, "Device Shadow service documents", "Device Shadow MQTT topics" and
"Device Shadow error messages". Field names and codes are AWS's; times are whole seconds since 1970 UTC.
Named shadows are not served: there is one twin a device.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

DOCUMENT_BYTES_MAX = 8192
"""`state` of a twin as compact JSON; metadata does not count."""
DEPTH_MAX = 6
"""Objects and arrays within each other in a section; AWS says 8 and counts `state` and the document, too."""
CLIENT_TOKEN_BYTES_MAX = 64
IN_FLIGHT_MAX = 10
"""Requests that a device may have on their way at once."""
NUMBER_MAX = 2**53 - 1
"""The largest whole number that every JSON reader keeps exact (RFC 8259, section 6); a version too."""
REFUSED_MAX = 10
"""Entries of `refused` in `reported`."""
REASON_LENGTH_MAX = 160
"""Characters of a reason there."""

Section = dict[str, Any]
"""`desired`, `reported`, or their metadata: JSON objects whose names are the device's affair."""
Path = tuple[str, ...]


class ErrorCode(IntEnum):
    """`code` of a rejected request."""

    BAD_REQUEST = 400
    NOT_FOUND = 404
    CONFLICT = 409
    TOO_LARGE = 413
    NOT_UTF8 = 415
    TOO_MANY_REQUESTS = 429
    INTERNAL = 500


class _Camel(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """AWS spells its fields in camel case and leaves out what is not set."""


class State(_Camel, frozen=True, kw_only=True):
    """Parts of a twin; in a request `null` removes a section, or what it stands for in one."""

    desired: Section | UnsetType | None = UNSET
    reported: Section | UnsetType | None = UNSET
    delta: Section | UnsetType = UNSET
    """What is desired and not reported so; only in the answer to `get`."""


class Update(_Camel, frozen=True, kw_only=True):
    """Body of `shadow/update`. With `version` it is taken only if the twin has that version."""

    state: State
    version: int | None = None
    client_token: str = ""


class Request(_Camel, frozen=True, kw_only=True):
    """Body of `shadow/get` and `shadow/delete`; nothing at all is one, too."""

    client_token: str = ""


class Metadata(_Camel, frozen=True, kw_only=True):
    """Beside each value of a section the second in which it was last written: `{"timestamp": …}`."""

    desired: Section | UnsetType = UNSET
    reported: Section | UnsetType = UNSET
    delta: Section | UnsetType = UNSET


class Answer(_Camel, frozen=True, kw_only=True):
    """`shadow/get/accepted` with the whole twin, `shadow/update/accepted` with what was asked for."""

    state: State
    metadata: Metadata
    version: int
    timestamp: int
    client_token: str = ""


class DeleteAnswer(_Camel, frozen=True, kw_only=True):
    """`shadow/delete/accepted`; a twin that is made again goes on from this version."""

    version: int
    timestamp: int
    client_token: str = ""


class Delta(_Camel, frozen=True, kw_only=True):
    """`shadow/update/delta`: all that is desired and not reported so, with the names that lead to it."""

    state: Section
    metadata: Section
    version: int
    timestamp: int
    client_token: str = ""


class Snapshot(_Camel, frozen=True, kw_only=True):
    """The whole twin at one version; 0 is before the first."""

    state: State
    metadata: Metadata
    version: int


class Documents(_Camel, frozen=True, kw_only=True):
    """`shadow/update/documents`: the twin before and after a change."""

    previous: Snapshot
    current: Snapshot
    timestamp: int
    client_token: str = ""


class Rejection(_Camel, frozen=True, kw_only=True):
    """Any `/rejected`."""

    code: int
    message: str
    timestamp: int
    client_token: str = ""


@dataclass(frozen=True)
class Setting:
    """One thing that a device lets itself be told: a whole number within bounds, or one of a few words."""

    path: Path
    unit: str
    about: str
    low: int = 0
    high: int = 0
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its path with dots."""
        return ".".join(self.path)


TELEMETRY_INTERVAL = Setting(
    ("telemetry", "interval_s"), "s", "Time from one sample of health to the next.", low=10, high=3600
)
LOG_LEVEL = Setting(
    ("log", "level"),
    "",
    "The least weighty events that the agent logs.",
    choices=("debug", "info", "warning", "error"),
)
INTERVAL_USUAL_S = 10
"""What the settings file of an agent says where nobody has chosen otherwise."""
SETTINGS: tuple[Setting, ...] = (TELEMETRY_INTERVAL, LOG_LEVEL)
"""What can be desired of a device. Where nothing is desired, its settings file holds."""
BY_PATH = {setting.path: setting for setting in SETTINGS}


def wrong(setting: Setting, value: object) -> str:
    """Why `value` cannot be desired of `setting`, as a short sentence; empty when it can."""
    if setting.choices:
        good = isinstance(value, str) and value in setting.choices
        return "" if good else f"{setting.name} is one of {', '.join(setting.choices)}"
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and setting.low <= value <= setting.high:  # type: ignore[operator] # it is a whole number
        return ""
    return f"{setting.name} is a whole number from {setting.low} to {setting.high} {setting.unit}".rstrip()


def leaves(section: Section, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value of `section` that is no object, with the names that lead to it; empty objects too."""
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def find(section: Section, path: Path) -> Any:
    """The value at `path`; None where there is none, which no twin holds as a value."""
    found: Any = section
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def sampling_s(reported: Section) -> int:
    """How often a device samples by its own word; the usual where it says nothing that can be."""
    said = find(reported, TELEMETRY_INTERVAL.path)
    return INTERVAL_USUAL_S if wrong(TELEMETRY_INTERVAL, said) else int(said)


def merge(section: Section, changes: Section) -> Section:
    """`section` after `changes`: objects by name, everything else as a whole, `null` removes.

    An object that holds nothing is not kept.
    """
    merged = dict(section)
    for key, value in changes.items():
        if isinstance(value, dict):
            below = section.get(key)
            value = merge(below if isinstance(below, dict) else {}, value) or None
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def difference(desired: Section, reported: Section) -> Section:
    """Every value of `desired` that is not in `reported` or is another there, with the names to it."""
    found: Section = {}
    for key, wanted in desired.items():
        there = reported.get(key)
        if isinstance(wanted, dict) and isinstance(there, dict):
            inner = difference(wanted, there)
            if inner:
                found[key] = inner
        elif key not in reported or not same(wanted, there):
            found[key] = wanted
    return found


def same(one: object, other: object) -> bool:
    """Whether two values are the same JSON: `1` and `1.0` are one number, `true` is none."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other
