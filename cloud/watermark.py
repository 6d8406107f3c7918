"""Up to where everything of one device, boot and lane has arrived: the decision, without I/O.

The cloud acknowledges each lane by one number, so it must know what is missing below it. Messages come
late, twice, and after gaps; a gap closes when its messages come, or when the device says that it no
longer keeps them (`kept_from` of the envelope).
"""

from enum import StrEnum
from typing import NamedTuple

ABOVE_MAX = 4096
"""Sequences remembered beyond a gap; one device publishes far fewer between two acknowledgements."""


class Verdict(StrEnum):
    """What to do with a message."""

    NEW = "new"
    """Store it."""
    SEEN = "seen"
    """It was stored before; acknowledge it again."""
    BEYOND = "beyond"
    """Too much is missing before it; leave it, the device sends it again."""


class Watermark(NamedTuple):
    """`seq` and everything below has arrived; `above` lists what arrived beyond the first gap, ascending."""

    seq: int = 0
    above: tuple[int, ...] = ()


class Tally(NamedTuple):
    """What became of the messages of one key: each sequence up to the mark, and above it, is in one of these.

    `refused` came and were malformed; `dropped` never came, because the device dropped them by its policy
    (`kept_from`); `given_up` never came and nobody knows why: they are lost. `repeated` ones came again and
    are in one of the others.
    """

    stored: int = 0
    refused: int = 0
    dropped: int = 0
    given_up: int = 0
    repeated: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(*map(sum, zip(self, other, strict=True)))


class Key(NamedTuple):
    """What a watermark belongs to."""

    device: str
    boot: str
    lane: str


def note(
    mark: Watermark, seq: int, *, kept_from: int = 0, give_up: bool = False
) -> tuple[Watermark, Verdict]:
    """The mark after a message with sequence `seq` (from 1) came, and what to do with it.

    `kept_from` is the envelope's. With `give_up` a full `above` closes the oldest gap as lost, which is
    right only where storing a late message again does no harm (telemetry); without it the message is
    `BEYOND` and the mark stays.
    """
    if not mark.above and seq == mark.seq + 1:
        return Watermark(seq), Verdict.NEW
    if kept_from - 1 > mark.seq:
        mark = _advance(kept_from - 1, mark.above)
    if seq <= mark.seq or seq in mark.above:
        return mark, Verdict.SEEN
    if seq > mark.seq + 1 and len(mark.above) >= ABOVE_MAX:
        if not give_up:
            return mark, Verdict.BEYOND
        mark = _advance(mark.above[0], mark.above)
    return _advance(mark.seq, tuple(sorted((*mark.above, seq)))), Verdict.NEW


def missing(mark: Watermark) -> int:
    """How many messages must exist, because a later one came, and have not come yet."""
    return mark.above[-1] - mark.seq - len(mark.above) if mark.above else 0


def tally(
    before: Watermark,
    after: Watermark,
    verdict: Verdict,
    seq: int,
    *,
    kept_from: int = 0,
    refused: bool = False,
) -> Tally:
    """What one message added, when `note` made `after` out of `before`; `refused` says it was malformed.

    The sum of all tallies of a key but for `repeated` is `seq + len(above)`: nothing is counted twice.
    """
    new = verdict is Verdict.NEW
    given_up = lost(before, after, seq, kept_from=kept_from)
    accounted = after.seq + len(after.above) - before.seq - len(before.above)
    return Tally(
        stored=int(new and not refused),
        refused=int(new and refused),
        dropped=accounted - new - given_up,
        given_up=given_up,
        repeated=int(verdict is Verdict.SEEN),
    )


def lost(before: Watermark, after: Watermark, seq: int, *, kept_from: int = 0) -> int:
    """How many messages `note` gave up between two marks: passed, never arrived, not dropped by policy."""
    first = max(before.seq + 1, kept_from)
    if after.seq <= before.seq + 1 or after.seq < first:
        return 0
    arrived = sum(1 for each in before.above if first <= each <= after.seq)
    own = first <= seq <= after.seq and seq not in before.above
    return after.seq - first + 1 - arrived - own


def _advance(seq: int, above: tuple[int, ...]) -> Watermark:
    taken = 0
    for later in above:
        if later > seq + 1:
            break
        seq = max(seq, later)
        taken += 1
    return Watermark(seq, above[taken:])
