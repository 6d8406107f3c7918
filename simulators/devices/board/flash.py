"""The board's flash in a file: erased in sectors, programmed in bytes, and cut off at any byte.

What was written stays, however the program ends. Like the real thing it can only be programmed where it is
erased; doing otherwise is a bug of the boot loader, and stops it.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ERASED: Final = 0xFF


class PowerCutError(Exception):
    """The power went away in the middle; what was programmed before stays."""


@dataclass(frozen=True)
class Layout:
    """Where things are; sizes in bytes. The last sector of each slot is its trailer."""

    sector: int = 0x1000
    slot: int = 0x40000

    def slot_at(self, slot: int) -> int:
        """The first byte of a slot: 0 runs, 1 is the other."""
        return slot * self.slot

    @property
    def image_max(self) -> int:
        """Bytes that an image may have."""
        return self.slot - self.sector

    def trailer_at(self, slot: int) -> int:
        """The first byte of a slot's trailer sector."""
        return self.slot_at(slot) + self.image_max

    @property
    def scratch_at(self) -> int:
        """A sector through which others are swapped."""
        return 2 * self.slot

    @property
    def journal_at(self) -> int:
        """The sector that says how far a swap has come."""
        return self.scratch_at + self.sector

    @property
    def counters_at(self) -> int:
        """The sector of security counters that were in force; never erased."""
        return self.journal_at + self.sector

    @property
    def size(self) -> int:
        """All of it."""
        return self.counters_at + self.sector


class Flash:
    """One board's flash. `cut_after` bytes from now the power goes away; None is never."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.layout = layout
        self.cut_after: int | None = None
        self.worn = 0
        """Bytes that were erased or programmed since it was opened."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if os.fstat(self._file).st_size != layout.size:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, bytes([ERASED]) * layout.size, 0)

    def read(self, at: int, size: int) -> bytes:
        """What stands there."""
        return os.pread(self._file, size, at)

    def blank(self, at: int, size: int) -> bool:
        """Whether it is erased."""
        return self.read(at, size) == bytes([ERASED]) * size

    def erase(self, at: int) -> None:
        """One sector.

        Raises:
            PowerCutError: the power went away; the first bytes are erased, the others as they were.
        """
        assert at % self.layout.sector == 0, "erased in whole sectors"
        self._put(at, bytes([ERASED]) * self.layout.sector)

    def program(self, at: int, data: bytes) -> None:
        """Bytes onto erased flash.

        Raises:
            PowerCutError: the power went away; the first bytes are there, the others still erased.
        """
        assert self.blank(at, len(data)), f"programmed twice at 0x{at:x}"
        self._put(at, data)

    def close(self) -> None:
        """The file stays."""
        os.close(self._file)

    def _put(self, at: int, data: bytes) -> None:
        cut = self.cut_after is not None and self.cut_after < len(data)
        allowed = data[: self.cut_after] if cut else data
        os.pwrite(self._file, allowed, at)
        self.worn += len(allowed)
        if self.cut_after is not None:
            self.cut_after -= len(allowed)
        if cut:
            self.cut_after = None
            raise PowerCutError
