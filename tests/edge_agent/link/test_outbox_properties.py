"""Whatever happens in whatever order: nothing is forgotten too early, nothing grows without end.

The machine below plays disk, broker and cloud around the outbox; hypothesis looks for an order that breaks
it.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contract.messages import Lane
from edge_agent.link.outbox import (
    Acked,
    Append,
    Bounds,
    Connected,
    Disconnected,
    Drop,
    Event,
    Forget,
    Outbox,
    Publish,
    Recorded,
    Refuse,
    Skip,
    Stored,
    TimePassed,
    Unwritten,
)

BOUNDS = Bounds(rows_max=8, bytes_max=8_000, window=3, ack_timeout_s=10.0)
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
        self.start()

    def start(self) -> None:
        self.boot += 1
        order = sorted(self.disk, key=lambda key: (int(key[0]), key[1], key[2]))
        rows = [Stored(*key, self.disk[key][0], self.disk[key][1], self.now) for key in order]
        self.box = Outbox(str(self.boot), rows, BOUNDS)

    def feed(self, event: Event) -> None:
        before = set(self.disk)
        for effect in self.box.handle(event, self.now):
            match effect:
                case Append(lane, seq, must):
                    assert isinstance(event, Recorded)
                    if self.disk_full:
                        self.box.handle(Unwritten(lane, seq), self.now)
                        continue
                    self.disk[str(self.boot), lane, seq] = (event.size, must)
                    if must:
                        self.promised.add((str(self.boot), lane, seq))
                case Forget(boot, lane, seq):
                    for key in [k for k in self.disk if k[:2] == (boot, lane) and k[2] <= seq]:
                        assert key in self.stored, f"{key} forgotten, and the cloud has it not"
                        del self.disk[key]
                case Drop(boot, lane, seq):
                    assert (boot, lane, seq) in before
                    assert not self.disk.pop((boot, lane, seq))[1], "what must be kept was dropped"
                    self.dropped.add((boot, lane, seq))
                case Publish(boot, lane, seq):
                    if (boot, lane, seq) in self.disk:
                        assert effect.kept_from <= min(k[2] for k in self.disk if k[:2] == (boot, lane))
                        self.on_the_way.append(effect)
                case Refuse() | Skip():
                    pass

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

    @rule()
    def power_cut(self) -> None:
        self.on_the_way.clear()
        self.start()

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
    def everything_is_bounded(self) -> None:
        assert self.box.rows <= BOUNDS.rows_max
        assert self.box.bytes <= BOUNDS.bytes_max

    @invariant()
    def the_core_knows_what_is_on_the_disk(self) -> None:
        assert self.box.rows == len(self.disk)

    def teardown(self) -> None:
        """Once the world has healed, everything that was kept arrives."""
        self.disk_full = False
        self.on_the_way.clear()
        self.feed(Connected())
        for _ in range(200):
            if not self.disk:
                return
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
