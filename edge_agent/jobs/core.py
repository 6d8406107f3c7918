"""Which job to ask for, begin, resume, report, and when to take the cloud's word instead of our own.

Pure. One execution at a time; it is in the journal before it is begun, its outcome is there before it is
reported, and it leaves the list of open ones only when the cloud has answered.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from contract.jobs import (
    BY_DEVICE,
    DETAIL_KEY_LENGTH_MAX,
    DETAIL_VALUE_LENGTH_MAX,
    DETAILS_MAX,
    EXECUTION,
    ErrorCode,
    Execution,
    State,
    Status,
    Update,
)
from edge_agent.ports import Outcome

Instant = float
"""Seconds of a clock that never jumps."""

POLL_S = 60.0
"""How often the cloud is asked though nothing was heard from it."""
ANSWER_WAIT_S = 15.0
"""A request without an answer is asked again after this long."""
REPORTS_MAX = 8
"""Reports of one outcome on one connection; then it waits until the cloud hands the execution over again."""
OPERATION_MAX_S = 1800.0
"""An operation that does not end is given up and has failed, if the cloud does not say how long it has."""
MARGIN_S, MARGIN_SHARE = 10.0, 0.1
"""So long before the cloud's timer, or this share of it, the device's own ends: its report must arrive."""
SETTLED_KEPT = 200
"""Ended executions that are remembered, so that one that is handed over again is not done again."""
ATTEMPTS_MAX = 4
"""Begun and resumed together; an operation that ends the agent each time must not do so for ever."""

Key = tuple[str, int]
"""Job id and execution number."""


@dataclass(frozen=True)
class Entry:
    """What the journal holds of one execution; `settled` says that the cloud knows its outcome."""

    execution: Execution
    attempts: int
    outcome: Outcome | None
    settled: bool

    @property
    def key(self) -> Key:
        """What tells it from every other execution."""
        return key(self.execution)


@dataclass(frozen=True)
class Connected:
    """The link is up."""


@dataclass(frozen=True)
class Disconnected:
    """The link is down."""


@dataclass(frozen=True)
class Notified:
    """The cloud says that the next pending execution changed."""


@dataclass(frozen=True)
class Handed:
    """The answer to a request for the next execution; None means that none is pending."""

    token: str
    execution: Execution | None


@dataclass(frozen=True)
class Unanswerable:
    """The cloud rejected a request for the next execution, or a look at the running one."""

    token: str


@dataclass(frozen=True)
class Described:
    """The answer to a look at the running execution; None means that the cloud does not know it."""

    token: str
    execution: Execution | None


@dataclass(frozen=True)
class NotBegun:
    """The journal did not take the beginning; nothing was done."""

    key: Key


@dataclass(frozen=True)
class Ended:
    """The operation has come to its end."""

    key: Key
    outcome: Outcome


@dataclass(frozen=True)
class Accepted:
    """The cloud has taken a report."""

    token: str


@dataclass(frozen=True)
class Rejected:
    """The cloud has not taken a report; `state` is what it knows itself."""

    token: str
    code: ErrorCode
    state: State | None


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come."""


Event = (
    Connected
    | Disconnected
    | Notified
    | Handed
    | Unanswerable
    | Described
    | NotBegun
    | Ended
    | Accepted
    | Rejected
    | TimePassed
)


@dataclass(frozen=True)
class Ask:
    """Ask the cloud to start the next execution."""

    token: str


@dataclass(frozen=True)
class Look:
    """Ask the cloud how the running execution stands there."""

    key: Key
    token: str


@dataclass(frozen=True)
class Begin:
    """Write down durably that the execution begins; if that fails, nothing after it may be done."""

    execution: Execution


@dataclass(frozen=True)
class Attempt:
    """Write down how often it was begun and resumed; if that fails, go on all the same."""

    key: Key
    attempts: int


@dataclass(frozen=True)
class Perform:
    """Do the operation."""

    execution: Execution


