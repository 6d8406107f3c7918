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

from contract.link import RANGES_MAX, Dropped, DroppedRange, Why
from contract.messages import Lane, encode
from edge_agent.link.tally import Tally

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
DECLARE_EVERY_S = 60.0
"""What was dropped is declared no more often, unless one declaration is full."""
WORK_SHARE = 0.9
"""Above this share of the bounds new work is refused, so that what is under way can still be told."""
RESERVE_EVERY_S = 30.0
"""How often a disk that was full is tried again."""
UNHEARD_WAIT_MIN_S, UNHEARD_WAIT_MAX_S = 1.0, 60.0
"""Messages that the broker could give to nobody are sent again after so long, by chance half of it less; the
wait doubles with each round."""
SILENT_TIMEOUTS = 6
"""So many times `ack_timeout_s` without any acknowledgement, and the connection is given up."""
SILENT_MAX_S = 3600.0
"""Each connection given up so doubles the patience up to here: it may be the cloud that is away."""


@dataclass(frozen=True)
class Bounds:
    """Limits of the outbox; each lane has a window of its own, so that no lane can hold the other up."""

    rows_max: int
    bytes_max: int
    window: int
    ack_timeout_s: float
    age_max_s: float = float("inf")
    """Telemetry that is older is dropped."""
    declare_every_s: float = DECLARE_EVERY_S
    reserve_every_s: float = RESERVE_EVERY_S


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
class LeftOut:
    """Something of a lane will never be a message, because of `why`; it is declared with what is dropped."""

    lane: Lane
    why: Why


@dataclass(frozen=True)
class Unwritten:
    """The disk did not take a message that was to be appended; it never existed.

    Of several, also declarations, the last is told first: the last number of a lane is given anew.
    """

    lane: Lane
    seq: int


@dataclass(frozen=True)
class Undeclared:
    """The disk did not take a declaration that was to be kept; its ranges wait for the next one."""

    seq: int
    ranges: tuple[DroppedRange, ...]


@dataclass(frozen=True)
class DiskFull:
    """The disk took nothing, and the reserve was given up for what must be kept."""


@dataclass(frozen=True)
class ReserveMade:
    """There is room again, and the reserve has its place."""


@dataclass(frozen=True)
class ClockTrusted:
    """From now on it is known when this boot's samples were taken."""


@dataclass(frozen=True)
class Undatable:
    """Nobody will ever know when this sample of an earlier boot was taken."""

    boot: str
    lane: Lane
    seq: int


@dataclass(frozen=True)
class Acked:
    """The cloud has stored everything of this boot and lane up to `seq`."""

    boot: str
    lane: Lane
    seq: int


@dataclass(frozen=True)
class Unheard:
    """The broker had nobody to give this message to: the cloud has not come back yet.

    `share` of the wait's uncertain half is by chance, between 0 and 1.
    """

    boot: str
    lane: Lane
    seq: int
    share: float


@dataclass(frozen=True)
class Connected:
    """The link is up."""


