"""What waits on the device's disk until the cloud has stored it: which message to send, keep, drop or refuse.

Pure: feed it events with the time, carry out the effects in their order. Every effect may be the last one
before the power goes; that is why a message is appended (and synced) before it is published, and forgotten
only on the cloud's own word. Bodies are not kept here, only a few words for each message.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import assert_never

from contract.messages import Lane

Instant = float
"""Seconds of a clock that never jumps."""

LANES = (Lane.EVENTS, Lane.TELEMETRY)
"""In the order of sending; what is full drops from the other end."""
HISTORICAL_AFTER_S = 300.0
"""Telemetry that is older at its first sending moves no current value and fires no alert."""
RESEND_WAIT_MAX_S = 60.0
"""Each round without an answer doubles the wait up to here, so that a cloud that is away is not flooded."""
ROW_OVERHEAD_BYTES = 160
"""Of the disk, for each message beside its body: 110 were measured on SQLite 3.40 with a short topic."""


@dataclass(frozen=True)
class Bounds:
    """Limits of the outbox; each lane has a window of its own, so that no lane can hold the other up."""

    rows_max: int
    bytes_max: int
    window: int
    ack_timeout_s: float


@dataclass(frozen=True)
class Stored:
    """A message that an earlier boot left on the disk; `since` may lie before zero."""

    boot: str
    lane: Lane
    seq: int
    size: int
    must: bool
    since: Instant


@dataclass(frozen=True)
class Recorded:
    """The agent has something to say; `size` is the body's bytes."""

    lane: Lane
    must: bool
    size: int


@dataclass(frozen=True)
class Unwritten:
    """The disk did not take a message that was to be appended; it never existed."""

    lane: Lane
    seq: int


@dataclass(frozen=True)
class Acked:
    """The cloud has stored everything of this boot and lane up to `seq`."""

    boot: str
    lane: Lane
    seq: int


@dataclass(frozen=True)
class Connected:
    """The link is up."""