@dataclass(frozen=True)
class Resume:
    """Find out how far the operation came before the agent stopped, and end it."""

    execution: Execution


@dataclass(frozen=True)
class GiveUp:
    """Stop the operation where it stands; its end counts no more."""

    key: Key


@dataclass(frozen=True)
class Conclude:
    """Write down durably how it ended."""

    key: Key
    outcome: Outcome


@dataclass(frozen=True)
class Report:
    """Tell the cloud how it ended."""

    job: str
    update: Update


@dataclass(frozen=True)
class Settle:
    """Write down that the cloud knows; `overruled` says that it knows otherwise."""

    key: Key
    overruled: bool


Effect = Ask | Look | Begin | Attempt | Perform | Resume | GiveUp | Conclude | Report | Settle


def key(execution: Execution) -> Key:
    """What tells `execution` from every other one."""
    return execution.job_id, execution.execution_number


@dataclass
class _Open:
    """An outcome that the cloud has not acknowledged; `version` is the execution's as last heard."""

    execution: Execution
    outcome: Outcome
    version: int
    reports: int = 0
    token: str = ""
    sent: Instant | None = None

    @property
    def parked(self) -> bool:
        return self.reports >= REPORTS_MAX and self.sent is None


class Jobs:
    """The executions of one device.

    `boot` makes client tokens unique, `known` are the operations that this device can do, `entries` is the
    journal in the order of beginning. Those of the operations that are `unstoppable` run to their end, or to
    the end of their time, even if the cloud has cancelled them; either way it is told how they really ended.
    """

    def __init__(
        self,
        boot: str,
        known: frozenset[str],
        entries: Iterable[Entry],
        unstoppable: frozenset[str] = frozenset(),
    ) -> None:
        self.connected = False
        self.running: Execution | None = None
        self._boot = boot
        self._known = known
        self._unstoppable = unstoppable
        self._tokens = 0
        self._allowed_s = 0.0
        self._ends_at: Instant = 0.0
        self._looked: tuple[str, Instant] | None = None
        self._look_at: Instant | None = None
        self._asked: tuple[str, Instant] | None = None
        self._ask_at: Instant | None = None
        self._begun: list[Entry] = []
        self._open: dict[Key, _Open] = {}
        self._settled: dict[Key, Outcome] = {}
        for entry in entries:
            if entry.outcome is None:
                self._begun.append(entry)
            elif entry.settled:
                self._settled[entry.key] = entry.outcome
            else:
                self._owe(entry.execution, entry.outcome)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What follows from `event`, in the order in which it must be done."""
        effects: list[Effect] = []
        match event:
            case Connected():
                self._connect(now)
            case Disconnected():
                self._disconnect()
            case Notified():
                self._ask_at = self._look_at = now
            case Handed(token, execution):
                effects += self._take(token, execution, now)
            case Unanswerable(token):
                if self._asked is not None and self._asked[0] == token:
                    self._asked, self._ask_at = None, now + POLL_S
                if self._looked is not None and self._looked[0] == token:
                    self._looked, self._look_at = None, now + POLL_S
            case Described(token, execution):
                effects += self._learn(token, execution, now)
            case NotBegun(which):
                if self.running is not None and key(self.running) == which:
                    self.running, self._ask_at = None, now + POLL_S
            case Ended(which, outcome):
                effects += self._end(which, outcome, now)
            case Accepted(token):
                effects += self._settle(self._reported(token), overruled=False)
            case Rejected():
                effects += self._reject(event)
            case TimePassed():
                effects += self._overdue(now)
            case _:
                assert_never(event)
        return [*effects, *self._go_on(now)]

    def deadline(self) -> Instant | None:
        """When to look again, if nothing happens before."""
        moments: list[Instant] = []
        if self.running is not None:
            moments.append(self._ends_at)
            if self.connected and self._looked is not None:
                moments.append(self._looked[1] + ANSWER_WAIT_S)
            elif self.connected and self._look_at is not None:
                moments.append(self._look_at)
        if self.connected:
            moments += [owed.sent + ANSWER_WAIT_S for owed in self._open.values() if owed.sent is not None]
            if self._asked is not None:
                moments.append(self._asked[1] + ANSWER_WAIT_S)
            elif self._ask_at is not None and self._may_ask():
                moments.append(self._ask_at)
        return min(moments, default=None)

    def _connect(self, now: Instant) -> None:
        self.connected = True
        self._asked, self._ask_at = None, now
        self._looked, self._look_at = None, now
        for owed in self._open.values():
            owed.reports, owed.sent = 0, None

    def _disconnect(self) -> None:
        self.connected = False
        self._asked = self._looked = None
        for owed in self._open.values():
            owed.sent = None

    def _take(self, token: str, execution: Execution | None, now: Instant) -> list[Effect]:
        if self._asked is None or self._asked[0] != token:
            return []  # an answer to a request that was given up: whatever it says may be old
        self._asked, self._ask_at = None, now + POLL_S
        if execution is None or execution.status in EXECUTION.ends or self.running is not None:
            return []
        which = key(execution)
        known = self._open.get(which)
        outcome = known.outcome if known is not None else self._settled.pop(which, None)
        if outcome is not None:
            self._owe(execution, outcome)
            return []
        return self._begin(execution, 1, now)

    def _begin(self, execution: Execution, attempts: int, now: Instant) -> list[Effect]:
        which = key(execution)
        begin = Begin(execution) if attempts == 1 else Attempt(which, attempts)
        self.running, self._looked = execution, None
        self._look_at = now if attempts > 1 else now + POLL_S
        self._time(execution, now)
        operation = (execution.job_document or {}).get("operation")
        if operation not in self._known:
            sentence = f"this device does not know the operation {operation!r:.100}"
            return [begin, *self._end(which, Outcome(Status.REJECTED, {"reason": sentence}), now)]
        if attempts > ATTEMPTS_MAX:
            sentence = f"the agent stopped {ATTEMPTS_MAX} times in the middle of it"
            return [begin, *self._end(which, Outcome(Status.FAILED, {"reason": sentence}), now)]
        return [begin, Perform(execution) if attempts == 1 else Resume(execution)]

    def _time(self, execution: Execution, now: Instant) -> None:
        """How long it may still be worked on, by the cloud's word."""
        left = execution.approximate_seconds_before_timed_out
        if left is None:
            self._allowed_s = OPERATION_MAX_S
        else:
            self._allowed_s = left - min(MARGIN_S, left * MARGIN_SHARE)
        self._ends_at = now + self._allowed_s

    def _learn(self, token: str, execution: Execution | None, now: Instant) -> list[Effect]:
        """What the cloud says of the running execution."""
        if self._looked is None or self._looked[0] != token or self.running is None:
            return []
        self._looked, self._look_at = None, now + POLL_S
        which = key(self.running)
        if execution is not None and execution.status not in EXECUTION.ends:
            if key(execution) == which and execution.approximate_seconds_before_timed_out is not None:
                self._time(execution, now)
            return []
        if (self.running.job_document or {}).get("operation") in self._unstoppable:
            self._look_at = None
            return []
        ended = execution.status if execution is not None else "unknown"
        sentence = f"stopped, because it is {ended} in the control plane"
        return [GiveUp(which), *self._end(which, Outcome(Status.FAILED, {"reason": sentence}), now)]

    def _end(self, which: Key, outcome: Outcome, now: Instant) -> list[Effect]:
        if self.running is None or key(self.running) != which:
            return []
        execution, self.running = self.running, None
        self._looked = self._look_at = None
        outcome = Outcome(outcome.status, _fitting(outcome.details))
        self._owe(execution, outcome)
        self._ask_at = now
        return [Conclude(which, outcome)]

    def _owe(self, execution: Execution, outcome: Outcome) -> None:
        assert EXECUTION.allows(Status.IN_PROGRESS, BY_DEVICE[outcome.status])
        self._open[key(execution)] = _Open(execution, outcome, execution.version_number)

    def _reported(self, token: str) -> _Open | None:
        return next((owed for owed in self._open.values() if token and owed.token == token), None)

    def _settle(self, owed: _Open | None, *, overruled: bool) -> list[Effect]:
        if owed is None:
            return []
        which = key(owed.execution)
        self._settled[which] = self._open.pop(which).outcome
        if len(self._settled) > SETTLED_KEPT:
            del self._settled[next(iter(self._settled))]
        return [Settle(which, overruled)]

    def _reject(self, event: Rejected) -> list[Effect]:
        owed = self._reported(event.token)
        if owed is None:
            return []
        match event.code:
            case ErrorCode.INTERNAL_ERROR | ErrorCode.REQUEST_THROTTLED:
                return []  # the wait for an answer runs on, and then it is reported again
            case ErrorCode.VERSION_MISMATCH if event.state and event.state.status not in EXECUTION.ends:
                owed.version, owed.sent = event.state.version_number, None
                return []
            case _:
                return self._settle(owed, overruled=True)

    def _overdue(self, now: Instant) -> list[Effect]:
        if self._asked is not None and now >= self._asked[1] + ANSWER_WAIT_S:
            self._asked, self._ask_at = None, now
        for owed in self._open.values():
            if owed.sent is not None and now >= owed.sent + ANSWER_WAIT_S:
                owed.sent = None
        if self._looked is not None and now >= self._looked[1] + ANSWER_WAIT_S:
            self._looked, self._look_at = None, now
        if self.running is not None and now >= self._ends_at:
            which = key(self.running)
            sentence = f"it did not end within {self._allowed_s:.0f} s"
            return [
                GiveUp(which),
                *self._end(which, Outcome(Status.FAILED, {"reason": sentence}), now),
            ]
        return []

    def _go_on(self, now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        while self._begun and self.running is None:
            entry = self._begun.pop(0)
            effects += self._begin(entry.execution, entry.attempts + 1, now)
        if not self.connected:
            return effects
        for owed in self._open.values():
            if owed.sent is None and owed.reports < REPORTS_MAX:
                effects.append(self._report(owed, now))
        if self._asked is None and _reached(self._ask_at, now) and self._may_ask():
            self._asked = (self._token(), now)
            effects.append(Ask(self._asked[0]))
        if self.running is not None and self._looked is None and _reached(self._look_at, now):
            self._looked = (self._token(), now)
            effects.append(Look(key(self.running), self._looked[0]))
        return effects

    def _may_ask(self) -> bool:
        """Not while something runs, and not before the cloud knows what ended, unless it does not answer."""
        return self.running is None and all(owed.parked for owed in self._open.values())

    def _report(self, owed: _Open, now: Instant) -> Report:
        owed.reports += 1
        owed.token, owed.sent = self._token(), now
        update = Update(
            status=owed.outcome.status,
            status_details=owed.outcome.details,
            expected_version=owed.version,
            execution_number=owed.execution.execution_number,
            client_token=owed.token,
        )
        return Report(owed.execution.job_id, update)

    def _token(self) -> str:
        self._tokens += 1
        return f"{self._boot}-{self._tokens}"


def _reached(moment: Instant | None, now: Instant) -> bool:
    return moment is not None and now >= moment


def _fitting(details: dict[str, str]) -> dict[str, str]:
    """What the protocol takes; a longer value is cut, with a mark that it was."""
    kept = list(details.items())[:DETAILS_MAX]
    return {
        name[:DETAIL_KEY_LENGTH_MAX]: value
        if len(value) <= DETAIL_VALUE_LENGTH_MAX
        else value[: DETAIL_VALUE_LENGTH_MAX - 1] + "…"
        for name, value in kept
    }