@dataclass(frozen=True)
class Disconnected:
    """The link is down."""


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come."""


Event = (
    Recorded
    | LeftOut
    | Unwritten
    | Undeclared
    | DiskFull
    | ReserveMade
    | ClockTrusted
    | Undatable
    | Acked
    | Unheard
    | Connected
    | Disconnected
    | TimePassed
)


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
    """Delete one message that the cloud does not have, and write down `pending` with it, both or neither.

    `pending` is everything that is dropped and not declared yet.
    """

    boot: str
    lane: Lane
    seq: int
    pending: tuple[DroppedRange, ...]


@dataclass(frozen=True)
class Declare:
    """Append `body`, which tells the cloud of `ranges`, as a `must` event; `pending` is what is then left."""

    seq: int
    body: bytes
    ranges: tuple[DroppedRange, ...]
    pending: tuple[DroppedRange, ...]


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
    """What this event tells of is dropped at once, for lack of room or as it says; `pending` counts it."""

    pending: tuple[DroppedRange, ...]


@dataclass(frozen=True)
class MakeReserve:
    """Try to make the reserve again; `ReserveMade` if there was room."""


@dataclass(frozen=True)
class HangUp:
    """Give the connection up: nobody has answered on it for long."""


Effect = Append | Forget | Drop | Declare | Publish | Refuse | Skip | MakeReserve | HangUp


@dataclass(slots=True)
class _Row:
    seq: int
    size: int
    must: bool
    since: Instant
    sent: Instant | None = None
    again: Instant | None = None
    """When it goes out again although nobody was late."""
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
        self.unheard_s = UNHEARD_WAIT_MIN_S
        self.again: Instant | None = None

    @property
    def current(self) -> _Stream:
        return self.streams[-1]

    def rows(self) -> Iterator[tuple[_Stream, _Row]]:
        return chain.from_iterable(((stream, row) for row in stream.rows) for stream in self.streams)

    def tidy(self) -> None:
        self.streams = [stream for stream in self.streams if stream.rows or stream is self.current]


class Outbox:
    """One device's outbox. `boot` is the running boot, `stored` what earlier ones left, oldest first.

    `pending` is what they dropped and did not declare; samples wait for `clock_trusted`.
    """

    def __init__(
        self,
        boot: str,
        stored: Iterable[Stored],
        bounds: Bounds,
        pending: Iterable[DroppedRange] = (),
        *,
        clock_trusted: bool = True,
    ) -> None:
        self.boot = boot
        self.connected = False
        self.clock_trusted = clock_trusted
        self.scarce = False
        """The disk was full, and the reserve is in use: only what must be kept is written."""
        self.rows = 0
        self.bytes = 0
        self.dropped = 0
        self.refused = 0
        self._must_rows = 0
        self._must_bytes = 0
        self._bounds = bounds
        self._tally = Tally(boot, pending)
        self._declare_at: Instant = -bounds.declare_every_s
        self._reserve_at: Instant = 0.0
        self._silent_since: Instant | None = None
        self._patience_s = SILENT_TIMEOUTS * bounds.ack_timeout_s
        self._lanes = {lane: _Lane(boot, bounds.ack_timeout_s) for lane in LANES}
        for row in stored:
            self._take_over(row)

    @property
    def pending(self) -> tuple[DroppedRange, ...]:
        """What is dropped and not declared yet."""
        return self._tally.ranges

    @property
    def full(self) -> bool:
        """Whether new work is to be refused: little more than what is under way could still be told."""
        return (
            self.scarce
            or self._must_rows > WORK_SHARE * self._bounds.rows_max
            or self._must_bytes > WORK_SHARE * self._bounds.bytes_max
        )

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What follows from `event`, in the order in which it must be done."""
        effects: list[Effect] = []
        match event:
            case Recorded():
                effects += self._record(event, now)
            case LeftOut(lane, why):
                effects.append(self._skip(lane, why))
            case Unwritten() | Undeclared() | DiskFull():
                self._bear(event, now)
                return []  # nothing is tried on a disk that has just said no
            case ReserveMade():
                self.scarce = False
            case ClockTrusted():
                self.clock_trusted = True
            case Undatable(boot, lane, seq):
                effects += self._discard(boot, lane, seq)
            case Acked():
                effects += self._acknowledge(event, now)
            case Unheard():
                self._send_again(event, now)
            case Connected() | Disconnected():
                self._set_connected(isinstance(event, Connected))
            case TimePassed():
                effects += self._look_around(now)
            case _:
                assert_never(event)
        effects += self._declare(now)
        if self.connected:
            for lane in LANES:
                effects += self._send(lane, now)
        return effects

    def deadline(self) -> Instant | None:
        """When something must be done, if nothing happens before."""
        waits = [
            self._due(lane, row)
            for lane in self._lanes.values()
            for _, row in self._window(lane)
            if row.sent is not None
        ]
        if self.scarce:
            waits.append(self._reserve_at)
        if self.connected and self._tally:
            waits.append(self._declare_at)
        if self._silent_since is not None:
            waits.append(self._silent_since + self._patience_s)
        return min(waits, default=None)

    def _bear(self, event: Unwritten | Undeclared | DiskFull, now: Instant) -> None:
        match event:
            case Unwritten(lane, seq):
                self._unwrite(lane, seq)
            case Undeclared(seq, ranges):
                self._take_back(Lane.EVENTS, seq)
                self._tally.put_back(ranges)
                self._declare_at = now + self._bounds.declare_every_s
            case DiskFull():
                self.scarce, self._reserve_at = True, now + self._bounds.reserve_every_s

    def _look_around(self, now: Instant) -> Iterator[Effect]:
        if self.scarce and now >= self._reserve_at:
            self._reserve_at = now + self._bounds.reserve_every_s
            yield MakeReserve()
        if self._silent_since is not None and now >= self._silent_since + self._patience_s:
            self._patience_s = min(2 * self._patience_s, max(SILENT_MAX_S, self._patience_s))
            self._set_connected(False)
            yield HangUp()

    def _take_over(self, row: Stored) -> None:
        assert row.boot != self.boot, "a boot is used once"
        lane = self._lanes[row.lane]
        if len(lane.streams) < 2 or lane.streams[-2].boot != row.boot:
            lane.streams.insert(-1, _Stream(row.boot, deque()))
        stream = lane.streams[-2]
        assert not stream.rows or stream.rows[-1].seq < row.seq, "stored messages come oldest first"
        self._add(stream, _Row(row.seq, row.size, row.must, row.since))

    def _record(self, event: Recorded, now: Instant) -> Iterator[Effect]:
        yield from self._drop_aged(now)
        if self.scarce and not event.must:
            yield self._skip(event.lane, Why.DISK)
            return
        while (why := self._lacks(event.size)) is not None:
            oldest = self._oldest_droppable()
            if oldest is None:
                if event.must:
                    self.refused += 1
                    yield Refuse()
                else:
                    yield self._skip(event.lane, why)
                return
            yield self._drop(*oldest, why)
        yield Append(event.lane, self._number(event.lane, event.size, event.must, now), event.must)

    def _number(self, name: Lane, size: int, must: bool, now: Instant) -> int:
        lane = self._lanes[name]
        lane.last_seq += 1
        self._add(lane.current, _Row(lane.last_seq, size, must, now))
        return lane.last_seq

    def _lacks(self, size: int) -> Why | None:
        if self.rows >= self._bounds.rows_max:
            return Why.ROWS
        if self.bytes + size + ROW_OVERHEAD_BYTES > self._bounds.bytes_max:
            return Why.BYTES
        return None

    def _oldest_droppable(self) -> tuple[Lane, _Stream, int] | None:
        """Bulk goes before what people wait for."""
        for lane in reversed(LANES):
            for stream in self._lanes[lane].streams:
                for position, row in enumerate(stream.rows):
                    if not row.must:
                        return lane, stream, position
        return None

    def _drop_aged(self, now: Instant) -> Iterator[Effect]:
        while True:
            oldest = self._oldest_droppable()
            if oldest is None or oldest[0] is not Lane.TELEMETRY:
                return
            _, stream, position = oldest
            if now - stream.rows[position].since <= self._bounds.age_max_s:
                return
            yield self._drop(*oldest, Why.AGE)

    def _drop(self, lane: Lane, stream: _Stream, position: int, why: Why) -> Drop:
        row = stream.rows[position]
        assert not row.must
        del stream.rows[position]
        self._remove(row)
        self.dropped += 1
        self._lanes[lane].tidy()
        self._tally.note(stream.boot, lane, row.seq, why)
        return Drop(stream.boot, lane, row.seq, self._tally.ranges)

    def _skip(self, lane: Lane, why: Why) -> Skip:
        self.dropped += 1
        self._tally.note_unnumbered(lane, why)
        return Skip(self._tally.ranges)

    def _discard(self, boot: str, lane: Lane, seq: int) -> Iterator[Effect]:
        for stream in self._lanes[lane].streams:
            for position, row in enumerate(stream.rows):
                if (stream.boot, row.seq) == (boot, seq):
                    yield self._drop(lane, stream, position, Why.CLOCK)
                    return

    def _declare(self, now: Instant) -> Iterator[Effect]:
        """Tell the cloud what was dropped, if it is time; what takes no room then waits for another time."""
        if not self._tally:
            return
        due = self.connected and now >= self._declare_at
        if not due and (len(self._tally) < RANGES_MAX or self.scarce):
            return
        while True:
            ranges = self._tally.first()
            body = encode(Dropped(ranges=list(ranges)))
            why = self._lacks(len(body))
            if why is None:
                break
            oldest = self._oldest_droppable()
            if oldest is None:
                self._declare_at = now + self._bounds.declare_every_s
                return
            yield self._drop(*oldest, why)
        self._tally.declared(ranges)
        self._declare_at = now + self._bounds.declare_every_s
        seq = self._number(Lane.EVENTS, len(body), True, now)
        yield Declare(seq, body, ranges, self._tally.ranges)

    def _unwrite(self, lane: Lane, seq: int) -> None:
        taken = self._take_back(lane, seq)
        if taken is None:
            return
        row, numbered = taken
        if row.must:
            self.refused += 1
            return
        self.dropped += 1
        if numbered:
            self._tally.note(self.boot, lane, seq, Why.DISK)
        else:
            self._tally.note_unnumbered(lane, Why.DISK)

    def _take_back(self, name: Lane, seq: int) -> tuple[_Row, bool] | None:
        """The row that never was, and whether its number stays a gap: the last one is given anew."""
        lane = self._lanes[name]
        stream = lane.current
        for position, row in enumerate(stream.rows):
            if row.seq == seq:
                del stream.rows[position]
                self._remove(row)
                last = seq == lane.last_seq
                if last:
                    lane.last_seq -= 1
                    stream.sent_to = min(stream.sent_to, lane.last_seq)
                return row, not last
        return None

    def _acknowledge(self, event: Acked, now: Instant) -> Iterator[Effect]:
        self._patience_s = SILENT_TIMEOUTS * self._bounds.ack_timeout_s
        if self._silent_since is not None:
            self._silent_since = now
        lane = self._lanes.get(event.lane)
        stream = next((s for s in lane.streams if s.boot == event.boot), None) if lane else None
        if lane is None or stream is None or not stream.rows or stream.rows[0].seq > event.seq:
            return
        if stream is lane.current and event.seq > stream.sent_to:
            return  # an answer to what was never said; whoever is confused, the messages stay
        while stream.rows and stream.rows[0].seq <= event.seq:
            self._remove(stream.rows.popleft())
        lane.wait_s = self._bounds.ack_timeout_s
        lane.unheard_s = UNHEARD_WAIT_MIN_S
        lane.tidy()
        if not any(row.sent is not None for each in self._lanes.values() for _, row in self._window(each)):
            self._silent_since = None
        yield Forget(event.boot, event.lane, event.seq)

    def _send_again(self, event: Unheard, now: Instant) -> None:
        """Those of one round go together; an answer that is overdue anyway is not waited for longer."""
        lane = self._lanes.get(event.lane)
        sent = self._window(lane) if lane is not None and self.connected else ()
        row = next((row for stream, row in sent if (stream.boot, row.seq) == (event.boot, event.seq)), None)
        if lane is None or row is None or row.sent is None:
            return
        if lane.again is None or lane.again <= now:
            lane.again = now + lane.unheard_s * (1 + event.share) / 2
            lane.unheard_s = min(2 * lane.unheard_s, UNHEARD_WAIT_MAX_S)
        if lane.again < self._due(lane, row):
            row.again = lane.again

    def _set_connected(self, connected: bool) -> None:
        self.connected = connected
        self._silent_since = None
        for lane in self._lanes.values():
            lane.wait_s = self._bounds.ack_timeout_s
            lane.unheard_s, lane.again = UNHEARD_WAIT_MIN_S, None
            for _, row in self._window(lane):
                row.sent = row.again = None

    @staticmethod
    def _due(lane: _Lane, row: _Row) -> Instant:
        """When a message that was sent goes out again."""
        assert row.sent is not None
        return row.sent + lane.wait_s if row.again is None else row.again

    def _window(self, lane: _Lane) -> Iterator[tuple[_Stream, _Row]]:
        return islice(lane.rows(), self._bounds.window)

    def _send(self, name: Lane, now: Instant) -> Iterator[Effect]:
        lane = self._lanes[name]
        late = False
        for stream, row in self._window(lane):
            if name is Lane.TELEMETRY and stream is lane.current and not self.clock_trusted:
                break  # nobody knows yet when these samples were taken
            if row.sent is not None:
                if now < self._due(lane, row):
                    continue
                late = late or row.again is None
                row.again = None
            if row.historical is None:
                row.historical = name is Lane.TELEMETRY and now - row.since > HISTORICAL_AFTER_S
            row.sent = now
            if self._silent_since is None:
                self._silent_since = now
            stream.sent_to = max(stream.sent_to, row.seq)
            yield Publish(stream.boot, name, row.seq, row.historical, stream.rows[0].seq)
        if late:
            lane.wait_s = min(2 * lane.wait_s, max(RESEND_WAIT_MAX_S, self._bounds.ack_timeout_s))

    def _add(self, stream: _Stream, row: _Row) -> None:
        stream.rows.append(row)
        self.rows += 1
        self.bytes += row.size + ROW_OVERHEAD_BYTES
        if row.must:
            self._must_rows += 1
            self._must_bytes += row.size + ROW_OVERHEAD_BYTES

    def _remove(self, row: _Row) -> None:
        self.rows -= 1
        self.bytes -= row.size + ROW_OVERHEAD_BYTES
        if row.must:
            self._must_rows -= 1
            self._must_bytes -= row.size + ROW_OVERHEAD_BYTES
        assert self.rows >= 0
        assert self.bytes >= 0
