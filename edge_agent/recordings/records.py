"""What the recorder remembers of its recordings over restarts: one record for each, replaced as a whole."""

from enum import StrEnum

import msgspec

from contract.recordings import Gap, GapReason


class Kept(StrEnum):
    """Where the sound of a segment is."""

    OPEN = "open"
    """Its file may still grow, or was cut off by a crash."""
    CLOSED = "closed"
    """Its file is whole and waits for the upload."""
    STORED = "stored"
    """The server has told the same digest; the file is gone."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One segment; size and digest are those of its closed file.

    Its sound was said at most `early_ms` before and `late_ms` after its position, by the server's clock.
    """

    segment: int
    start_ms: int
    gap_before_ms: int
    why: GapReason
    rate_hz: int
    kept: Kept = Kept.OPEN
    duration_ms: int = 0
    size: int = 0
    sha256: str = ""
    early_ms: int | None = None
    late_ms: int | None = None


class FloorTurn(msgspec.Struct, frozen=True, array_like=True):
    """A seat takes the floor (`on`) or gives it back, at a position in the sitting."""

    at_ms: int
    seat: str
    on: bool


class Undated(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded since the agent started and before the server had told its time.

    It is all that comes after the segment `segment` and after the first `gaps` gaps. Its positions are
    counted as if it followed on what was recorded before, from `at_ms` on; `anchor` is the microphone's
    sample there, None once the agent has stopped. `why` is the reason of the gap that lies before it.
    `floor` is who had the floor meanwhile, in the same positions.
    """

    opened_at: int
    segment: int
    gaps: int
    at_ms: int
    anchor: int | None
    why: GapReason
    floor: tuple[FloorTurn, ...] = ()


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One recording. `state` is one of `contract.recordings.RECORDING`, up to `finished`.

    `end_ms` is where its sound ends so far, and `why` the reason of the gap that begins there. `revision` is
    that of its newest news and `told` that of the newest that the link has taken. Nothing is told while there
    is something in `undated`. `floor` are events that have their date and that the link has not taken.
    """

    recording: str
    session: str
    channel: str
    lang: str
    state: str = "planned"
    revision: int = 0
    told: int = 0
    end_ms: int = 0
    why: GapReason = GapReason.LATE
    segments: tuple[Segment, ...] = ()
    gaps: tuple[Gap, ...] = ()
    undated: tuple[Undated, ...] = ()
    floor: tuple[FloorTurn, ...] = ()

    @property
    def dated(self) -> tuple[Segment, ...]:
        """The segments whose positions are known; the others wait on the disk."""
        if not self.undated:
            return self.segments
        return tuple(each for each in self.segments if each.segment <= self.undated[0].segment)

    def with_undated(self, opened_at: int, anchor: int) -> "Record":
        """The same when recording goes on at the sample `anchor`, and nobody knows yet when that is."""
        begun = Undated(
            opened_at=opened_at,
            segment=self.last_segment,
            gaps=len(self.gaps),
            at_ms=self.end_ms,
            anchor=anchor,
            why=self.why,
        )
        return msgspec.structs.replace(self, undated=(*self.undated, begun))

    @property
    def last_segment(self) -> int:
        """The highest number so far; 0 before the first."""
        return self.segments[-1].segment if self.segments else 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to do for it."""
        return (
            self.state == "finished"
            and self.told == self.revision
            and not self.floor
            and all(segment.kept is Kept.STORED for segment in self.segments)
        )

    def with_segment(self, segment: Segment) -> "Record":
        """The same with this segment, new or in the place of the one of its number."""
        others = tuple(each for each in self.segments if each.segment != segment.segment)
        return msgspec.structs.replace(
            self, segments=tuple(sorted((*others, segment), key=lambda each: each.segment))
        )

    def without_segment(self, number: int) -> "Record":
        """The same without a segment in which nothing was recorded."""
        return msgspec.structs.replace(
            self, segments=tuple(each for each in self.segments if each.segment != number)
        )

    def find(self, number: int) -> Segment:
        """The segment of this number, which must be there."""
        return next(each for each in self.segments if each.segment == number)


def stopped(record: Record) -> Record:
    """The record at a new start of the agent, whose samples are counted anew."""
    undated = tuple(msgspec.structs.replace(each, anchor=None) for each in record.undated)
    return msgspec.structs.replace(record, undated=undated)
