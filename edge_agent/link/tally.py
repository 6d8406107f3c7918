"""What was dropped and is not declared yet: ranges that grow together, so that many drops are few words.

Pure; the ranges lie on the disk beside the messages and are written together with what was dropped.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from contract.link import RANGES_MAX, DroppedRange, Why
from contract.messages import Lane


class Tally:
    """`ranges` are what an earlier boot left undeclared; what has no number counts for `boot` from now on."""

    def __init__(self, boot: str, ranges: Iterable[DroppedRange]) -> None:
        self._boot = boot
        self._ranges: list[DroppedRange] = []
        for each in ranges:
            if each.from_seq:
                self._ranges.append(each)
            else:
                self.note_unnumbered(each.lane, each.why, each.count)

    def __len__(self) -> int:
        return len(self._ranges)

    @property
    def ranges(self) -> tuple[DroppedRange, ...]:
        """Everything that is not declared yet, oldest first."""
        return tuple(self._ranges)

    def note(self, boot: str, lane: Lane, seq: int, why: Why) -> None:
        """Message `seq` of `boot` and `lane` will never come."""
        for position in range(len(self._ranges) - 1, -1, -1):
            each = self._ranges[position]
            if each.to_seq == seq - 1 and each.from_seq and self._alike(each, boot, lane, why):
                self._ranges[position] = replace(each, to_seq=seq, count=each.count + 1)
                return
        new = DroppedRange(boot=boot, lane=lane, from_seq=seq, to_seq=seq, count=1, why=why)
        self._ranges.append(new)

    def note_unnumbered(self, lane: Lane, why: Why, count: int = 1) -> None:
        """So many messages were dropped before they had a number."""
        for position, each in enumerate(self._ranges):
            if not each.from_seq and self._alike(each, self._boot, lane, why):
                self._ranges[position] = replace(each, count=each.count + count)
                return
        new = DroppedRange(boot=self._boot, lane=lane, from_seq=0, to_seq=0, count=count, why=why)
        self._ranges.append(new)

    def first(self) -> tuple[DroppedRange, ...]:
        """As much as one declaration takes."""
        return tuple(self._ranges[:RANGES_MAX])

    def declared(self, ranges: Sequence[DroppedRange]) -> None:
        """What `first` gave has gone into a message."""
        assert tuple(self._ranges[: len(ranges)]) == tuple(ranges)
        del self._ranges[: len(ranges)]

    def put_back(self, ranges: Sequence[DroppedRange]) -> None:
        """The message was not kept after all."""
        later, self._ranges = self._ranges, [each for each in ranges if each.from_seq]
        for each in (*ranges, *later):
            if not each.from_seq:
                self.note_unnumbered(each.lane, each.why, each.count)
        self._ranges += [each for each in later if each.from_seq]

    @staticmethod
    def _alike(each: DroppedRange, boot: str, lane: Lane, why: Why) -> bool:
        return (each.boot, each.lane, each.why) == (boot, lane, why)
