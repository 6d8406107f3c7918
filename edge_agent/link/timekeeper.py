"""The device's clock with its hands: it reads the machine's, hears the cloud's, and writes its floor down."""

import asyncio
import logging
from collections.abc import Callable

from edge_agent.errors import UnavailableError
from edge_agent.link.certificate import Life
from edge_agent.link.clock import DeviceClock, Instant
from edge_agent.link.floor_file import FloorFile

log = logging.getLogger(__name__)


class Timekeeper:
    """`wall_ms` is the machine's clock, right or wrong; `instant` one that never jumps."""

    def __init__(
        self, clock: DeviceClock, file: FloorFile, wall_ms: Callable[[], int], instant: Callable[[], Instant]
    ) -> None:
        self._clock = clock
        self._file = file
        self._wall_ms = wall_ms
        self._instant = instant
        self._unsaved: int | None = None
        self._wake = asyncio.Event()
        if self._wall_ms() < clock.floor_ms:
            log.warning("clock_not_set", extra={"at": self._wall_ms(), "floor": clock.floor_ms})

    def best_ms(self) -> int:
        """The time for what happens now; below `floor_ms` as long as nobody knows it."""
        return self._clock.best_ms(self._wall_ms(), self._instant())

    def floor_ms(self) -> int:
        """A moment that is surely past."""
        return self._clock.floor_ms

    def utc_s(self) -> float:
        """The time to judge our own certificate by, in seconds since 1970."""
        return self._clock.certain_ms(self._wall_ms(), self._instant()) / 1000

    def told(self, server_ms: int) -> None:
        """The cloud says that it is `server_ms`."""
        floor_ms = self._clock.told(server_ms, self._instant())
        if floor_ms is not None:
            self._unsaved = floor_ms
            self._wake.set()

    def renewed(self, life: Life) -> None:
        """The device has another certificate."""
        self._clock.renewed(round(life.not_before_s * 1000), round(life.not_after_s * 1000))

    async def run(self) -> None:
        """Write the floor down whenever it has moved far enough, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            floor_ms, self._unsaved = self._unsaved, None
            assert floor_ms is not None
            try:
                await asyncio.to_thread(self._file.save, floor_ms)
            except UnavailableError as error:
                log.warning("time_floor_not_saved", extra={"sentence": str(error)})
            else:
                log.info("time_floor_saved", extra={"floor": floor_ms})
