"""When the sound of a recording was said: an interval that holds the truth, by the server's clock. Pure.

What was recorded before the server had told its time is put into its place here. What this start of the agent
has recorded is counted back from the moment that was told. What an earlier start left undated, when the power
went twice, can only be bounded: it was said after what was recorded before it, and before this start.
"""

import math
from dataclasses import dataclass

import msgspec

from contract.recordings import DRIFT, POSITION_MS_MAX, Gap, GapReason
from edge_agent.ports import ServerTime
from edge_agent.recordings.records import Kept, Record, Segment, Undated


@dataclass(frozen=True)
class Known:
    """The server's time at one sample of the microphone."""

    position: int
    at: ServerTime
    rate_hz: int

    def earliest_ms(self, opened_at: int, position: int) -> int:
        """The position in the sitting, at the earliest; counting was not corrected by `DRIFT`."""
        ms = (position - self.position) * 1000 // self.rate_hz
        return self.at.earliest_ms - opened_at + ms

    def doubt(self, first: int, last: int) -> tuple[int, int]:
        """How much earlier and later than that the samples `first` to `last` may have been said, in ms."""
        samples = max(abs(first - self.position), abs(last - self.position))
        drift_ms = math.ceil(samples * 1000 / self.rate_hz * DRIFT)
        return drift_ms, self.at.latest_ms - self.at.earliest_ms + drift_ms


def date(record: Record, known: Known, segment_ms: int) -> tuple[Record, int]:
    """The record with everything in its place, and by how many ms its newest sound was moved to it.

    A segment that still grows may become `segment_ms` long.
    """
    segments, gaps = {each.segment: each for each in record.segments}, [*record.gaps]
    floor = [*record.floor]
    moved_ms = own_ms = 0
    for number, undated in enumerate(record.undated):
        following = record.undated[number + 1 :]
        end = following[0] if following else None
        here = range(undated.segment + 1, (end.segment if end else record.last_segment) + 1)
        before_ms, own_ms = moved_ms, moved_ms
        if undated.anchor is not None:
            own_ms = max(moved_ms, known.earliest_ms(undated.opened_at, undated.anchor) - undated.at_ms)
        floor += [msgspec.structs.replace(turn, at_ms=_within(turn.at_ms + own_ms)) for turn in undated.floor]
        for name in [each for each in here if each in segments]:
            segments[name] = _moved(segments[name], undated, known, own_ms, segment_ms)
            if name == here.start:
                gap_ms = segments[name].gap_before_ms + own_ms - before_ms
                segments[name] = msgspec.structs.replace(
                    segments[name],
                    gap_before_ms=gap_ms,
                    why=undated.why if gap_ms else GapReason.NONE,
                )
            moved_ms = own_ms
        inside = slice(undated.gaps, end.gaps if end else len(gaps))
        for index in range(*inside.indices(len(gaps))):
            gaps[index] = msgspec.structs.replace(gaps[index], at_ms=_within(gaps[index].at_ms + own_ms))
        if undated.gaps and here:
            gaps[undated.gaps - 1] = _ended(gaps[undated.gaps - 1], undated, own_ms - before_ms)
    told = tuple(sorted(segments.values(), key=lambda each: each.segment))
    dated = msgspec.structs.replace(
        record,
        segments=told,
        gaps=tuple(gaps),
        undated=(),
        floor=tuple(floor),
        end_ms=_within(record.end_ms + moved_ms),
    )
    return dated, own_ms


def _moved(segment: Segment, undated: Undated, known: Known, by_ms: int, segment_ms: int) -> Segment:
    length_ms = segment_ms if segment.kept is Kept.OPEN else segment.duration_ms
    start_ms = _within(segment.start_ms + by_ms)
    if undated.anchor is None:
        # It ended before the first sample of this start.
        _, late_ms = known.doubt(0, 0)
        until_ms = known.earliest_ms(undated.opened_at, 0) + late_ms
        early_ms, late_ms = 0, max(0, until_ms - start_ms - segment.duration_ms)
    else:
        first = undated.anchor + (segment.start_ms - undated.at_ms) * known.rate_hz // 1000
        early_ms, late_ms = known.doubt(first, first + length_ms * known.rate_hz // 1000)
        early_ms += max(0, start_ms - known.earliest_ms(undated.opened_at, first))
    return msgspec.structs.replace(
        segment, start_ms=start_ms, early_ms=_within(early_ms), late_ms=_within(late_ms)
    )


def _ended(gap: Gap, undated: Undated, by_ms: int) -> Gap:
    """The loss before what was undated; nobody knows how long one lasted that an earlier start ended."""
    if gap.lost_ms is None or gap.at_ms + gap.lost_ms != undated.at_ms:
        return gap
    lost_ms = None if undated.anchor is None else _within(gap.lost_ms + by_ms)
    return msgspec.structs.replace(gap, lost_ms=lost_ms)


def _within(ms: int) -> int:
    return min(max(0, ms), POSITION_MS_MAX)
