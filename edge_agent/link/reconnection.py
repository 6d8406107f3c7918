"""When to dial the broker: full jitter, bounded, and patient with those who say no.

Pure; chance is an argument. Full jitter (a uniform wait between nothing and the bound) spreads a fleet that
lost its broker at one moment most evenly: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, assert_never

Instant = float
"""Seconds of a clock that never jumps."""

FIRST_WAIT_MAX_S = 0.5
BASE_S = 1.0
CAP_S = 45.0
REFUSED_MIN_S = 60.0
REFUSED_MAX_S = 300.0
"""Who was refused waits at least this long and at most that: a person must act first."""
STABLE_S = 120.0
"""Only a connection that held this long was good: a broker may accept and drop in a ring."""
DIAL_TIMEOUT_S = 30.0

Reason = Literal["unavailable", "refused"]


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
class Asked:
    """Connect anew at once, whatever there is: the device has another certificate to show."""


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come."""


Event = Established | Lost | Asked | TimePassed


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
        self._chance = chance
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
        if reason == "refused":
            wait = self._chance.uniform(REFUSED_MIN_S, REFUSED_MAX_S)
        else:
            wait = self._chance.uniform(0, min(CAP_S, BASE_S * 2**self.attempts))
        self.attempts = min(self.attempts + 1, 16)
        self._enter("down", now)
        self._dial_at = now + wait
