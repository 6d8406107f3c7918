"""Decides what is told of the floor: who has it, only while the sitting is open. Pure.

The microphone system is followed all the time; when the sitting opens, the seats that have the floor then are
told, and when it is interrupted they have lost it.
"""

import re
from collections import deque

import msgspec

from contract.recordings import POSITION_MS_MAX, FloorAction, FloorEvent, FloorReporter
from edge_agent.recordings.dating import Known
from edge_agent.recordings.messages import Effect, FloorLost, Instant, Note, SendFloor, StartFloor

BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
RESEND_S = 5.0
UNSENT_MAX = 1000
"""Floor events that wait because the outbox is full; the oldest give way and are counted."""
SEATS_MAX = 500
_SEAT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


class Floor:
    """The floor of one hall; `followed` says whether it has a floor command."""

    def __init__(self, followed: bool) -> None:
        self._followed = followed
        self._on: dict[str, None] = {}
        self._session: str | None = None
        self._opened_at: dict[str, int] = {}
        self._undated: deque[FloorEvent] = deque()
        self._failures = 0
        self._start_at: Instant | None = None
        self._unsent: deque[FloorEvent] = deque()
        self._resend_at: Instant | None = None
        self.dropped = 0
        self.refused_lines = 0

    def started(self) -> list[Effect]:
        """The agent begins."""
        return [StartFloor()] if self._followed else []

    def opened(self, session: str, opened_at: int, at_ms: int) -> list[Effect]:
        """The sitting, which was opened at `opened_at`, is recorded from here on."""
        self._session = session
        self._opened_at[session] = opened_at
        return [self._tell(seat, FloorAction.TAKEN, at_ms) for seat in self._on]

    def interrupted(self, at_ms: int) -> list[Effect]:
        """The sitting is not recorded any more."""
        if self._session is None:
            return []
        effects: list[Effect] = [self._tell(seat, FloorAction.RELEASED, at_ms) for seat in self._on]
        self._session = None
        return effects

    def waiting(self, effects: list[Effect]) -> list[Effect]:
        """The effects without the floor events: their times are the microphone's until the time is known."""
        self._undated += [each.event for each in effects if isinstance(each, SendFloor)]
        others: list[Effect] = [each for each in effects if not isinstance(each, SendFloor)]
        while len(self._undated) > UNSENT_MAX:
            self._undated.popleft()
            self.dropped += 1
            others.append(Note("floor_events_dropped", {"count": str(self.dropped)}, "error"))
        return others

    def date(self, known: Known) -> list[Effect]:
        """The time is known: what has waited goes."""
        events, self._undated = [*self._undated], deque()
        return [SendFloor(msgspec.structs.replace(each, at_ms=self._dated(each, known))) for each in events]

    def _dated(self, event: FloorEvent, known: Known) -> int:
        at_ms = known.earliest_ms(self._opened_at[event.session], event.at_ms * known.rate_hz // 1000)
        return min(max(0, at_ms), POSITION_MS_MAX)

    def told(self, seat: str, on: bool, at_ms: int) -> list[Effect]:
        """The microphone system has spoken; saying the same again changes nothing."""
        if not _SEAT.fullmatch(seat) or (on and len(self._on) >= SEATS_MAX):
            return self.line_refused("no seat, or too many")
        self._failures = 0
        if on == (seat in self._on):
            return []
        if on:
            self._on[seat] = None
        else:
            del self._on[seat]
        action = FloorAction.TAKEN if on else FloorAction.RELEASED
        return [self._tell(seat, action, at_ms)] if self._session is not None else []

    def line_refused(self, reason: str) -> list[Effect]:
        """A line makes no sense; the 1st, 2nd, 4th, 8th … of them is noted, so that no log is flooded."""
        self.refused_lines += 1
        if self.refused_lines & (self.refused_lines - 1):
            return []
        return [Note("floor_line_refused", {"reason": reason, "count": str(self.refused_lines)}, "warning")]

    def lost(self, event: FloorLost, at_ms: int, now: Instant) -> list[Effect]:
        """Nobody knows any more who has the floor."""
        effects: list[Effect] = []
        if self._session is not None:
            effects = [self._tell(seat, FloorAction.RELEASED, at_ms) for seat in self._on]
        self._on.clear()
        self._start_at = now + BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        if not self._failures:
            effects.append(Note("floor_lost", {"reason": event.reason}, "warning"))
        self._failures += 1
        return effects

    def refused(self, event: FloorEvent, now: Instant) -> list[Effect]:
        """The outbox is full; it is sent again, in order."""
        self._unsent.append(event)
        self._resend_at = now + RESEND_S
        if len(self._unsent) <= UNSENT_MAX:
            return []
        self._unsent.popleft()
        self.dropped += 1
        return [Note("floor_events_dropped", {"count": str(self.dropped)}, "error")]

    def deadline(self) -> Instant | None:
        """When `time_passed` is due."""
        at = [moment for moment in (self._start_at, self._resend_at) if moment is not None]
        return min(at, default=None)

    def time_passed(self, now: Instant) -> list[Effect]:
        """Try again what is due."""
        effects: list[Effect] = []
        if self._start_at is not None and now >= self._start_at:
            self._start_at = None
            effects.append(StartFloor())
        if self._resend_at is not None and now >= self._resend_at:
            self._resend_at = None
            effects += [SendFloor(event) for event in self._unsent]
            self._unsent.clear()
        return effects

    def _tell(self, seat: str, action: FloorAction, at_ms: int) -> SendFloor:
        assert self._session is not None
        return SendFloor(
            FloorEvent(
                session=self._session,
                at_ms=min(at_ms, POSITION_MS_MAX),
                seat=seat,
                action=action,
                source=FloorReporter.MICROPHONE_SYSTEM,
            )
        )
