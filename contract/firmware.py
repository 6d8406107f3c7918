"""Firmware of an I/O board: what an MCUboot image says about itself, and which boards it is for.

The layout is that of the MCUboot design document, section "Image format", all numbers little-endian:
header (padded to its own `hdr_size`), body, protected TLVs, unprotected TLVs, and in a padded slot further
bytes that nothing covers. The hash is SHA-256 of everything before the unprotected TLVs; the signature is
Ed25519 of that hash, and who holds the key judges it. Numbers below are those of the document and of
MCUboot's `bootutil/image.h`; the two records that name the board are ours, from the range that both leave
to vendors (0xA0 to 0xFE). They are protected: the signature covers them.
"""

import hashlib
import re
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from contract.errors import MalformedError

IMAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""No board of ours has a slot near this size; it bounds what a wrong file can cost."""

MAGIC: Final = 0x96F3B83D
HEADER: Final = struct.Struct("<IIHHIIBBHII")  # magic load hdr prot img flags major minor revision build pad
AREA: Final = struct.Struct("<HH")  # magic, bytes of the area with this head
RECORD: Final = struct.Struct("<HH")  # type, bytes of the value
UNPROTECTED_MAGIC: Final = 0x6907
PROTECTED_MAGIC: Final = 0x6908

KEYHASH, SHA256, ED25519, SECURITY_COUNTER = 0x01, 0x10, 0x24, 0x50
BOARD, REVISIONS = 0x00A0, 0x00A1
"""The board's name in ASCII; the first and the last hardware revision that it runs on, a byte each."""
BOARD_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
NAMES: Final = {
    KEYHASH: "key hash",
    0x02: "public key",
    SHA256: "SHA-256",
    0x11: "SHA-384",
    0x12: "SHA-512",
    0x20: "RSA-2048 signature",
    0x21: "ECDSA-224 signature",
    0x22: "ECDSA signature",
    0x23: "RSA-3072 signature",
    ED25519: "Ed25519 signature",
    0x25: "pure signature",
    0x30: "RSA-2048 encrypted key",
    0x31: "AES encrypted key",
    0x32: "EC-P256 encrypted key",
    0x33: "X25519 encrypted key",
    0x40: "dependency",
    SECURITY_COUNTER: "security counter",
    0x60: "boot record",
    BOARD: "board",
    REVISIONS: "hardware revisions",
}
UNPROTECTED_ALLOWED: Final = frozenset({0x01, 0x02, 0x10, 0x11, 0x12, *range(0x20, 0x25), *range(0x30, 0x35)})
"""Key, hash, signature and encryption records: the list of MCUboot's `image_validate.c`. Anything else
outside the protected area is not covered by the signature, anyone could have added it, so it is refused."""
ONCE: Final = {
    KEYHASH: (32, 32),
    SHA256: (32, 32),
    ED25519: (64, 64),
    SECURITY_COUNTER: (4, 4),
    BOARD: (1, 32),
    REVISIONS: (2, 2),
}
"""Records that are read here: at most one of each, of the least to the most bytes."""
FLAGS: Final = {
    0x0001: "position independent",
    0x0004: "encrypted AES-128",
    0x0008: "encrypted AES-256",
    0x0010: "not bootable",
    0x0020: "runs from RAM",
    0x0100: "fixed address",
    0x0200: "compressed LZMA1",
    0x0400: "compressed LZMA2",
    0x0800: "ARM thumb filter",
}
ENCRYPTED: Final = 0x0004 | 0x0008


class Refusal(IntEnum):
    """Field `refusal` of a board's statistics `boot`: why its boot loader did not keep the other image."""

    NONE = 0
    NOT_OURS = 1
    DOWNGRADE = 2
    OTHER_BOARD = 3
    DID_NOT_STAY = 4


class SelfTest(IntEnum):
    """Field `self_test` of a board's statistics `health`."""

    RUNS = 0
    HELD = 1
    FAILED = 2


@dataclass(frozen=True)
class Tlv:
    """One record behind the body; `value` is as it stands in the file."""

    type: int
    protected: bool
    value: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """The record's name in the design document's words, or `unknown`."""
        return NAMES.get(self.type, "unknown")


@dataclass(frozen=True)
class Image:
    """An image whose hash holds. Sizes are in bytes; digests are raw bytes; `None` is "not in the image"."""

    version: str
    load_address: int
    flags: tuple[str, ...]
    header_bytes: int
    body_bytes: int
    protected_bytes: int
    trailing_bytes: int
    sha256: bytes
    key_hash: bytes | None
    signature: bytes | None
    security_counter: int | None
    board: str | None
    revisions: tuple[int, int] | None
    tlvs: tuple[Tlv, ...]


