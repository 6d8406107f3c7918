"""When to dial the broker: full jitter, bounded, and patient with those who say no.

Pure; chance is an argument. Full jitter (a uniform wait between nothing and the bound) spreads a fleet that
lost its broker at one moment most evenly: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, assert_never

from contract.link import DELAY_S_MAX

Instant = float
"""Seconds of a clock that never jumps."""

FIRST_WAIT_MAX_S = 0.5
BASE_S = 1.0
CAP_S = 45.0
REFUSED_MIN_S = 60.0
REFUSED_MAX_S = 300.0
"""Who was refused waits at least this long and at most that: a person must act first."""
TAKEN_OVER_MIN_S = 300.0
TAKEN_OVER_MAX_S = 900.0
"""Two with one identity take the link from each other; who lost it leaves it to the other for so long."""
STABLE_S = 120.0
"""Only a connection that held this long was good: a broker may accept and drop in a ring."""
DIAL_TIMEOUT_S = 30.0

Reason = Literal["unavailable", "refused", "taken-over"]
"""`taken-over`: the broker gave this device's session to another connection (MQTT 5, reason 0x8E)."""


class Chance(Protocol):
    """A source of chance; `random.Random` is one."""

    def uniform(self, a: float, b: float) -> float:
        """A number between `a` and `b`, all equally likely."""


@dataclass(frozen=True)
class Established:
    """The connection stands and its subscriptions are accepted."""


@dataclass(frozen=True)
class Lost:
    """Dialing failed or the connection is gone."""

    reason: Reason


@dataclass(frozen=True)
class Told:
    """The cloud's delay: the next loss within `valid_s` waits between `min_s` and `max_s` instead."""

    min_s: float
    max_s: float
    valid_s: float


@dataclass(frozen=True)
class Asked:
    """Connect anew at once, whatever there is: the device has another certificate to show."""


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come."""


Event = Established | Lost | Told | Asked | TimePassed


@dataclass(frozen=True)
class Dial:
    """Drop what there is and begin to connect; the answer is `Established` or `Lost`."""


@dataclass(frozen=True)
class HangUp:
    """Give up the attempt; nothing more of it counts."""


Effect = Dial | HangUp


class Reconnection:
    """The connection's life: down, dialing, up."""

    def __init__(self, chance: Chance, now: Instant) -> None:
        self.state: Literal["down", "dialing", "up"] = "down"
        self.attempts = 0
        self.taken_over = 0
        """How often another took the link."""
        self._chance = chance
        self._told: Told | None = None
        self._told_until: Instant = -math.inf
        self._since = now
        self._dial_at = now + chance.uniform(0, FIRST_WAIT_MAX_S)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What follows from `event`, in the order in which it must be done."""
        match event:
            case Established():
                if self.state == "dialing":
                    self._enter("up", now)
            case Lost(reason):
                if self.state != "down":
                    self._fall(reason, now)
            case Told():
                self._told, self._told_until = event, now + event.valid_s
            case Asked():
                self._enter("dialing", now)
                return [Dial()]
            case TimePassed():
                if self.state == "down" and now >= self._dial_at:
                    self._enter("dialing", now)
                    return [Dial()]
                if self.state == "dialing" and now >= self._since + DIAL_TIMEOUT_S:
                    self._fall("unavailable", now)
                    return [HangUp()]
            case _:
                assert_never(event)
        return []

    def deadline(self) -> Instant | None:
        """When to look again, if nothing happens before."""
        match self.state:
            case "down":
                return self._dial_at
            case "dialing":
                return self._since + DIAL_TIMEOUT_S
            case "up":
                return None

    def _enter(self, state: Literal["down", "dialing", "up"], now: Instant) -> None:
        self.state = state
        self._since = now

    def _fall(self, reason: Reason, now: Instant) -> None:
        if self.state == "up" and now - self._since >= STABLE_S:
            self.attempts = 0
        if reason == "taken-over":
            self.taken_over += 1
        wait = self._wait_s(reason, now)
        self.attempts = min(self.attempts + 1, 16)
        self._enter("down", now)
        self._dial_at = now + wait

    def _wait_s(self, reason: Reason, now: Instant) -> float:
        told, self._told = self._told, None
        match reason:
            case "refused":
                return self._chance.uniform(REFUSED_MIN_S, REFUSED_MAX_S)
            case "taken-over":
                return self._chance.uniform(TAKEN_OVER_MIN_S, TAKEN_OVER_MAX_S)
            case "unavailable":
                if told is not None and now <= self._told_until:
                    return min(DELAY_S_MAX, self._chance.uniform(told.min_s, told.max_s))
                return self._chance.uniform(0, min(CAP_S, BASE_S * 2**self.attempts))
            case _:
                assert_never(reason)
