"""Broker, ingest, control plane and device are killed, alone and in pairs, while `must` messages flow.

What the device's link had promised to keep is stored once, and the cloud's ledger counts the same.
"""

import asyncio
import itertools
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from contract.messages import Lane
from simulators.city.processes import Child, Command
from simulators.load.place import Place, laid

DEVICE = "talker-01"
EVERY_S = 0.02
TALK_S = 0.7
"""Between two deaths."""
DOWN_S = 0.3
START_S = 60.0
ROUNDS_LONG = 2
PARTS = ("broker", "ingest", "control", "talker")
FEW = (("broker", "control"), ("ingest", "talker"))
EACH = tuple((part,) for part in PARTS)
PAIRS = tuple(itertools.combinations(PARTS, 2))


class Street:
    """The four parts, each a process that can be killed and started again."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.folder / "devices" / DEVICE
        self.parts = {
            "broker": place.broker,
            "ingest": place.ingest,
            "control": place.control,
            "talker": self._talker("talker", EVERY_S),
        }

    async def start(self, name: str) -> None:
        """Start a part; a service is there when it has its subscriptions."""
        child = self.parts[name]
        if name == "broker":
            await self.place.start_broker()
            return
        before = child.log.count("link_connected")
        await child.start()
        if name != "talker" and self.parts["broker"].running:
            async with asyncio.timeout(START_S):
                await child.log.wait("link_connected", before + 1)

    async def kill(self, names: Iterable[str]) -> None:
        """kill -9 all of them at one moment, and start them again after a while."""
        for name in names:
            assert self.parts[name].running, f"{name} has ended by itself: {self.parts[name].log.tail(5)}"
            self.parts[name].kill()
        for name in names:
            await self.parts[name].ended()
        await asyncio.sleep(DOWN_S)
        for name in names:  # the broker is the first of each pair
            await self.start(name)
        await asyncio.sleep(TALK_S)

    async def drain(self) -> None:
        """The device says nothing new, and waits until the cloud has all of it."""
        self.parts["talker"].kill()
        await self.parts["talker"].ended()
        last = self._talker("drain", 0)
        await last.start()
        assert await last.ended() == 0, last.log.tail(20)

    def said(self, diary: str) -> Counter[str]:
        """What the device has noted, by lane."""
        return Counter((self.folder / diary).read_text().split())

    def _talker(self, name: str, every_s: float) -> Child:
        words = ("-m", "tests.system.talker", str(self.folder), str(self.place.port), DEVICE, str(every_s))
        return Child(Command(name, (sys.executable, *words), again=False), self.place.folder / "logs")


def figures(path: Path, lane: Lane, stored: str) -> tuple[int, int, int]:
    """The sum of the marks of a lane, how many marks have a gap, and what the other table has stored."""
    with closing(sqlite3.connect(path, timeout=10)) as database:
        marks = database.execute(
            "SELECT seq, above FROM link_watermarks WHERE device = ? AND lane = ?", (DEVICE, lane)
        ).fetchall()
        (count,) = database.execute(stored).fetchone()
    return sum(seq for seq, _ in marks), sum(above != "[]" for _, above in marks), int(count or 0)


def check(street: Street) -> None:
    tried, promised = street.said("tried"), street.said("promised")
    refused = f"SELECT sum(count) FROM link_refusals WHERE device = '{DEVICE}' AND reason = 'refused'"
    cloud = street.place.cloud
    for lane, (marked, gaps, stored) in {
        # The evidence is of no document of ours: each one is refused and counted, once, in its transaction.
        Lane.EVENTS: figures(cloud / "fleet.db", Lane.EVENTS, refused),
        Lane.TELEMETRY: figures(
            cloud / "telemetry.db", Lane.TELEMETRY, "SELECT sum(messages) FROM link_totals"
        ),
    }.items():
        assert gaps == 0, f"{lane}: the ledger misses something"
        assert marked == stored, f"{lane}: {marked} by the ledger and {stored} in the store"
        assert promised[lane] <= stored <= tried[lane], f"{lane}: {promised} promised, {stored} stored"
        assert promised[lane] > 50, "too little was said to prove anything"
    points = street.place.ledger().stored[DEVICE]
    assert points == figures(cloud / "telemetry.db", Lane.TELEMETRY, "SELECT 0")[0]


def play(folder: Path, deaths: Iterable[tuple[str, ...]]) -> None:
    async def live() -> None:
        async with laid(folder, [DEVICE]) as place:
            street = Street(place)
            try:
                await street.start("control")
                await street.start("talker")
                await asyncio.sleep(TALK_S)
                for names in deaths:
                    await street.kill(names)
                await street.drain()
            finally:
                await street.parts["talker"].stop()
            check(street)

    asyncio.run(live())


def test_no_must_message_is_lost_or_doubled_when_pairs_are_killed(tmp_path: Path) -> None:
    play(tmp_path, FEW)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_no_must_message_is_lost_or_doubled_whatever_is_killed_at_length(tmp_path: Path) -> None:
    play(tmp_path, (EACH + PAIRS) * ROUNDS_LONG)
