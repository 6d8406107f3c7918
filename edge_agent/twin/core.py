"""The device's end of its twin: what is desired of it, what it does, and what it reports. Pure.

It asks for the whole twin after each connect and whenever it hears of a newer version, so that nothing hangs
on one message; it reports with the version that it has seen, so that an old report changes nothing; and it
reports only what the twin does not say yet, so that two sides never answer each other for ever.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from contract.twin import (
    BY_PATH,
    REASON_LENGTH_MAX,
    REFUSED_MAX,
    ErrorCode,
    Path,
    Section,
    State,
    Update,
    difference,
    find,
    leaves,
    merge,
    wrong,
)

Instant = float
"""Seconds of a clock that never jumps."""
Values = Mapping[Path, Any]

ANSWER_TIMEOUT_S = 20.0
RETRY_MIN_S = 5.0
RETRY_MAX_S = 900.0
"""After an answer that was lost or said no, the wait doubles up to this."""
REFRESH_S = 6 * 3600.0
"""A device that has heard nothing asks again: a notice may have been lost."""
NAME_LENGTH_MAX = 64
"""Characters of a name in `refused`."""


@dataclass(frozen=True)
class Started:
    """The agent has started; there may never be a link."""


@dataclass(frozen=True)
class Connected:
    """The link has come up, and its subscriptions stand."""


@dataclass(frozen=True)
class Disconnected:
    """The link has gone down."""


@dataclass(frozen=True)
class Told:
    """The answer to `Ask`: the whole twin; version None says that there is none."""

    token: str
    version: int | None
    desired: Section
    reported: Section


@dataclass(frozen=True)
class Changed:
    """Somebody changed the twin to `version`; None says that it was deleted."""

    version: int | None


@dataclass(frozen=True)
class Accepted:
    """What was reported is in the twin, which has `version` now."""

    token: str
    version: int


@dataclass(frozen=True)
class Rejected:
    """A request was refused; `code` is one of `contract.twin.ErrorCode`."""

    token: str
    code: int


@dataclass(frozen=True)
class Did:
    """Every setting as it is now, after `Do`."""

    values: Values


@dataclass(frozen=True)
class NotKept:
    """`Keep` did not work: what was written down before still stands there."""


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come."""


Event = Started | Connected | Disconnected | Told | Changed | Accepted | Rejected | Did | NotKept | TimePassed


@dataclass(frozen=True)
class Ask:
    """Get the twin."""

    token: str


@dataclass(frozen=True)
class Keep:
    """Write down what is desired and can be done, so that a restart without a link knows it.

    `NotKept` says that it did not work; then it is tried again with the next answer.
    """

    values: Values


@dataclass(frozen=True)
class Do:
    """Let every setting be so, and answer with `Did`."""

    values: Values


@dataclass(frozen=True)
class Report:
    """Publish the update."""

    update: Update


Effect = Ask | Keep | Do | Report


