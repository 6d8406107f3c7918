"""Whatever happens in whatever order: nothing is forgotten too early, nothing grows without end.

The machine below plays disk, broker and cloud around the outbox; hypothesis looks for an order that breaks
it.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contract.link import RANGES_MAX, Dropped, DroppedRange, check_dropped
from contract.messages import Lane, read
from edge_agent.link.outbox import (
    Acked,
    Append,
    Bounds,
    ClockTrusted,
    Connected,
    Declare,
    Disconnected,
    DiskFull,
    Drop,
    Effect,
    Event,
    Forget,
    HangUp,
    MakeReserve,
    Outbox,
    Publish,
    Recorded,
    Refuse,
    ReserveMade,
    Skip,
    Stored,
    TimePassed,
    Undatable,
    Undeclared,
    Unheard,
    Unwritten,
)

BOUNDS = Bounds(rows_max=8, bytes_max=8_000, window=3, ack_timeout_s=10.0, age_max_s=5_000.0)
Key = tuple[str, Lane, int]


class Worldlet(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.boot = 0
        self.disk: dict[Key, tuple[int, bool]] = {}
        self.stored: set[Key] = set()
        self.kept_from: dict[tuple[str, Lane], int] = {}
        self.on_the_way: list[Publish] = []
        self.promised: set[Key] = set()
        self.dropped: set[Key] = set()
        self.disk_full = False
        self.pending: tuple[DroppedRange, ...] = ()
        self.declared: dict[Key, tuple[DroppedRange, ...]] = {}
        self.skipped = 0
        self.start()

    def start(self) -> None:
        self.boot += 1
        order = sorted(self.disk, key=lambda key: (int(key[0]), key[1], key[2]))
        rows = [Stored(*key, self.disk[key][0], self.disk[key][1], self.now) for key in order]
        told = sum((*self.declared.values(), self.pending), ())
        self.skipped = sum(each.count for each in told) - len(self.dropped)
        trusted = self.boot % 3 != 2
        self.box = Outbox(str(self.boot), rows, BOUNDS, self.pending, clock_trusted=trusted)
        undated = str(self.boot - 1)
        for boot, lane, seq in order if self.boot % 3 == 0 else []:
            if boot == undated and lane is Lane.TELEMETRY and not self.disk[boot, lane, seq][1]:
                self.feed(Undatable(boot, lane, seq))

    def feed(self, event: Event) -> None:
        for effect in self.box.handle(event, self.now):
            self.do(effect, event)

    def do(self, effect: Effect, event: Event) -> None:
        boot = str(self.boot)
        match effect:
            case Append(lane, seq, must):
                assert isinstance(event, Recorded)
                if self.disk_full:
                    self.box.handle(Unwritten(lane, seq), self.now)
                    self.box.handle(DiskFull(), self.now)
                    self.skipped += not must
                    return
                assert (boot, lane, seq) not in self.stored, "a number was used twice"
                self.disk[boot, lane, seq] = (event.size, must)
                if must:
                    self.promised.add((boot, lane, seq))
            case Declare(seq, body, ranges, pending):
                if self.disk_full:
                    self.box.handle(Undeclared(seq, ranges), self.now)
                    return
                check_dropped(read(body, Dropped))
                self.disk[boot, Lane.EVENTS, seq] = (len(body), True)
                self.promised.add((boot, Lane.EVENTS, seq))
                self.declared[boot, Lane.EVENTS, seq] = ranges
                self.pending = pending
            case Forget(of, lane, seq):
                for key in [k for k in self.disk if k[:2] == (of, lane) and k[2] <= seq]:
                    assert key in self.stored, f"{key} forgotten, and the cloud has it not"
                    del self.disk[key]
            case Drop(of, lane, seq, pending):
                assert not self.disk.pop((of, lane, seq))[1], "what must be kept was dropped"
                self.dropped.add((of, lane, seq))
                self.pending = pending
            case Publish(of, lane, seq):
                if (of, lane, seq) in self.disk:
                    assert effect.kept_from <= min(k[2] for k in self.disk if k[:2] == (of, lane))
                    self.on_the_way.append(effect)
            case Skip(pending):
                self.skipped += 1
                self.pending = pending
            case Refuse():
                pass
            case MakeReserve():
                if not self.disk_full:
                    self.feed(ReserveMade())
            case HangUp():
                self.on_the_way.clear()

    @rule(lane=st.sampled_from([Lane.EVENTS, Lane.TELEMETRY]), must=st.booleans(), size=st.integers(1, 3000))
    def record(self, lane: Lane, must: bool, size: int) -> None:
        self.feed(Recorded(lane, must, size))

    @rule()
    def connect(self) -> None:
        self.feed(Connected())

    @rule()
    def disconnect(self) -> None:
        self.on_the_way.clear()
        self.feed(Disconnected())

    @rule(seconds=st.sampled_from([0.1, 5.0, 30.0, 1000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.feed(TimePassed())

    @rule(which=st.integers(0, 100), share=st.floats(0, 1))
    def nobody_hears(self, which: int, share: float) -> None:
        if self.on_the_way:
            lost = self.on_the_way.pop(which % len(self.on_the_way))
            self.feed(Unheard(lost.boot, lost.lane, lost.seq, share))

    @rule()
    def power_cut(self) -> None:
        self.on_the_way.clear()
        self.start()

    @rule()
    def tell_the_time(self) -> None:
        self.feed(ClockTrusted())

    @rule(full=st.booleans())
    def fill_the_disk(self, full: bool) -> None:
        self.disk_full = full

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data(), lost=st.booleans())
    def arrive(self, data: st.DataObject, lost: bool) -> None:
        position = data.draw(st.integers(0, len(self.on_the_way) - 1))
        message = self.on_the_way.pop(position) if data.draw(st.booleans()) else self.on_the_way[position]
        if lost:
            return
        stream = (message.boot, message.lane)
        self.stored.add((*stream, message.seq))
        self.kept_from[stream] = max(self.kept_from.get(stream, 1), message.kept_from)

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        boot, lane, _ = data.draw(st.sampled_from(sorted(self.stored)))
        seq = self.watermark(boot, lane)
        if seq:
            self.feed(Acked(boot, lane, seq))

    def watermark(self, boot: str, lane: Lane) -> int:
        seq = self.kept_from.get((boot, lane), 1) - 1
        while (boot, lane, seq + 1) in self.stored:
            seq += 1
        return seq

    @invariant()
    def what_must_be_kept_is_kept_until_it_is_stored(self) -> None:
        assert self.promised <= self.stored | set(self.disk)

    @invariant()
    def every_drop_is_declared_once_or_will_be(self) -> None:
        told = [each for ranges in self.declared.values() for each in ranges]
        told += self.box.pending
        numbers = [
            (each.boot, each.lane, seq)
            for each in told
            if each.from_seq
            for seq in range(each.from_seq, each.to_seq + 1)
        ]
        assert len(numbers) == len(set(numbers)), "declared twice"
        assert self.dropped <= set(numbers)
        assert not set(numbers) & (self.stored | set(self.disk)) - self.dropped
        assert sum(each.count for each in told) == len(self.dropped) + self.skipped

    @invariant()
    def everything_is_bounded(self) -> None:
        assert self.box.rows <= BOUNDS.rows_max
        assert self.box.bytes <= BOUNDS.bytes_max
        assert len(self.box.pending) < RANGES_MAX + BOUNDS.rows_max

    @invariant()
    def the_core_knows_what_is_on_the_disk(self) -> None:
        assert self.box.rows == len(self.disk)

    def teardown(self) -> None:
        """Once the world has healed, everything that was kept arrives."""
        self.disk_full = False
        self.on_the_way.clear()
        self.feed(ClockTrusted())
        self.feed(Connected())
        for _ in range(200):
            if not self.disk and not self.box.pending:
                return
            if not self.box.connected:
                self.feed(Connected())
            for message in self.on_the_way:
                stream = (message.boot, message.lane)
                self.stored.add((*stream, message.seq))
                self.kept_from[stream] = max(self.kept_from.get(stream, 1), message.kept_from)
            self.on_the_way.clear()
            for boot, lane in sorted(self.kept_from):
                self.feed(Acked(boot, lane, self.watermark(boot, lane)))
            self.now += 61.0
            self.feed(TimePassed())
        raise AssertionError(f"the world healed, yet {sorted(self.disk)} still wait")


TestWorldlet = Worldlet.TestCase
TestWorldlet.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
