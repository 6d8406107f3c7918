"""What MCUboot does at a reset: which image runs, which is swapped in, tried, taken back or refused.

Decisions and trailers are those of MCUboot's design document, sections "Image trailer" and "Boot swap types"
(swap with test, permanent swap, revert), with hardware rollback protection by the security counter and the
hook that holds an image's board to the hardware. How far a swap has come stands in a sector of its own, so
that a power cut at any byte is gone on with at the next start; MCUboot keeps that in the trailers.
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract.errors import MalformedError
from contract.firmware import Image, Refusal, parse, unfit
from simulators.devices.board.flash import Flash

BOOT_MAGIC: Final = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
"""The trailer's last 16 bytes: bootutil_misc.c, `boot_img_magic`, as imgtool writes it too."""
ALIGN: Final = 8
IMAGE_OK_AT: Final = len(BOOT_MAGIC) + ALIGN
COPY_DONE_AT: Final = IMAGE_OK_AT + ALIGN
"""Distances from the slot's end: magic, then image_ok, then copy_done, each flag in 8 bytes."""
SET: Final = b"\x01" + b"\xff" * (ALIGN - 1)
_COUNTER: Final = struct.Struct("<II")
_JOURNAL: Final = struct.Struct("<II")  # type of the swap, sectors to swap
STEPS: Final = 3


class Swap(IntEnum):
    """What a reset will do; the numbers are those of MCUboot's BOOT_SWAP_TYPE."""

    NONE = 1
    TEST = 2
    PERM = 3
    REVERT = 4


@dataclass(frozen=True)
class Found:
    """An image that may run here, and its bytes."""

    image: Image
    data: bytes

    @property
    def body(self) -> bytes:
        """What the processor jumps into."""
        return self.data[self.image.header_bytes : self.image.header_bytes + self.image.body_bytes]


