"""What the numbers of the ledger mean together: pure.

A sequence that the cloud knows of is stored, refused, dropped by the device's policy, lost, or still
missing. What a watermark passed over because the device no longer keeps it (`kept_from`) and what the
device declared are two tellings of the same drops; whichever tells more is right, because both may still be
on their way.
"""

from bisect import bisect_left, bisect_right
from typing import NamedTuple


class Numbers(NamedTuple):
    """`missing` and `undeclared` can fall again, the others only grow.

    `undeclared` are those of `dropped` for which the device gave no reason; `lost` never came and nobody
    knows why; `repeated` came again and are in one of the others.
    """

    stored: int = 0
    refused: int = 0
    missing: int = 0
    dropped: int = 0
    undeclared: int = 0
    lost: int = 0
    repeated: int = 0

    def plus(self, other: "Numbers") -> "Numbers":
        """Both together."""
        return Numbers(*map(sum, zip(self, other, strict=True)))


class Counted(NamedTuple):
    """What a database has of one boot and lane."""

    stored: int = 0
    refused: int = 0
    missing: int = 0
    dropped: int = 0
    given_up: int = 0
    repeated: int = 0


class Declared(NamedTuple):
    """What the device declared of one boot and lane.

    Of the `numbered` ones, `in_gaps` lie between messages that have come and are waited for, `behind` lie
    beyond everything that has come. The others lie below the watermark, which has passed over them or stands
    above them because they did come: a device may drop what the cloud has, when no acknowledgement told it.
    """

    numbered: int = 0
    unnumbered: int = 0
    in_gaps: int = 0
    behind: int = 0


class Drop(NamedTuple):
    """`total` messages with sequences from `first` to `last` were declared as dropped."""

    first: int
    last: int
    total: int


def place(declared: Declared, counted: Counted, mark: "Mark | None", drops: list[Drop]) -> Declared:
    """`declared` with its places, by the watermark (sequence and above) of the same boot and lane.

    Without a watermark nothing of it has come, and what was not passed over lies behind.
    """
    if mark is None:
        return declared._replace(behind=max(0, declared.numbered - counted.dropped))
    seq, above = mark
    top = above[-1] if above else seq
    in_gaps = behind = 0
    for first, last, total in drops:
        known = _absent(max(first, seq + 1), min(last, top), above)
        beyond = _absent(max(first, top + 1), last, [])
        taken = min(total, known)
        in_gaps += taken
        behind += min(total - taken, beyond)
    return declared._replace(in_gaps=in_gaps, behind=behind)


def _absent(first: int, last: int, above: list[int]) -> int:
    """How many from `first` to `last` are not in `above`."""
    return max(0, last - first + 1 - (bisect_right(above, last) - bisect_left(above, first)))


def reconcile(counted: Counted, declared: Declared) -> Numbers:
    """One boot and lane: what was declared and not passed over yet is dropped, and no longer missing."""
    ahead = declared.in_gaps + declared.behind
    return Numbers(
        stored=counted.stored,
        refused=counted.refused,
        missing=max(0, counted.missing - declared.in_gaps),
        dropped=counted.dropped + ahead + declared.unnumbered,
        undeclared=max(0, counted.dropped - max(0, declared.numbered - ahead)),
        lost=counted.given_up,
        repeated=counted.repeated,
    )


Mark = tuple[int, list[int]]
"""Up to where all has come, and what has come beyond the first gap."""
Stretch = tuple[int, int]
"""Sequences from and to, both included."""


def gaps(seq: int, above: list[int], dropped: list[Stretch], at_most: int) -> list[Stretch]:
    """The first `at_most` stretches that are missing between what has come, without those in `dropped`."""
    known = sorted([*((each, each) for each in above), *dropped])
    found: list[Stretch] = []
    for first, last in known:
        if above and first > seq + 1 and seq < above[-1]:
            found.append((seq + 1, min(first - 1, above[-1])))
        seq = max(seq, last)
    return found[:at_most]
