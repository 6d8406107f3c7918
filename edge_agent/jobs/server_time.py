"""The server's time, as the answers to requests for the next job tell it. Pure.

The answer's `timestamp` has whole seconds, cut off (AWS IoT Jobs), and was taken between asking and hearing.
"""

from contract.messages import AT_MAX_MS, AT_MIN_MS
from edge_agent.ports import ServerTime


class ServerClock:
    """Remembers when the one open request went out, by a clock that never jumps."""

    def __init__(self) -> None:
        self._asked: tuple[str, float] | None = None

    def ask(self, token: str, now: float) -> None:
        """A request goes out under `token`; the one before it counts no more."""
        self._asked = token, now

    def answered(self, token: str, timestamp_s: int, now: float) -> ServerTime | None:
        """What the server's clock says at `now`; None for an answer to an older request, or to none."""
        if self._asked is None or self._asked[0] != token:
            return None
        (_, asked), self._asked = self._asked, None
        earliest_ms = timestamp_s * 1000
        if not AT_MIN_MS <= earliest_ms <= AT_MAX_MS:
            return None
        return ServerTime(earliest_ms, earliest_ms + 1000 + round((now - asked) * 1000))
