"""What time it is at the server when the microphone gives a sample: an interval that holds the truth. Pure.

The device's own clock has no say in it: it may be a day off, or stand in 1970 after a cold start. The server
tells its time with each answer to a request for a job; the answer bounds it from both sides.
"""

import math
from dataclasses import dataclass

from contract.recordings import DRIFT


@dataclass(frozen=True)
class Moment:
    """Milliseconds since 1970 UTC by the server's clock: not before `earliest_ms`, not after `latest_ms`."""

    earliest_ms: int
    latest_ms: int


class Bearing:
    """The server's time over the positions of one run of the microphone's counter."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._told: tuple[int, Moment] | None = None
        self._since: tuple[int, int] | None = None

    @property
    def known(self) -> bool:
        """Whether the server has told its time at all."""
        return self._told is not None

    def tell(self, position: int, moment: Moment) -> None:
        """The server's time at `position`; what was known before makes it narrower, unless they disagree."""
        assert moment.earliest_ms <= moment.latest_ms
        if self._told is not None:
            before = self._at(position)
            earliest_ms = max(moment.earliest_ms, before.earliest_ms)
            latest_ms = min(moment.latest_ms, before.latest_ms)
            if earliest_ms <= latest_ms:
                moment = Moment(earliest_ms, latest_ms)
        self._told = position, moment

    def not_before(self, position: int, at_ms: int) -> None:
        """What is heard from `position` on was said after the server's `at_ms`."""
        self._since = position, at_ms

    def at(self, position: int) -> Moment:
        """When the sample was heard; ask only once the time is known."""
        moment = self._at(position)
        if self._since is None or position < self._since[0]:
            return moment
        return Moment(max(moment.earliest_ms, self._since[1]), max(moment.latest_ms, self._since[1]))

    def _at(self, position: int) -> Moment:
        assert self._told is not None, "nothing is dated before the server has told its time"
        anchor, moment = self._told
        ms = (position - anchor) * 1000 / self._rate_hz
        spread_ms = abs(ms) * DRIFT
        return Moment(
            math.floor(moment.earliest_ms + ms - spread_ms), math.ceil(moment.latest_ms + ms + spread_ms)
        )