class Bootloader:
    """MCUboot of one board: its flash, the key in it, and what it knows of the hardware."""

    def __init__(self, flash: Flash, key: Ed25519PublicKey, board: str, revision: int) -> None:
        self.flash = flash
        self._layout = flash.layout
        self._key = key
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._key_hash = hashlib.sha256(spki).digest()
        self.board = board
        self.revision = revision
        self.refusal = Refusal.NONE

    # --- what an application may ask and write ---

    def image(self, slot: int) -> Image | None:
        """The whole image in a slot, whoever signed it."""
        try:
            return parse(self._slot(slot))
        except MalformedError:
            return None

    def next_swap(self) -> Swap:
        """What the next reset will do: the table of the design document."""
        if self._magic(1):
            return Swap.PERM if self._flag(1, IMAGE_OK_AT) else Swap.TEST
        if self._magic(0) and self._flag(0, COPY_DONE_AT) and not self._flag(0, IMAGE_OK_AT):
            return Swap.REVERT
        return Swap.NONE

    def set_pending(self, *, permanent: bool) -> None:
        """Ask for the other image at the next reset."""
        end = self._layout.slot_at(1) + self._layout.slot
        pending = self._magic(1)
        if not pending and not self.flash.blank(self._layout.trailer_at(1), self._layout.sector):
            self.flash.erase(self._layout.trailer_at(1))  # a power cut left half a mark
        if permanent and not self._flag(1, IMAGE_OK_AT):
            self.flash.program(end - IMAGE_OK_AT, SET)
        if not pending:
            self.flash.program(end - len(BOOT_MAGIC), BOOT_MAGIC)

    def confirm(self) -> None:
        """Let the running image stay."""
        if self._magic(0) and not self._flag(0, IMAGE_OK_AT):
            self.flash.program(self._layout.slot_at(0) + self._layout.slot - IMAGE_OK_AT, SET)

    def erase_other(self) -> None:
        """Slot 1; its trailer first, so that what is half erased is not asked for."""
        self.flash.erase(self._layout.trailer_at(1))
        for at in range(self._layout.slot_at(1), self._layout.trailer_at(1), self._layout.sector):
            if not self.flash.blank(at, self._layout.sector):
                self.flash.erase(at)

    @property
    def counter(self) -> int:
        """The least security counter that is taken."""
        stored = [
            value
            for value, check in _COUNTER.iter_unpack(
                self.flash.read(self._layout.counters_at, self._layout.sector)
            )
            if value == check ^ 0xFFFFFFFF
        ]
        return max(stored, default=0)

    # --- a reset ---

    def boot(self) -> Found | None:
        """What runs now; None: there is nothing to run, and the board is dead.

        Raises:
            PowerCutError: the power went away; the next `boot` goes on.
        """
        swap = self._interrupted() or self._decide()
        if swap is not None:
            self._swap(*swap)
        found = self._runnable(self._slot(0), self.counter)
        if isinstance(found, Refusal):
            return None
        if self.next_swap() is Swap.NONE:
            self._keep_counter(found.image.security_counter or 0)
        return found

    def provision(self, image: bytes) -> None:
        """At the factory: an image that stays, by a programmer that needs no boot loader."""
        assert len(image) <= self._layout.image_max, f"{len(image)} bytes do not fit a slot"
        for at in range(0, self._layout.size, self._layout.sector):
            self.flash.erase(at)
        self.flash.program(self._layout.slot_at(0), image)
        self._write_trailer(ok=True)

    def _decide(self) -> tuple[Swap, int] | None:
        swap = self.next_swap()
        if swap is Swap.NONE:
            return None
        other = self._slot(1)
        running = self.image(0)
        least = self.counter
        if swap is not Swap.REVERT and running is not None:
            least = max(least, running.security_counter or 0)
        found = self._runnable(other, least)
        if isinstance(found, Refusal):
            self.refusal = found
            if swap is Swap.REVERT:  # nothing to go back to: what runs has to stay
                self.confirm()
            else:
                self.erase_other()
            return None
        self.refusal = Refusal.DID_NOT_STAY if swap is Swap.REVERT else Refusal.NONE
        used = max(_used(self._slot(0)), _used(other))
        return swap, -(-used // self._layout.sector)

    def _runnable(self, data: bytes, least: int) -> Found | Refusal:
        try:
            image = parse(data)
        except MalformedError:
            return Refusal.NOT_OURS
        if image.key_hash != self._key_hash or image.signature is None:
            return Refusal.NOT_OURS
        try:
            self._key.verify(image.signature, image.sha256)
        except InvalidSignature:
            return Refusal.NOT_OURS
        if unfit(image, self.board, self.revision) is not None:
            return Refusal.OTHER_BOARD
        if (image.security_counter or 0) < least:
            return Refusal.DOWNGRADE
        return Found(image, data)

    def _keep_counter(self, counter: int) -> None:
        """In force from now on. The sector takes 512; when it is full, the running image still counts."""
        if counter <= self.counter:
            return
        at = self._layout.counters_at
        for place in range(at, at + self._layout.sector, _COUNTER.size):
            if self.flash.blank(place, _COUNTER.size):
                self.flash.program(place, _COUNTER.pack(counter, counter ^ 0xFFFFFFFF))
                return

    # --- swapping ---

    def _interrupted(self) -> tuple[Swap, int] | None:
        """A swap that had begun when the power went."""
        at = self._layout.journal_at
        if self.flash.read(at, len(BOOT_MAGIC)) != BOOT_MAGIC:
            return None
        kind, sectors = _JOURNAL.unpack(self.flash.read(at + len(BOOT_MAGIC), _JOURNAL.size))
        return Swap(kind), sectors

    def _swap(self, swap: Swap, sectors: int) -> None:
        """Each sector of both slots, the last first, in three steps that are marked when they are done."""
        layout, flash = self._layout, self.flash
        if self._interrupted() is None:
            flash.erase(layout.journal_at)
            flash.program(layout.journal_at + len(BOOT_MAGIC), _JOURNAL.pack(swap, sectors))
            flash.program(layout.journal_at, BOOT_MAGIC)
        for sector in reversed(range(sectors)):
            mine = layout.slot_at(0) + sector * layout.sector
            other = layout.slot_at(1) + sector * layout.sector
            moves = ((other, layout.scratch_at), (mine, other), (layout.scratch_at, mine))
            for step, (source, target) in enumerate(moves):
                mark = self._mark_at(sector, step)
                if not flash.blank(mark, 1):
                    continue
                flash.erase(target)
                flash.program(target, flash.read(source, layout.sector))
                flash.program(mark, b"\x00")
        flash.erase(layout.trailer_at(1))
        self._write_trailer(ok=swap is not Swap.TEST)
        flash.erase(layout.journal_at)

    def _mark_at(self, sector: int, step: int) -> int:
        return self._layout.journal_at + len(BOOT_MAGIC) + _JOURNAL.size + sector * STEPS + step

    def _write_trailer(self, *, ok: bool) -> None:
        """Of slot 0; the magic last, because it makes the rest count."""
        self.flash.erase(self._layout.trailer_at(0))
        end = self._layout.slot_at(0) + self._layout.slot
        self.flash.program(end - COPY_DONE_AT, SET)
        if ok:
            self.flash.program(end - IMAGE_OK_AT, SET)
        self.flash.program(end - len(BOOT_MAGIC), BOOT_MAGIC)

    def _slot(self, slot: int) -> bytes:
        return self.flash.read(self._layout.slot_at(slot), self._layout.image_max)

    def _magic(self, slot: int) -> bool:
        end = self._layout.slot_at(slot) + self._layout.slot
        return self.flash.read(end - len(BOOT_MAGIC), len(BOOT_MAGIC)) == BOOT_MAGIC

    def _flag(self, slot: int, distance: int) -> bool:
        end = self._layout.slot_at(slot) + self._layout.slot
        return self.flash.read(end - distance, ALIGN) == SET


def _used(slot: bytes) -> int:
    """Bytes up to the last that is not erased."""
    return len(slot.rstrip(b"\xff"))
