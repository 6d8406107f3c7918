"""The link's runner with a broker and a cloud that fit on a page."""

import asyncio
import dataclasses
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from contract import topics
from contract.link import Dropped, DroppedRange, Reconnect, Why
from contract.messages import (
    AT_MAX_MS,
    AT_MIN_MS,
    MESSAGE_BYTES_MAX,
    Ack,
    Envelope,
    Lane,
    Presence,
    encode,
    open_envelope,
    read,
)
from contract.telemetry import Sample, TelemetryBatch
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.link.journal import Deletion, Journal, MemoryJournal, Message
from edge_agent.link.mqtt import Arrived, Down, Kept, Outgoing, Report, Told, Unheard, Up
from edge_agent.link.outbox import Bounds
from edge_agent.link.reserve import Reserve
from edge_agent.link.run import Link

DEVICE = "kiosk-001"
BOUNDS = Bounds(rows_max=10, bytes_max=100_000, window=5, ack_timeout_s=20.0)
BATCH = TelemetryBatch(samples=[Sample(at=1_763_900_000_000, values={"cpu_pct": 1.5})])
DEADLINE_S = 10.0


class FakeTransport:
    """A broker in memory: tests say when it answers; what it was given is in `sent`."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.changed = asyncio.Event()
        self.report: Report | None = None
        self.filters: Sequence[str] = ()
        self.will: Outgoing | None = None
        self.last: Outgoing | None = None

    def dial(self, filters: Sequence[str], will: Outgoing, report: Report) -> None:
        self.filters, self.will, self.report = filters, will, report
        self.changed.set()

    def publish(self, message: Outgoing) -> None:
        self.sent.append(message)
        self.changed.set()

    def hang_up(self) -> None:
        self.report = None

    async def close(self, last: Outgoing) -> None:
        self.last = last

    def say(self, event: Told) -> None:
        assert self.report is not None
        self.report(event)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def envelopes(self) -> list[Envelope]:
        return [
            open_envelope(m.payload) for m in self.sent if "presence" not in m.topic and "jobs" not in m.topic
        ]


class FullDisk(MemoryJournal):
    """A disk that takes nothing while it is `full`."""

    full = False

    def write(
        self,
        appends: Sequence[Message],
        deletions: Sequence[Deletion],
        pending: Sequence[DroppedRange] | None = None,
    ) -> None:
        if self.full:
            raise UnavailableError("link.db: the disk is full; free some space")
        super().write(appends, deletions, pending)


def make(
    journal: Journal,
    transport: FakeTransport,
    boot: str = "b1",
    bounds: Bounds = BOUNDS,
    *,
    reserve: Reserve | None = None,
    floor_ms: Callable[[], int] = lambda: AT_MIN_MS,
    begun: bool = True,
) -> Link:
    journal.begin(boot, 1_763_900_000_000 if begun else 0)
    return Link(
        device=DEVICE,
        kind="kiosk",
        agent="1.2.3",
        root=topics.ROOT_DEFAULT,
        boot=boot,
        bounds=bounds,
        journal=journal,
        transport=transport,
        chance=random.Random(1),
        reserve=reserve,
        floor_ms=floor_ms,
    )


@asynccontextmanager
async def running(link: Link) -> AsyncIterator[Link]:
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass  # that is how it ends


async def up(transport: FakeTransport) -> None:
    await transport.until(lambda: transport.report is not None)
    transport.say(Up())
    await transport.until(lambda: bool(transport.sent))


def ack(transport: FakeTransport, boot: str, lane: Lane, seq: int) -> None:
    topic = topics.build("ack", device=DEVICE)
    transport.say(Arrived(topic, encode(Ack(boot=boot, lane=lane, seq=seq))))


async def test_what_is_sent_is_durable_at_once_and_forgotten_when_it_is_stored() -> None:
    journal, transport = MemoryJournal(), FakeTransport()
    link = make(journal, transport)
    async with running(link):
        await link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False)
        assert [m.seq for m in journal.messages.values()] == [1]
        assert transport.sent == []
        await up(transport)
        await transport.until(lambda: len(transport.envelopes()) == 1)
        envelope = transport.envelopes()[0]
        assert (envelope.boot, envelope.lane, envelope.seq, envelope.kept_from) == (
            "b1",
            Lane.TELEMETRY,
            1,
            1,
        )
        assert read(envelope.body, TelemetryBatch) == BATCH
        ack(transport, "b1", Lane.TELEMETRY, 1)
        for _ in range(2):  # the word of the cloud is taken in one turn and carried out in the next
            await link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False)
        assert [m.seq for m in journal.messages.values()] == [2, 3]
        assert link.counts.waiting == 2


async def test_what_nobody_heard_goes_again_long_before_an_answer_is_missed() -> None:
    transport = FakeTransport()
    link = make(MemoryJournal(), transport, bounds=dataclasses.replace(BOUNDS, ack_timeout_s=600.0))
    async with running(link):
        await up(transport)
        await link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False)
        await transport.until(lambda: len(transport.envelopes()) == 1)
        kept = transport.sent[-1].kept
        assert kept == Kept("b1", Lane.TELEMETRY, 1)
        transport.say(Unheard(kept))
        await transport.until(lambda: len(transport.envelopes()) == 2)
        assert {envelope.seq for envelope in transport.envelopes()} == {1}


async def test_presence_is_told_by_will_by_connection_and_at_the_end() -> None:
    transport = FakeTransport()
    link = make(MemoryJournal(), transport)
    async with running(link):
        await up(transport)
        assert transport.will is not None
        will, online = (read(m.payload, Presence) for m in (transport.will, transport.sent[0]))
    assert transport.last is not None
    offline = read(transport.last.payload, Presence)
    assert [(p.online, p.boot, p.kind, p.agent, p.connection) for p in (will, online, offline)] == [
        (False, "b1", "kiosk", "1.2.3", 1),
        (True, "b1", "kiosk", "1.2.3", 1),
        (False, "b1", "kiosk", "1.2.3", 1),
    ]
    assert transport.will.retained
    assert transport.sent[0].retained
    assert transport.last.retained


async def test_each_attempt_to_connect_has_a_number_of_its_own() -> None:
    transport = FakeTransport()
    link = make(MemoryJournal(), transport)
    async with running(link):
        await up(transport)
        first = transport.will
        transport.say(Down("unavailable", "the connection broke"))
        await transport.until(lambda: transport.will is not first)
        transport.say(Up())
        await transport.until(lambda: len(transport.sent) == 2)
    told = [*transport.sent, transport.will, transport.last]
    assert [read(m.payload, Presence).connection for m in told if m is not None] == [1, 2, 2, 2]


async def test_many_senders_share_one_write() -> None:
    writes = []

    class Counting(MemoryJournal):
        def write(
            self,
            appends: Sequence[Message],
            deletions: Sequence[Deletion],
            pending: Sequence[DroppedRange] | None = None,
        ) -> None:
            writes.append(len(appends))
            super().write(appends, deletions, pending)

    link = make(Counting(), FakeTransport())
    async with running(link):
        sends = [link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False) for _ in range(8)]
        await asyncio.gather(*sends)
    assert writes == [8]


async def test_a_full_outbox_refuses_what_must_be_kept() -> None:
    link = make(MemoryJournal(), FakeTransport())
    async with running(link):
        for _ in range(BOUNDS.rows_max):
            await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        with pytest.raises(RefusedError, match="the outbox is full"):
            await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        await link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False)
        assert (link.counts.waiting, link.counts.dropped, link.counts.refused) == (10, 1, 1)


async def test_a_link_that_is_ended_lets_the_disk_finish() -> None:
    """A database that is closed while a thread is in it crashes the process."""
    begun, let_go = threading.Event(), threading.Event()

    class Slow(MemoryJournal):
        loose = True

        def give_back(self) -> bool:
            begun.set()
            assert let_go.wait(10)
            self.loose = False
            return False

    journal = Slow()
    link = make(journal, FakeTransport())
    task = asyncio.create_task(link.run())
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.1)
    assert not done, "a thread is in the journal"
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not journal.loose


async def test_a_full_disk_refuses_and_recovers() -> None:
    journal, transport = FullDisk(), FakeTransport()
    link = make(journal, transport)
    async with running(link):
        await up(transport)
        await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        assert not link.full
        await transport.until(lambda: len(transport.envelopes()) == 1)
        journal.full = True
        with pytest.raises(RefusedError):
            await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        await link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False)
        ack(transport, "b1", Lane.EVENTS, 1)
        with pytest.raises(RefusedError):
            await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        assert link.full
        journal.full = False
        await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        await transport.until(lambda: len(transport.envelopes()) == 2)
        assert [(m.lane, m.seq) for m in journal.messages.values()] == [(Lane.EVENTS, 2)]
        assert (link.counts.waiting, link.counts.dropped, link.counts.refused) == (1, 1, 2)
        assert [(e.seq, e.kept_from) for e in transport.envelopes()] == [(1, 1), (2, 2)]
        assert [(r.count, r.why) for r in journal.ranges] == [(1, Why.DISK)]


class Room:
    """A reserve that a test makes and looks at."""

    def __init__(self, journal: FullDisk) -> None:
        self.journal = journal
        self.held = False
        self.made = asyncio.Event()

    def make(self) -> bool:
        self.held = self.held or not self.journal.full
        return self.held

    def release(self) -> bool:
        had, self.held = self.held, False
        if had:
            self.journal.full = False
        return had


async def test_on_a_full_disk_the_reserve_takes_what_must_be_kept_and_what_makes_room() -> None:
    journal, transport = FullDisk(), FakeTransport()
    room = Room(journal)
    link = make(journal, transport, reserve=room)
    async with running(link):
        await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        assert room.held
        journal.full = True
        kept, dropped = (
            link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True),
            link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False),
        )
        await asyncio.gather(kept, dropped)
        assert not room.held
        assert link.full
        assert [(m.lane, m.seq) for m in journal.messages.values()] == [(Lane.EVENTS, 1), (Lane.EVENTS, 2)]
        assert [(r.count, r.why) for r in journal.ranges] == [(1, Why.DISK)]
        await link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False)
        await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        assert [(r.count, r.why) for r in journal.ranges] == [(2, Why.DISK)]
        assert (link.counts.dropped, link.counts.refused) == (2, 0)


async def test_what_was_dropped_is_declared_to_the_cloud_and_survives_a_restart() -> None:
    journal = MemoryJournal()
    async with running(make(journal, FakeTransport())) as link:
        for _ in range(BOUNDS.rows_max + 3):
            await link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False)
    assert [(r.from_seq, r.to_seq) for r in journal.ranges] == [(1, 3)]
    transport = FakeTransport()
    async with running(make(journal, transport, "b2")):
        await up(transport)
        await transport.until(lambda: any("dropped" in m.topic for m in transport.sent))
        declared = next(m for m in transport.sent if "dropped" in m.topic)
        envelope = open_envelope(declared.payload)
        assert (envelope.boot, envelope.lane, envelope.seq) == ("b2", Lane.EVENTS, 1)
        ranges = read(envelope.body, Dropped).ranges
        assert [(r.boot, r.from_seq, r.to_seq, r.why) for r in ranges] == [("b1", 1, 4, Why.ROWS)]
        assert journal.ranges == []


async def test_the_cloud_tells_how_long_to_stay_away() -> None:
    transport = FakeTransport()
    link = make(MemoryJournal(), transport)
    async with running(link):
        await up(transport)
        assert topics.build("reconnect", device=DEVICE) in transport.filters
        topic = topics.build("reconnect", device=DEVICE)
        transport.say(Arrived(topic, encode(Reconnect(min_s=100.0, max_s=50.0, valid_s=60.0))))
        transport.say(Arrived(topic, encode(Reconnect(min_s=400.0, max_s=500.0, valid_s=60.0))))
        transport.say(Down("unavailable", "cut"))
        while link.connected:
            await asyncio.sleep(0)
        at = link._reconnection.deadline()
        assert at is not None
        assert 390 < at - time.monotonic() <= 500
        assert link.malformed == 1


async def test_who_lost_the_link_to_another_says_so() -> None:
    transport = FakeTransport()
    link = make(MemoryJournal(), transport)
    async with running(link):
        await up(transport)
        transport.say(Down("taken-over", "another connection"))
        while link.connected:
            await asyncio.sleep(0)
        assert link.counts.taken_over == 1


async def test_a_connection_on_which_nobody_answers_is_dropped_and_dialed_anew() -> None:
    transport = FakeTransport()
    link = make(MemoryJournal(), transport, bounds=replace(BOUNDS, ack_timeout_s=0.01))
    async with running(link):
        await up(transport)
        await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        first = transport.report
        await transport.until(lambda: transport.report is not first and transport.report is not None)
        assert not link.connected


async def test_samples_of_a_wrong_clock_wait_and_get_their_dates_when_it_is_right() -> None:
    journal, transport = MemoryJournal(), FakeTransport()
    floor = [AT_MAX_MS]
    link = make(journal, transport, floor_ms=lambda: floor[0], begun=False)
    async with running(link):
        await up(transport)
        at = link.stamp()
        assert at < AT_MIN_MS
        batch = TelemetryBatch(samples=[Sample(at=at, values={"cpu_pct": 1.5})])
        await link.send("telemetry", {}, batch, lane=Lane.TELEMETRY, must=False)
        await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        await transport.until(lambda: len(transport.envelopes()) == 1)
        assert transport.envelopes()[0].lane is Lane.EVENTS
        floor[0] = AT_MIN_MS
        before = time.time() * 1000
        await link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False)
        await transport.until(lambda: len(transport.envelopes()) == 3)
        sample = transport.envelopes()[1]
        assert before - DEADLINE_S * 1000 <= sample.at <= before + DEADLINE_S * 1000
        dated = read(sample.body, TelemetryBatch).samples[0].at
        assert abs(dated - sample.at) <= 1000


async def test_samples_whose_boot_never_knew_the_time_are_dropped_and_counted() -> None:
    journal = MemoryJournal()
    async with running(make(journal, FakeTransport(), floor_ms=lambda: AT_MAX_MS, begun=False)) as link:
        await link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False)
        await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
    transport = FakeTransport()
    async with running(make(journal, transport, "b2")) as link:
        await up(transport)
        await transport.until(lambda: any("dropped" in m.topic for m in transport.sent))
        told = [open_envelope(m.payload) for m in transport.sent if "presence" not in m.topic]
        assert [(e.boot, e.lane) for e in told] == [("b1", Lane.EVENTS), ("b2", Lane.EVENTS)]
        assert told[0].at >= AT_MIN_MS
        assert [r.why for r in read(told[1].body, Dropped).ranges] == [Why.CLOCK]
        assert link.counts.dropped == 1


async def test_what_was_left_out_without_a_link_is_declared_by_the_next_start() -> None:
    journal = MemoryJournal()
    async with running(make(journal, FakeTransport())) as link:
        link.left_out(Lane.LIVE, Why.CLOCK)
        await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
    assert [(each.lane, each.count) for each in journal.pending()] == [(Lane.LIVE, 1)]
    transport = FakeTransport()
    async with running(make(journal, transport, "b2")):
        await up(transport)
        await transport.until(lambda: any("dropped" in m.topic for m in transport.sent))
    told = next(m for m in transport.sent if "dropped" in m.topic)
    (range_,) = read(open_envelope(told.payload).body, Dropped).ranges
    assert (range_.lane, range_.from_seq, range_.count, range_.why) == (Lane.LIVE, 0, 1, Why.CLOCK)


async def test_the_next_start_sends_what_the_last_one_left() -> None:
    journal = MemoryJournal()
    first = make(journal, FakeTransport())
    async with running(first):
        await first.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
    transport = FakeTransport()
    async with running(make(journal, transport, "b2")):
        await up(transport)
        await transport.until(lambda: len(transport.envelopes()) == 1)
        assert transport.envelopes()[0].boot == "b1"


async def test_a_message_that_is_too_large_is_refused() -> None:
    link = make(MemoryJournal(), FakeTransport())
    large = TelemetryBatch(samples=[Sample(at=1, values={"x" * MESSAGE_BYTES_MAX: 1.0})])
    async with running(link):
        with pytest.raises(RefusedError, match="too large"):
            await link.send("telemetry", {}, large, lane=Lane.TELEMETRY, must=False)


async def test_nothing_is_published_live_while_the_link_is_down() -> None:
    transport = FakeTransport()
    link = make(MemoryJournal(), transport)
    went: list[str] = []
    link.on_connected(lambda: went.append("up"))
    link.on_disconnected(lambda: went.append("down"))
    async with running(link):
        link.publish("job-start-next", {}, b"{}")
        await up(transport)
        link.publish("job-start-next", {}, b"{}")
        link.publish_live("caption-partial", {"session": "s1", "channel": "floor"}, BATCH)
        transport.say(Down("unavailable", "cut"))
        await transport.until(lambda: len(transport.sent) == 3)
        while link.connected:
            await asyncio.sleep(0)
        link.publish("job-start-next", {}, b"{}")
    assert went == ["up", "down"]
    assert [m.topic.rpartition("/")[2] for m in transport.sent] == ["presence", "start-next", "partial"]
    live = open_envelope(transport.sent[2].payload)
    assert (live.lane, live.seq, transport.sent[2].qos) == (Lane.LIVE, 0, 0)


async def test_messages_from_the_cloud_reach_their_way_and_garbage_harms_nobody() -> None:
    transport = FakeTransport()
    link = make(MemoryJournal(), transport)
    got: list[tuple[dict[str, str], bytes]] = []
    arrived = asyncio.Event()

    def handler(ids: dict[str, str], payload: bytes) -> None:
        got.append((ids, payload))
        arrived.set()

    link.subscribe("job-notify-next", handler)
    async with running(link):
        await up(transport)
        assert topics.build("job-notify-next", device=DEVICE) in transport.filters
        transport.say(Arrived(topics.build("ack", device=DEVICE), b"\xff garbage"))
        transport.say(Arrived("fleet/v1/kiosk-001/nonsense", b"{}"))
        transport.say(Arrived(topics.build("job-notify-next", device=DEVICE), b"{}"))
        async with asyncio.timeout(DEADLINE_S):
            await arrived.wait()
    assert got == [({"device": DEVICE}, b"{}")]
    assert link.malformed == 2


async def test_a_handler_that_breaks_ends_the_link() -> None:
    transport = FakeTransport()
    link = make(MemoryJournal(), transport)

    def handler(ids: dict[str, str], payload: bytes) -> None:
        raise AssertionError("a broken invariant")

    link.subscribe("job-notify-next", handler)
    task = asyncio.create_task(link.run())
    await up(transport)
    transport.say(Arrived(topics.build("job-notify-next", device=DEVICE), b"{}"))
    with pytest.raises(AssertionError, match="broken invariant"):
        async with asyncio.timeout(DEADLINE_S):
            await task
    assert transport.last is not None


async def test_a_link_that_dials_anew_hears_nothing_of_the_connection_before() -> None:
    transport = FakeTransport()
    link = make(MemoryJournal(), transport)
    told: asyncio.Queue[str] = asyncio.Queue()
    link.on_connected(lambda: told.put_nowait("up"))
    link.on_disconnected(lambda: told.put_nowait("down"))
    link.on_refused(told.put_nowait)
    async with running(link), asyncio.timeout(DEADLINE_S):
        await up(transport)
        assert await told.get() == "up"
        before = transport.report
        assert before is not None
        again = asyncio.create_task(link.redial())
        await asyncio.sleep(0)
        before(Down("refused", "of the old connection"))
        before(Up())
        await again
        assert await told.get() == "down"
        assert not link.connected
        before(Up())
        transport.say(Up())
        assert await told.get() == "up"
        transport.say(Down("refused", "of the new one"))
        assert (await told.get(), await told.get()) == ("down", "of the new one")
    assert told.empty()