def parse(data: bytes) -> Image:
    """Read an image and hold its hash against its bytes.

    Raises:
        MalformedError: not an image, truncated, too large, encrypted, malformed, or altered.
    """
    if len(data) > IMAGE_BYTES_MAX:
        raise MalformedError(
            f"too large: more than {IMAGE_BYTES_MAX} bytes; give the image, not a dump of the flash"
        )
    if len(data) < HEADER.size or int.from_bytes(data[:4], "little") != MAGIC:
        raise MalformedError(
            f"not an MCUboot image: it does not begin with 0x{MAGIC:08x}; give the signed .bin file"
        )
    _, load, header, protected, body, flags, major, minor, revision, build, _ = HEADER.unpack_from(data)
    if header < HEADER.size:
        raise MalformedError(
            f"malformed: a header of {header} bytes, {HEADER.size} are the least; build it anew"
        )
    if flags & ENCRYPTED:
        raise MalformedError("encrypted: its hash covers the clear text; inspect the image before encryption")
    covered = header + body + protected
    records = _area(data, header + body, PROTECTED_MAGIC, protected) if protected else ()
    records += _area(data, covered, UNPROTECTED_MAGIC, None)
    end = covered + AREA.unpack_from(data, covered)[1]
    once = {kind: _once(records, kind) for kind in ONCE}
    digest = once[SHA256]
    if digest is None:
        raise MalformedError("malformed: it carries no SHA-256 of itself; sign it with imgtool --sha 256")
    if hashlib.sha256(data[:covered]).digest() != digest:
        raise MalformedError("altered: its bytes do not give the SHA-256 that it carries; fetch it again")
    counter = once[SECURITY_COUNTER]
    return Image(
        version=f"{major}.{minor}.{revision}+{build}",
        load_address=load,
        flags=_flags(flags),
        header_bytes=header,
        body_bytes=body,
        protected_bytes=protected,
        trailing_bytes=len(data) - end,
        sha256=digest,
        key_hash=once[KEYHASH],
        signature=once[ED25519],
        security_counter=None if counter is None else int.from_bytes(counter, "little"),
        board=_board(once[BOARD]),
        revisions=_revisions(once[REVISIONS]),
        tlvs=records,
    )


def unfit(image: Image, board: str, revision: int) -> str | None:
    """Why this image must not be put on this board, as a sentence; None if it may.

    An image that does not say which board it is for is for none.
    """
    if image.board is None or image.revisions is None:
        return "it does not say which board it is for; build it with --board and --revisions"
    first, last = image.revisions
    if image.board != board:
        return f"it is for the board {image.board}, this one is a {board}; take the image for {board}"
    if not first <= revision <= last:
        return (
            f"it is for hardware revisions {first} to {last} of {board}, this one has revision {revision}; "
            "take the image for that revision"
        )
    return None


def _area(data: bytes, at: int, magic: int, size: int | None) -> tuple[Tlv, ...]:
    """The records of one TLV area at offset `at`; `size` is what the header says of it, where it says it."""
    if at + AREA.size > len(data):
        raise MalformedError(f"truncated: {len(data)} bytes, more than {at} were announced; fetch it again")
    found, total = AREA.unpack_from(data, at)
    if found != magic or total < AREA.size or (size is not None and total != size):
        raise MalformedError(f"malformed: no TLV area 0x{magic:04x} at byte {at}; build it anew")
    end = at + total
    if end > len(data):
        raise MalformedError(f"truncated: {len(data)} bytes, {end} were announced; fetch it again")
    records = []
    at += AREA.size
    while at < end:
        if at + RECORD.size > end:
            raise MalformedError(f"malformed: a TLV is cut off at byte {at}; build it anew")
        kind, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        if at + length > end:
            raise MalformedError(f"malformed: TLV 0x{kind:02x} leaves its area at byte {at}; build it anew")
        protected = magic == PROTECTED_MAGIC
        if not protected and kind not in UNPROTECTED_ALLOWED:
            raise MalformedError(
                f"malformed: TLV 0x{kind:02x} stands where no signature covers it; do not flash it"
            )
        records.append(Tlv(kind, protected, data[at : at + length]))
        at += length
    return tuple(records)


def _once(records: tuple[Tlv, ...], kind: int) -> bytes | None:
    values = [record.value for record in records if record.type == kind]
    if not values:
        return None
    least, most = ONCE[kind]
    if len(values) > 1 or not least <= len(values[0]) <= most:
        wanted = str(most) if least == most else f"{least} to {most}"
        raise MalformedError(
            f"malformed: one {NAMES[kind]} of {wanted} bytes is taken, "
            f"it has {len(values)} of {len(values[0])}; build it anew"
        )
    return values[0]


def _board(value: bytes | None) -> str | None:
    if value is None:
        return None
    name = value.decode("ascii", "replace")
    if not BOARD_NAME.fullmatch(name):
        raise MalformedError(f"malformed: {name!r} is no name of a board; build it anew")
    return name


def _revisions(value: bytes | None) -> tuple[int, int] | None:
    if value is None:
        return None
    if value[0] > value[1]:
        raise MalformedError(f"malformed: hardware revisions {value[0]} to {value[1]}; build it anew")
    return value[0], value[1]


def _flags(value: int) -> tuple[str, ...]:
    known = tuple(name for bit, name in FLAGS.items() if value & bit)
    rest = value & ~sum(FLAGS)
    return (*known, f"unknown 0x{rest:x}") if rest else known
