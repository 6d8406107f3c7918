"""Everybody who reads along: one bounded queue a viewer, from which no final line is ever dropped."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

FINALS_WAITING_MAX = 256
"""Finals that may wait for one viewer; one who is slower is sent away and resumes out of the database."""
VIEWERS_MAX = 4000
"""Open streams of one process; each is a socket."""


class Kind(StrEnum):
    """Name of a server-sent event."""

    PARTIAL = "partial"
    FINAL = "final"
    SITTING = "sitting"


@dataclass(frozen=True)
class Event:
    """One event, encoded once for all viewers. `sequence` is 0 where the event is not stored."""

    kind: Kind
    session: str
    segment: int
    sequence: int
    frame: bytes


def frame(kind: Kind, data: bytes, sequence: int = 0) -> bytes:
    """A server-sent event as it stands on the wire; `data` is JSON on one line."""
    assert b"\n" not in data
    head = f"id: {sequence}\n" if sequence else ""
    return f"{head}event: {kind}\n".encode() + b"data: " + data + b"\n\n"


class Viewer:
    """One reader's queue. A newer partial replaces the one that waits; a final ends its partial."""

    def __init__(self, session: str) -> None:
        self.session = session
        self._kept: deque[Event] = deque()
        self._partial: Event | None = None
        self._wake = asyncio.Event()
        self.closed = False

    def offer(self, event: Event) -> None:
        """Queue `event`; a viewer with too many finals waiting is closed."""
        if event.kind is Kind.PARTIAL:
            self._partial = event
        else:
            if event.kind is Kind.SITTING or (self._partial and self._partial.segment <= event.segment):
                self._partial = None
            if event.kind is Kind.SITTING:
                self._kept = deque(kept for kept in self._kept if kept.kind is not Kind.SITTING)
            self._kept.append(event)
            if len(self._kept) > FINALS_WAITING_MAX:
                self.close()
        self._wake.set()

    def close(self) -> None:
        """End the stream; the browser comes back and resumes where it was."""
        self.closed = True
        self._wake.set()

    async def next(self, patience_s: float) -> list[Event]:
        """What waits, finals first; empty when nothing came within `patience_s`, or when closed."""
        if not self._kept and self._partial is None and not self.closed:
            try:
                async with asyncio.timeout(patience_s):
                    await self._wake.wait()
            except TimeoutError:
                return []
        self._wake.clear()
        if self.closed:
            return []
        events = list(self._kept)
        self._kept.clear()
        if self._partial is not None:
            events.append(self._partial)
            self._partial = None
        return events


class Hub:
    """All viewers of this process. `post` may be called by any thread, the rest only by the event loop."""

    def __init__(self) -> None:
        self._viewers: dict[str, set[Viewer]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self.count = 0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which loop serves the viewers; until then, nobody can read and `post` does nothing."""
        self._loop = loop
        self._closed = False

    def enter(self, session: str) -> Viewer | None:
        """A viewer of `session`; None when the house is full or closing."""
        if self._closed or self.count >= VIEWERS_MAX:
            return None
        viewer = Viewer(session)
        self._viewers.setdefault(session, set()).add(viewer)
        self.count += 1
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Forget `viewer`."""
        room = self._viewers.get(viewer.session, set())
        if viewer in room:
            room.remove(viewer)
            self.count -= 1
            if not room:
                del self._viewers[viewer.session]

    def post(self, event: Event) -> None:
        """Hand `event` to every viewer of its session, from any thread."""
        self._call(lambda: self._deliver(event))

    def _deliver(self, event: Event) -> None:
        for viewer in self._viewers.get(event.session, ()):
            viewer.offer(event)

    def close(self) -> None:
        """Send everybody away, from any thread, so that the server can stop without waiting for them."""
        self._call(self._close)

    def _close(self) -> None:
        self._closed = True
        for room in self._viewers.values():
            for viewer in room:
                viewer.close()

    def _call(self, action: Callable[[], None]) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:
            self._loop = None  # the loop is gone, and with it every viewer
