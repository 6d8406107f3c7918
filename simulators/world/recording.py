"""The recordings of a world's hall: the real recordings core, on files that say when each sound was made.

Its disk is simpler than the device's: what is written stays, and uploads are not played. What is held against
the truth is whether the recorder records when it should, and where it says that the sound belongs.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from cloud.recordings import closed
from cloud.recordings.closed import Part
from cloud.recordings.stretches import Segment
from contract.recordings import FloorAction, FloorEvent, RecordingNews, SegmentEntry
from edge_agent.recordings import messages as m
from edge_agent.recordings.core import Limits, Recorder
from edge_agent.recordings.records import FloorTurn, Record
from simulators.world.plants import Plant

BLOCK_MS = 2_000
ROOM_BYTES = 10**12
SEGMENT_S = 60.0
SHA256 = "0" * 64

Piece = tuple[int, int]
"""From when to when something was said, in true ms of the world."""
Turn = tuple[str, bool]
"""A seat, and whether it took the floor or gave it back; each happens once in a world."""


@dataclass
class Recording:
    """What is on the recorder's disk, and what it has told; `missed` is what it should have recorded.

    `effect` is called before what a power cut could halve; `send` says whether the link has taken an event.
    `turns` are those of an open sitting, with their true ms, and `bounded` those of them whose start ended
    before it was told the time.
    """

    rate_hz: int
    plant: Plant
    effect: Callable[[m.Effect], None]
    send: Callable[[FloorEvent], bool]
    records: dict[str, Record] = field(default_factory=dict)
    files: dict[tuple[str, int], list[Piece]] = field(default_factory=dict)
    told: dict[str, RecordingNews] = field(default_factory=dict)
    entries: dict[tuple[str, int], SegmentEntry] = field(default_factory=dict)
    missed: list[Piece] = field(default_factory=list)
    turns: dict[Turn, int] = field(default_factory=dict)
    bounded: set[Turn] = field(default_factory=set)
    sent: set[Turn] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._growing: list[Piece] = []
        self._core: Recorder | None = None

    def start(self, now: float) -> None:
        """The agent starts; what was being written is cut off as it is."""
        limits = Limits(self.rate_hz, SEGMENT_S, ROOM_BYTES, 0, 0)
        self._core = Recorder(limits, random.Random(0), floor=True)
        self.bounded |= {turn for record in self.records.values() for turn in _undated(record)}
        self.tell(m.Started(tuple(self.records.values())), now)

    def hear(self, position: int, piece: Piece, now: float, *, must: bool) -> None:
        """The microphone gave the sound of `piece`; `must` says that the sitting is open, by all it knows."""
        self.tell(m.Sound(position, piece[1] - piece[0]), now, piece)
        if must and (not self._growing or self._growing[-1][1] < piece[1]):
            self.missed.append(piece)

    def turn(self, turn: Turn, position: int, true_ms: int, now: float, *, must: bool) -> None:
        """The microphone system tells of the floor; `must` as in `hear`."""
        self.tell(m.FloorTold(*turn, position), now)
        if must:
            self.turns[turn] = true_ms

    @property
    def kept(self) -> set[Turn]:
        """What of the floor waits on the disk."""
        return {
            turn for record in self.records.values() for turn in (*_undated(record), *_turns(record.floor))
        }

    def tell(self, event: m.Event, now: float, piece: Piece = (0, 0)) -> None:
        """One event and all that follows from it."""
        assert self._core is not None, "the agent has started"
        events = deque([event])
        while events:
            for effect in self._core.handle(events.popleft(), now):
                if isinstance(effect, m.Save | m.SendFloor | m.SendKeptFloor):
                    self.effect(effect)
                result = self._do(effect, piece)
                if result is not None:
                    events.append(result)

    def _do(self, effect: m.Effect, piece: Piece) -> m.Event | None:
        match effect:
            case m.Save(record):
                self.records[record.recording] = self.plant.record(record)
            case m.Begin(recording, segment):
                self._growing = self.files[recording, segment] = []
            case m.Write(skip):
                self._growing.append((piece[0] + skip, piece[1]))
            case m.Close(recording, segment, _, samples):
                there = self.files.setdefault((recording, segment), [])
                there[:] = _first(
                    there, sum(end - begin for begin, end in there) if samples is None else samples
                )
                length = sum(end - begin for begin, end in there)
                return m.SegmentClosed(recording, segment, length, 44 + 2 * length, SHA256)
            case m.SendNews(news):
                self.told[news.recording] = news
                self.entries |= {(news.recording, each.segment): each for each in news.segments}
                return m.NewsTaken(news.recording, news.revision)
            case m.SendFloor(recording, event):
                return None if self._send(event) else m.FloorRefused(recording, event)
            case m.SendKeptFloor(recording, events):
                refused = next((number for number, each in enumerate(events) if not self._send(each)), None)
                return m.KeptFloorSent(recording, events[:refused], refused=refused is not None)
        return None

    def _send(self, event: FloorEvent) -> bool:
        taken = self.send(event)
        if taken:
            self.sent.add((event.seat, event.action is FloorAction.TAKEN))
        return taken

    def heard(self, turns: list[closed.Turned], recording: str, *, sure: bool) -> Iterator[Piece]:
        """When what people hear of a recording was said; `sure` takes positions for the truth."""
        segments = [
            _segment(each, sure=sure) for (name, _), each in sorted(self.entries.items()) if name == recording
        ]
        for part in closed.cut(segments, closed.shut(turns)).parts:
            yield from self._pieces(recording, part)

    def _pieces(self, recording: str, part: Part) -> Iterator[Piece]:
        pieces = self.files[recording, part.segment.number]
        skipped = _first(pieces, part.skip_ms)
        until = _first(pieces, part.skip_ms + part.duration_ms)
        for number, (begin, end) in enumerate(until):
            first = skipped[number][1] if number < len(skipped) else begin
            if first < end:
                yield first, end


def _turns(floor: Iterable[FloorTurn]) -> list[Turn]:
    return [(each.seat, each.on) for each in floor]


def _undated(record: Record) -> list[Turn]:
    return [turn for each in record.undated for turn in _turns(each.floor)]


def _first(pieces: list[Piece], length_ms: int) -> list[Piece]:
    found: list[Piece] = []
    for begin, end in pieces:
        taken = min(length_ms, end - begin)
        if taken > 0:
            found.append((begin, begin + taken))
        length_ms -= taken
    return found


def _segment(entry: SegmentEntry, *, sure: bool) -> Segment:
    assert entry.early_ms is not msgspec.UNSET, "this recorder says how sure it is"
    assert entry.late_ms is not msgspec.UNSET, "this recorder says how sure it is"
    early_ms, late_ms = (0, 0) if sure else (entry.early_ms, entry.late_ms)
    return Segment(
        entry.segment,
        entry.start_ms,
        entry.duration_ms,
        entry.size,
        entry.sha256,
        "",
        early_ms,
        late_ms,
    )