@dataclass(frozen=True)
class Disconnected:
    """The link is down."""


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come."""


Event = Recorded | Unwritten | Acked | Connected | Disconnected | TimePassed


@dataclass(frozen=True)
class Append:
    """Write the message of this event to the disk under the running boot and sync, before anything else."""

    lane: Lane
    seq: int
    must: bool


@dataclass(frozen=True)
class Forget:
    """Delete everything of this boot and lane up to `seq`: the cloud has it."""

    boot: str
    lane: Lane
    seq: int


@dataclass(frozen=True)
class Drop:
    """Delete one message that the cloud does not have; it is counted."""

    boot: str
    lane: Lane
    seq: int


@dataclass(frozen=True)
class Publish:
    """Send the message; `kept_from` is the lowest sequence of its boot and lane that is still here."""

    boot: str
    lane: Lane
    seq: int
    historical: bool
    kept_from: int


@dataclass(frozen=True)
class Refuse:
    """The message of this event is not taken: everything that is kept must be kept."""


@dataclass(frozen=True)
class Skip:
    """The message of this event is dropped at once, and counted: there is no room that it may take."""


Effect = Append | Forget | Drop | Publish | Refuse | Skip


@dataclass(slots=True)
class _Row:
    seq: int
    size: int
    must: bool
    since: Instant
    sent: Instant | None = None
    historical: bool | None = None


@dataclass(slots=True)
class _Stream:
    """The messages of one boot in one lane, oldest first; `sent_to` is the highest that was published."""

    boot: str
    rows: deque[_Row]
    sent_to: int = 0


class _Lane:
    """The streams of one lane, oldest boot first; the running boot is the last and always there."""

    def __init__(self, boot: str, ack_timeout_s: float) -> None:
        self.streams = [_Stream(boot, deque())]
        self.last_seq = 0
        self.wait_s = ack_timeout_s

    @property
    def current(self) -> _Stream:
        return self.streams[-1]

    def rows(self) -> Iterator[tuple[_Stream, _Row]]:
        return chain.from_iterable(((stream, row) for row in stream.rows) for stream in self.streams)

    def tidy(self) -> None:
        self.streams = [stream for stream in self.streams if stream.rows or stream is self.current]


class Outbox:
    """One device's outbox. `boot` is the running boot, `stored` what earlier ones left, oldest first."""

    def __init__(self, boot: str, stored: Iterable[Stored], bounds: Bounds) -> None:
        self.boot = boot
        self.connected = False
        self.rows = 0
        self.bytes = 0
        self.dropped = 0
        self.refused = 0
        self._bounds = bounds
        self._lanes = {lane: _Lane(boot, bounds.ack_timeout_s) for lane in LANES}
        for row in stored:
            self._take_over(row)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What follows from `event`, in the order in which it must be done."""
        effects: list[Effect] = []
        match event:
            case Recorded():
                effects += self._record(event, now)
            case Unwritten(lane, seq):
                self._unwrite(lane, seq)
            case Acked():
                effects += self._acknowledge(event)
            case Connected():
                self._set_connected(True)
            case Disconnected():
                self._set_connected(False)
            case TimePassed():
                pass
            case _:
                assert_never(event)
        if self.connected:
            for lane in LANES:
                effects += self._send(lane, now)
        return effects

    def deadline(self) -> Instant | None:
        """When something must be sent again, if nothing happens before."""
        waits = (
            row.sent + lane.wait_s
            for lane in self._lanes.values()
            for _, row in islice(lane.rows(), self._bounds.window)
            if row.sent is not None
        )
        return min(waits, default=None)

    def _take_over(self, row: Stored) -> None:
        assert row.boot != self.boot, "a boot is used once"
        lane = self._lanes[row.lane]
        if len(lane.streams) < 2 or lane.streams[-2].boot != row.boot:
            lane.streams.insert(-1, _Stream(row.boot, deque()))
        stream = lane.streams[-2]
        assert not stream.rows or stream.rows[-1].seq < row.seq, "stored messages come oldest first"
        self._add(stream, _Row(row.seq, row.size, row.must, row.since))

    def _record(self, event: Recorded, now: Instant) -> Iterator[Effect]:
        while not self._fits(event.size):
            oldest = self._oldest_droppable()
            if oldest is None:
                if event.must:
                    self.refused += 1
                    yield Refuse()
                else:
                    self.dropped += 1
                    yield Skip()
                return
            yield self._drop(*oldest)
        lane = self._lanes[event.lane]
        lane.last_seq += 1
        self._add(lane.current, _Row(lane.last_seq, event.size, event.must, now))
        yield Append(event.lane, lane.last_seq, event.must)

    def _fits(self, size: int) -> bool:
        return (
            self.rows < self._bounds.rows_max
            and self.bytes + size + ROW_OVERHEAD_BYTES <= self._bounds.bytes_max
        )

    def _oldest_droppable(self) -> tuple[Lane, _Stream, int] | None:
        """Bulk goes before what people wait for."""
        for lane in reversed(LANES):
            for stream in self._lanes[lane].streams:
                for position, row in enumerate(stream.rows):
                    if not row.must:
                        return lane, stream, position
        return None

    def _drop(self, lane: Lane, stream: _Stream, position: int) -> Drop:
        row = stream.rows[position]
        assert not row.must
        del stream.rows[position]
        self._remove(row)
        self.dropped += 1
        self._lanes[lane].tidy()
        return Drop(stream.boot, lane, row.seq)

    def _unwrite(self, lane: Lane, seq: int) -> None:
        stream = self._lanes[lane].current
        for position, row in enumerate(stream.rows):
            if row.seq == seq:
                del stream.rows[position]
                self._remove(row)
                if row.must:
                    self.refused += 1
                else:
                    self.dropped += 1
                return

    def _acknowledge(self, event: Acked) -> Iterator[Effect]:
        lane = self._lanes.get(event.lane)
        stream = next((s for s in lane.streams if s.boot == event.boot), None) if lane else None
        if lane is None or stream is None or not stream.rows or stream.rows[0].seq > event.seq:
            return
        if stream is lane.current and event.seq > stream.sent_to:
            return  # an answer to what was never said; whoever is confused, the messages stay
        while stream.rows and stream.rows[0].seq <= event.seq:
            self._remove(stream.rows.popleft())
        lane.wait_s = self._bounds.ack_timeout_s
        lane.tidy()
        yield Forget(event.boot, event.lane, event.seq)

    def _set_connected(self, connected: bool) -> None:
        self.connected = connected
        for lane in self._lanes.values():
            lane.wait_s = self._bounds.ack_timeout_s
            for _, row in islice(lane.rows(), self._bounds.window):
                row.sent = None

    def _send(self, name: Lane, now: Instant) -> Iterator[Effect]:
        lane = self._lanes[name]
        late = False
        for stream, row in islice(lane.rows(), self._bounds.window):
            if row.sent is not None:
                if now < row.sent + lane.wait_s:
                    continue
                late = True
            if row.historical is None:
                row.historical = name is Lane.TELEMETRY and now - row.since > HISTORICAL_AFTER_S
            row.sent = now
            stream.sent_to = max(stream.sent_to, row.seq)
            yield Publish(stream.boot, name, row.seq, row.historical, stream.rows[0].seq)
        if late:
            lane.wait_s = min(2 * lane.wait_s, max(RESEND_WAIT_MAX_S, self._bounds.ack_timeout_s))

    def _add(self, stream: _Stream, row: _Row) -> None:
        stream.rows.append(row)
        self.rows += 1
        self.bytes += row.size + ROW_OVERHEAD_BYTES

    def _remove(self, row: _Row) -> None:
        self.rows -= 1
        self.bytes -= row.size + ROW_OVERHEAD_BYTES
        assert self.rows >= 0
        assert self.bytes >= 0
