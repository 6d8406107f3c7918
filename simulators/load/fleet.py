"""The devices: each with the link of the real agent, a journal that counts, and something to say."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from contract.ids import RANDOM_BYTES, uuid7
from contract.messages import Lane
from contract.telemetry import Sample, TelemetryBatch
from contract.topics import ROOT_DEFAULT
from edge_agent.link.identity import Identity, mutual
from edge_agent.link.outbox import Bounds
from edge_agent.link.reconnection import Chance
from edge_agent.link.run import Link
from simulators.load.tally import Dials, TalliedJournal
from simulators.load.transport import LoadTransport

ROWS_MAX, BYTES_MAX, WINDOW = 50_000, 64_000_000, 20
"""Those of the agent's settings, where nothing else is said."""
KEEPALIVE_S = 30
VALUES = {
    "cpu_pct": 12.5,
    "memory_pct": 41.25,
    "disk_pct": 20.125,
    "temperature_c": 48.5,
}


class Lockstep:
    """A chance that always gives the upper bound: back-off without jitter, as most clients have it."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - the protocol of chance
        """`b`."""
        return b


class Device:
    """One device of the load: it samples each `every_s`, the first time after `phase_s`."""

    def __init__(
        self, name: str, link: Link, journal: TalliedJournal, *, every_s: float, phase_s: float
    ) -> None:
        self.name = name
        self.link = link
        self.journal = journal
        self._every_s = every_s
        self._phase_s = phase_s
        self._last_ms = 0

    async def sample(self, quiet: asyncio.Event) -> None:
        """Send samples until `quiet`; each has a moment of its own, so that what is stored can be counted."""
        due = asyncio.get_running_loop().time() + self._phase_s
        while not await _set_by(quiet, due):
            self._last_ms = max(wall_ms(), self._last_ms + 1)
            values = {**VALUES, "uptime_s": int(time.monotonic()), "outbox_waiting": self.link.counts.waiting}
            batch = TelemetryBatch(samples=[Sample(at=self._last_ms, values=values)])
            await self.link.send("telemetry", {}, batch, lane=Lane.TELEMETRY, must=False)
            due += self._every_s


@dataclass(frozen=True)
class Speech:
    """How often the devices speak, and the chance that spreads them and their dials; `jitter` or lockstep.

    `ack_timeout_s` is the agent's setting: what is not acknowledged for so long is sent again.
    """

    every_s: float
    jitter: bool
    seed: int
    ack_timeout_s: float = 20.0


class Fleet:
    """All devices of one process. `changed` is set whenever a journal or a link has changed."""

    def __init__(self, port: int, identities: dict[str, Identity], speech: Speech) -> None:
        self.dials = Dials()
        self.changed = asyncio.Event()
        self._quiet = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.devices = [self._device(port, name, who, speech) for name, who in identities.items()]

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """All devices live; in the end they are silent and say good-bye."""
        async with asyncio.TaskGroup() as tasks:
            links = [tasks.create_task(device.link.run()) for device in self.devices]
            voices = [tasks.create_task(device.sample(self._quiet)) for device in self.devices]
            try:
                yield
            finally:
                for task in (*voices, *links):
                    task.cancel()

    def be_quiet(self) -> None:
        """No device samples any more; what waits is still sent."""
        self._quiet.set()

    async def wait(self, holds: Callable[[], bool], deadline_s: float, what: str) -> float:
        """Wait until `holds()`; gives the moment by the event loop's clock.

        Raises:
            TimeoutError: it did not within `deadline_s`.
        """
        try:
            async with asyncio.timeout(deadline_s):
                while not holds():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise TimeoutError(f"not within {deadline_s:g} s: {what}") from None
        return self._loop.time()

    def all_connected(self) -> bool:
        """Whether every device is connected."""
        return all(device.link.connected for device in self.devices)

    def nothing_older_than(self, at_ms: int) -> bool:
        """Whether everything that was made before wall clock `at_ms` is acknowledged."""
        oldest = (device.journal.oldest_ms for device in self.devices)
        return all(each is None or each >= at_ms for each in oldest)

    def total(self, count: Callable[[TalliedJournal], int]) -> int:
        """The sum of a count over all journals."""
        return sum(count(device.journal) for device in self.devices)

    def lags_ms(self) -> Sequence[float]:
        """Of every message that was acknowledged."""
        return [lag for device in self.devices for lag in device.journal.lags_ms]

    def _tell_changed(self) -> None:
        self._loop.call_soon_threadsafe(self.changed.set)

    def _device(self, port: int, name: str, who: Identity, speech: Speech) -> Device:
        chance = random.Random(f"{speech.seed} {name}")
        boot = uuid7(wall_ms(), random.SystemRandom().randbytes(RANDOM_BYTES))
        journal = TalliedJournal(wall_ms, self._tell_changed)
        journal.begin(boot, wall_ms())
        dialing: Chance = chance if speech.jitter else Lockstep()
        transport = LoadTransport(
            host="127.0.0.1",
            port=port,
            client_id=name,
            keepalive_s=KEEPALIVE_S,
            context=partial(mutual, who),
            dials=self.dials,
        )
        link = Link(
            device=name,
            kind="kiosk",
            agent="load",
            root=ROOT_DEFAULT,
            boot=boot,
            bounds=Bounds(ROWS_MAX, BYTES_MAX, WINDOW, speech.ack_timeout_s),
            journal=journal,
            transport=transport,
            chance=dialing,
        )
        link.on_connected(self.changed.set)
        return Device(name, link, journal, every_s=speech.every_s, phase_s=chance.uniform(0, speech.every_s))


async def _set_by(event: asyncio.Event, due: float) -> bool:
    """Whether `event` is set before the loop's clock says `due`."""
    try:
        async with asyncio.timeout_at(due):
            await event.wait()
    except TimeoutError:
        return False
    return True


def wall_ms() -> int:
    """The wall clock, ms since 1970 UTC."""
    return int(time.time() * 1000)
