"""The line before the desk: some are signed for at once, some wait, and the rest are asked to come later.

Each request in hand holds one of the threads that pages and device requests share, and waits for the
database; one that waits here holds neither. Whoever is turned away is told when to come again, by
`Retry-After` (RFC 9110, section 10.2.3; RFC 7030, section 4.2.3), which devices keep to.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy.orm import Session, sessionmaker

from cloud.enrolment.causes import Cause
from cloud.enrolment.refusals import count
from cloud.errors import UnavailableError

AT_WORK_MAX = 8
"""Requests in hand at once; starlette's threads are 40, for all listeners together."""
WAITING_MAX = 500
"""Requests that wait: some five seconds' work of a small machine; a device waits 15 s for its answer."""


class LineFullError(UnavailableError):
    """Too many ask at once."""


class Line:
    """One for all requests for certificates; it belongs to one event loop."""

    def __init__(self, at_work_max: int = AT_WORK_MAX, waiting_max: int = WAITING_MAX) -> None:
        self._turns = asyncio.Semaphore(at_work_max)
        self._waiting_max = waiting_max
        self._waiting = 0
        self._lock = threading.Lock()
        self._turned_away = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the block ends.

        Raises:
            LineFullError: too many wait already.
        """
        if self._turns.locked() and self._waiting >= self._waiting_max:
            with self._lock:
                self._turned_away += 1
            raise LineFullError("too many devices ask for certificates at once; ask again later")
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    def store(self, sessions: sessionmaker[Session], now: datetime) -> None:
        """Write down how many were turned away since the last time: the database is not asked for each."""
        with self._lock:
            times, self._turned_away = self._turned_away, 0
        if times:
            count(sessions, Cause.BUSY, now, times)