class Twin:
    """The twin as one device sees it; one question or one report is on its way at a time.

    `defaults` are the settings of the device's own file, `kept` what was last written down. `facts` are
    reported as they stand. A device that has heard nothing for `refresh_s` asks.
    """

    def __init__(
        self, boot: str, facts: Section, defaults: Values, kept: Values, refresh_s: float = REFRESH_S
    ) -> None:
        self._refresh_s = refresh_s
        self._boot = boot
        self._facts = facts
        self._defaults = dict(defaults)
        self._desired = {path: value for path, value in kept.items() if path in defaults}
        self._doing: dict[Path, Any] = dict(defaults)
        self._refused: dict[str, str] = {}
        self._unkept = False
        self._connected = False
        self._version: int | None = None
        """Of the twin as it was last seen; None while it was not, or is not there."""
        self._heard: float = 0
        """The newest version that was heard of since we asked; a deletion may be newer than all."""
        self._reported: Section = {}
        self._waits_for = ""
        self._patch: Section = {}
        self._requests = 0
        self._failures = 0
        self._deadline: Instant | None = None

    def deadline(self) -> Instant | None:
        """When to look again, if nothing happens before."""
        return self._deadline

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What follows from `event`, in the order in which it must be done."""
        match event:
            case Started():
                return [Do(self._wanted())]
            case Connected():
                self._connected, self._failures = True, 0
                return self._ask(now)
            case Disconnected():
                self._connected, self._waits_for, self._deadline = False, "", None
            case Told(token) if token == self._waits_for:
                return self._take(event, now)
            case Changed(version):
                return self._hear(version, now)
            case Accepted(token, version) if token == self._waits_for:
                return self._settle(version, now)
            case Rejected(token, code) if token == self._waits_for:
                return self._fail(code, now)
            case Did(values):
                self._doing = dict(values)
                return self._report(now) if self._connected and not self._waits_for else []
            case NotKept():
                self._unkept = True
            case TimePassed():
                if self._deadline is not None and now >= self._deadline:
                    return self._fail(None, now) if self._waits_for else self._ask(now)
            case Told() | Accepted() | Rejected():
                pass  # an answer to somebody else, or one that came after we had given up
            case _:
                assert_never(event)
        return []

    def _ask(self, now: Instant) -> list[Effect]:
        self._heard = 0
        return [Ask(self._begin(now))]

    def _begin(self, now: Instant) -> str:
        self._requests += 1
        self._waits_for = f"{self._boot}-{self._requests}"
        self._deadline = now + ANSWER_TIMEOUT_S
        return self._waits_for

    def _take(self, told: Told, now: Instant) -> list[Effect]:
        self._waits_for, self._version, self._reported = "", told.version, told.reported
        if self._heard > (told.version or 0):
            return self._ask(now)
        before = dict(self._desired)
        self._judge(told.desired)
        if self._desired != before or self._unkept:
            self._unkept = False
            return [Keep(dict(self._desired)), Do(self._wanted())]
        return self._report(now)

    def _judge(self, desired: Section) -> None:
        """What of `desired` can be done; a value that cannot leaves its setting as it was."""
        self._refused = {}
        for path in self._defaults:
            value = find(desired, path)
            sentence = wrong(BY_PATH[path], value) if value is not None else ""
            if sentence:
                self._refuse(path, sentence)
            elif value is None:
                self._desired.pop(path, None)
            else:
                self._desired[path] = value
        for path, _ in leaves(desired):
            if not any(path[: len(known)] == known for known in self._defaults):
                self._refuse(path, "this agent does not know this setting")

    def _refuse(self, path: Path, sentence: str) -> None:
        if len(self._refused) < REFUSED_MAX:
            self._refused[".".join(path)[:NAME_LENGTH_MAX]] = sentence[:REASON_LENGTH_MAX]

    def _wanted(self) -> Values:
        return self._defaults | self._desired

    def _report(self, now: Instant) -> list[Effect]:
        """Say what the twin does not say yet."""
        self._patch = self._unsaid()
        if not self._patch:
            self._failures = 0
            self._deadline = now + min(self._refresh_s, RETRY_MAX_S if self._unkept else math.inf)
            return []
        state = State(reported=self._patch)
        return [Report(Update(state=state, version=self._version, client_token=self._begin(now)))]

    def _unsaid(self) -> Section:
        target: Section = dict(self._facts)
        for path, value in self._doing.items():
            target = merge(target, _nested(path, value))
        patch = difference(target | ({"refused": self._refused} if self._refused else {}), self._reported)
        said = self._reported.get("refused")
        if said is not None and not self._refused:
            patch["refused"] = None
        elif isinstance(said, dict):
            gone = {name: None for name in said if name not in self._refused}
            if gone:
                patch["refused"] = {**patch.get("refused", {}), **gone}
        return patch

    def _hear(self, version: int | None, now: Instant) -> list[Effect]:
        if not self._connected or (version is not None and version <= (self._version or 0)):
            return []
        if self._waits_for:
            self._heard = max(self._heard, math.inf if version is None else version)
            return []
        return self._ask(now)

    def _settle(self, version: int, now: Instant) -> list[Effect]:
        expected = None if self._version is None else self._version + 1
        self._waits_for, self._version = "", version
        self._reported = merge(self._reported, self._patch)
        self._failures = 0
        if version != expected or self._heard > version:  # somebody else has changed it meanwhile
            return self._ask(now)
        return self._report(now)

    def _fail(self, code: int | None, now: Instant) -> list[Effect]:
        """An answer that said no, or never came: look at the twin again, sooner or later."""
        self._waits_for = ""
        self._failures += 1
        if code == ErrorCode.CONFLICT and self._failures == 1:
            return self._ask(now)
        self._deadline = now + min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(self._failures - 1, 16))
        return []


def _nested(path: Path, value: Any) -> Section:
    for key in reversed(path):
        value = {key: value}
    section: Section = value
    return section
