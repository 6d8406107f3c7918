"""Which sound of a sitting may be heard and read afterwards: what was said while it was open. Pure.

A recorder is told of a closing a moment after it, and one without a link hears of it much later. What it
had recorded until then is cut out here, by the server's own times of the sitting: from the copy to listen to,
from what is transcribed, and from drafts. Times are ms since the sitting was opened.

A position is not the truth: sound may have been said a little before or after it. What may be of a closed
part is cut; sound at the edge of a break is cut at the edge, unless nobody knows within seconds when it was
said.
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cloud.recordings.joining import FloorChange
from cloud.recordings.stretches import Segment
from contract.recordings import DRIFT

OPEN = "open"
CLOSED = "closed_to_public"
LATE_UNKNOWN_MS = 2_000
"""Of a recorder that does not say how sure it is: a second of the server's time, and an answer's way."""
EDGE_MS = 5_000
"""Sound that may be so much further from its position is treated at a break as at a closed part."""
FOR_EVER_MS = 2**53
_SIGNATURE_DIGITS = 16


@dataclass(frozen=True)
class Turned:
    """The sitting came into `state`; `at_ms` is not rounded."""

    at_ms: float
    state: str


@dataclass(frozen=True)
class Shut:
    """A time in which the sitting was not open; `closed` says whether the public was excluded."""

    begin_ms: int
    end_ms: int
    closed: bool


@dataclass(frozen=True)
class Part:
    """Sound of a segment that remains: `duration_ms` from `skip_ms` of it on, said at `start_ms`."""

    segment: Segment
    skip_ms: int
    start_ms: int
    duration_ms: int


@dataclass(frozen=True)
class Cut:
    """What remains of a recording, in the order of its sound, and which times were cut out."""

    parts: tuple[Part, ...]
    removed: tuple[tuple[int, int], ...]

    @property
    def total_ms(self) -> int:
        """How long the remaining sound is."""
        return sum(part.duration_ms for part in self.parts)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The parts for a `Timeline`."""
        return [(part.start_ms, part.duration_ms) for part in self.parts]

    @property
    def signature(self) -> str:
        """Another one for every other cut; '' where nothing was cut out."""
        if not self.removed:
            return ""
        told = repr([(part.segment.number, part.skip_ms, part.duration_ms) for part in self.parts])
        return hashlib.sha256(told.encode()).hexdigest()[:_SIGNATURE_DIGITS]

    def shows(self, start_ms: int, end_ms: int) -> bool:
        """Whether nothing from `start_ms` to `end_ms` was cut out."""
        return not any(start_ms < end and end_ms > begin for begin, end in self.removed)

    def breaks_between(self, first_ms: int, second_ms: int) -> bool:
        """Whether something that was cut out begins between two moments."""
        begins = [begin for begin, _ in self.removed]
        return bisect_right(begins, first_ms) != bisect_right(begins, second_ms)


def shut(turns: Iterable[Turned]) -> list[Shut]:
    """When the sitting was not open, from its opening on for ever; `turns` are in their order."""
    found: list[Shut] = []
    begin, state = 0, CLOSED  # what nobody ever opened is nobody's to hear
    for turn in turns:
        if state != OPEN and math.ceil(turn.at_ms) > begin:
            found.append(Shut(begin, math.ceil(turn.at_ms), state == CLOSED))
        begin, state = max(math.floor(turn.at_ms), begin), turn.state
    return found if state == OPEN else [*found, Shut(begin, FOR_EVER_MS, state == CLOSED)]


def cut(segments: Iterable[Segment], times: Sequence[Shut]) -> Cut:
    """What remains of the segments where everything is cut out that may have been said in `times`."""
    parts: list[Part] = []
    removed: list[tuple[int, int]] = []
    until = 0
    for segment in segments:
        start = max(segment.start_ms, until)
        until = start + segment.duration_ms
        at = start
        for begin, end in sorted(_reach(segment, start - segment.start_ms, each) for each in times):
            begin, end = max(begin, at), min(end, until)
            if begin < end:
                parts += _part(segment, start, at, begin)
                removed.append((begin, end))
                at = end
        parts += _part(segment, start, at, until)
    return Cut(tuple(parts), tuple(_joined(removed)))


def _reach(segment: Segment, moved_ms: int, time: Shut) -> tuple[int, int]:
    """Positions of the segment whose sound may be of that time; it was moved by `moved_ms` into its place."""
    drift_ms = int((segment.start_ms + segment.duration_ms) * DRIFT) + 1
    early_ms = moved_ms + (drift_ms if segment.early_ms is None else segment.early_ms)
    late_ms = LATE_UNKNOWN_MS + drift_ms if segment.late_ms is None else segment.late_ms
    if not time.closed and early_ms + late_ms <= EDGE_MS + 2 * drift_ms:
        return time.begin_ms, time.end_ms
    return time.begin_ms - late_ms, time.end_ms + early_ms


def _part(segment: Segment, start_ms: int, begin_ms: int, end_ms: int) -> list[Part]:
    if begin_ms >= end_ms:
        return []
    return [Part(segment, begin_ms - start_ms, begin_ms, end_ms - begin_ms)]


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for begin, end in spans:
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


def floor_of_the_open(changes: Iterable[FloorChange], times: Sequence[Shut]) -> list[FloorChange]:
    """The floor without what happened in `times`; who has it then has it when the sitting is open again."""
    found: list[FloorChange] = []
    hidden: dict[str, FloorChange] = {}
    index = 0
    for change in sorted(changes, key=lambda change: (change.at_ms, change.taken)):
        while index < len(times) and times[index].end_ms <= change.at_ms:
            found += _then(hidden, times[index].end_ms)
            index += 1
        if index < len(times) and times[index].begin_ms <= change.at_ms:
            hidden[change.seat] = change
        else:
            found.append(change)
    if index < len(times) and times[index].end_ms < FOR_EVER_MS:
        found += _then(hidden, times[index].end_ms)
    return found


def _then(hidden: dict[str, FloorChange], at_ms: int) -> list[FloorChange]:
    found = [FloorChange(at_ms, change.seat, change.taken) for change in hidden.values()]
    hidden.clear()
    return found
