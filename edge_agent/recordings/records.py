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
    """One segment; size and digest are those of its closed file."""

    segment: int
    start_ms: int
    gap_before_ms: int
    why: GapReason
    rate_hz: int
    kept: Kept = Kept.OPEN
    duration_ms: int = 0
    size: int = 0
    sha256: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One recording. `state` is one of `contract.recordings.RECORDING`, up to `finished`.

    `end_ms` is where its sound ends so far, and `why` the reason of the gap that begins there. `revision` is
    that of its newest news and `told` that of the newest that the link has taken.
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
