"""What the numbers of the ledger mean together: pure.

A sequence that the cloud knows of is stored, refused, dropped by the device's policy, lost, or still
missing. What a watermark passed over because the device no longer keeps it (`kept_from`) and what the
device declared are two tellings of the same drops; whichever tells more is right, because both may still be
on their way.
"""

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
    """What the device declared of one boot and lane."""

    numbered: int = 0
    unnumbered: int = 0


def reconcile(counted: Counted, declared: Declared) -> Numbers:
    """One boot and lane: what was declared and not passed over yet is no longer missing."""
    ahead = max(0, declared.numbered - counted.dropped)
    return Numbers(
        stored=counted.stored,
        refused=counted.refused,
        missing=max(0, counted.missing - ahead),
        dropped=max(counted.dropped, declared.numbered) + declared.unnumbered,
        undeclared=max(0, counted.dropped - declared.numbered),
        lost=counted.given_up,
        repeated=counted.repeated,
    )


def gaps(seq: int, above: list[int], at_most: int) -> list[tuple[int, int]]:
    """The first `at_most` stretches of sequences that are missing between what has come, as from and to."""
    found = []
    for later in above:
        if later > seq + 1:
            found.append((seq + 1, later - 1))
            if len(found) == at_most:
                break
        seq = later
    return found
