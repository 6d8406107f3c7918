"""The recordings of a world's hall: the real recordings core, on files that say when each sound was made.

Its disk is simpler than the device's: what is written stays, and uploads are not played. What is held against
the truth is whether the recorder records when it should, and where it says that the sound belongs.
"""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from cloud.recordings import closed
from cloud.recordings.closed import Part
from cloud.recordings.stretches import Segment
from contract.recordings import RecordingNews, SegmentEntry
from edge_agent.recordings import messages as m
from edge_agent.recordings.core import Limits, Recorder
from edge_agent.recordings.records import Record

BLOCK_MS = 2_000
ROOM_BYTES = 10**12
SEGMENT_S = 60.0
SHA256 = "0" * 64

Piece = tuple[int, int]
"""From when to when something was said, in true ms of the world."""


@dataclass
class Recording:
    """What is on the recorder's disk, and what it has told; `missed` is what it should have recorded."""

    rate_hz: int
    records: dict[str, Record] = field(default_factory=dict)
    files: dict[tuple[str, int], list[Piece]] = field(default_factory=dict)
    told: dict[str, RecordingNews] = field(default_factory=dict)
    entries: dict[tuple[str, int], SegmentEntry] = field(default_factory=dict)
    missed: list[Piece] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._growing: list[Piece] = []
        self._core: Recorder | None = None

    def start(self, now: float) -> None:
        """The agent starts; what was being written is cut off as it is."""
        limits = Limits(self.rate_hz, SEGMENT_S, ROOM_BYTES, 0, 0)
        self._core = Recorder(limits, random.Random(0), floor=False)
        self.tell(m.Started(tuple(self.records.values())), now)

    def hear(self, position: int, piece: Piece, now: float, *, must: bool) -> None:
        """The microphone gave the sound of `piece`; `must` says that the sitting is open, by all it knows."""
        self.tell(m.Sound(position, piece[1] - piece[0]), now, piece)
        if must and (not self._growing or self._growing[-1][1] < piece[1]):
            self.missed.append(piece)

    def tell(self, event: m.Event, now: float, piece: Piece = (0, 0)) -> None:
        """One event and all that follows from it."""
        assert self._core is not None, "the agent has started"
        events = deque([event])
        while events:
            for effect in self._core.handle(events.popleft(), now):
                result = self._do(effect, piece)
                if result is not None:
                    events.append(result)

    def _do(self, effect: m.Effect, piece: Piece) -> m.Event | None:
        match effect:
            case m.Save(record):
                self.records[record.recording] = record
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
        return None

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
