"""Decides what is told of the floor: who has it, only while the sitting is open. Pure.

The microphone system is followed all the time; when the sitting opens, the seats that have the floor then are
told, and when it is interrupted they have lost it.
"""

import re

from contract.recordings import FloorAction
from edge_agent.recordings.floor_kept import event_of
from edge_agent.recordings.messages import Effect, FloorLost, Instant, Note, SendFloor, StartFloor
from edge_agent.recordings.records import FloorTurn

BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
SEATS_MAX = 500
_SEAT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


class Floor:
    """The floor of one hall; `followed` says whether it has a floor command."""

    def __init__(self, followed: bool) -> None:
        self._followed = followed
        self._on: dict[str, None] = {}
        self._told_of: tuple[str, str] | None = None
        self._failures = 0
        self._start_at: Instant | None = None
        self.refused_lines = 0

    def started(self) -> list[Effect]:
        """The agent begins."""
        return [StartFloor()] if self._followed else []

    def opened(self, recording: str, session: str, at_ms: int) -> list[Effect]:
        """The sitting is recorded from here on."""
        self._told_of = recording, session
        return [self._tell(seat, FloorAction.TAKEN, at_ms) for seat in self._on]

    def interrupted(self, at_ms: int) -> list[Effect]:
        """The sitting is not recorded any more."""
        if self._told_of is None:
            return []
        effects: list[Effect] = [self._tell(seat, FloorAction.RELEASED, at_ms) for seat in self._on]
        self._told_of = None
        return effects

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
        return [self._tell(seat, action, at_ms)] if self._told_of is not None else []

    def line_refused(self, reason: str) -> list[Effect]:
        """A line makes no sense; the 1st, 2nd, 4th, 8th … of them is noted, so that no log is flooded."""
        self.refused_lines += 1
        if self.refused_lines & (self.refused_lines - 1):
            return []
        return [Note("floor_line_refused", {"reason": reason, "count": str(self.refused_lines)}, "warning")]

    def lost(self, event: FloorLost, at_ms: int, now: Instant) -> list[Effect]:
        """Nobody knows any more who has the floor."""
        effects: list[Effect] = []
        if self._told_of is not None:
            effects = [self._tell(seat, FloorAction.RELEASED, at_ms) for seat in self._on]
        self._on.clear()
        self._start_at = now + BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        if not self._failures:
            effects.append(Note("floor_lost", {"reason": event.reason}, "warning"))
        self._failures += 1
        return effects

    def deadline(self) -> Instant | None:
        """When `time_passed` is due."""
        return self._start_at

    def time_passed(self, now: Instant) -> list[Effect]:
        """Start the floor command again when it is due."""
        if self._start_at is None or now < self._start_at:
            return []
        self._start_at = None
        return [StartFloor()]

    def _tell(self, seat: str, action: FloorAction, at_ms: int) -> SendFloor:
        assert self._told_of is not None
        recording, session = self._told_of
        return SendFloor(recording, event_of(session, FloorTurn(at_ms, seat, action is FloorAction.TAKEN)))
