"""What the simulated I/O board runs: a small description, and the bytes that are made of it.

There is no compiler and no processor here, so the simulated board's machine code is its description in JSON
behind a magic number, filled up to the size that it asks for with bytes that look like code. The same
description gives the same bytes on every machine.
"""

import hashlib
import struct
import tomllib
from typing import Annotated, Final

import msgspec

from firmware_tools.errors import RefusedError

MAGIC: Final = b"FLEETIO\x01"
SOURCE_BYTES_MAX: Final = 4096
_LENGTH: Final = struct.Struct("<I")


class Program(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a firmware of the simulated board behaves.

    `boots = false` hangs before it answers anybody; `well = false` runs and reports itself unwell.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    boots: bool = True
    well: bool = True
    size_bytes: Annotated[int, msgspec.Meta(ge=512, le=1024 * 1024)] = 64 * 1024


def compile_source(source: bytes) -> bytes:
    """The board's bytes of a description in TOML.

    Raises:
        RefusedError: no TOML, or a key or value that is not taken.
    """
    if len(source) > SOURCE_BYTES_MAX:
        raise RefusedError(f"the description has more than {SOURCE_BYTES_MAX} bytes; name the .toml file")
    try:
        program = msgspec.convert(tomllib.loads(source.decode()), Program)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise RefusedError(f"not a description of a program: {error}; correct the .toml file") from error
    return assemble(program)


def assemble(program: Program) -> bytes:
    """The board's bytes, `size_bytes` of them."""
    text = msgspec.json.encode(program)
    head = MAGIC + _LENGTH.pack(len(text)) + text
    seed = hashlib.sha256(head).digest()
    blocks = -(-(program.size_bytes - len(head)) // len(seed))
    filler = b"".join(hashlib.sha256(seed + _LENGTH.pack(block)).digest() for block in range(max(0, blocks)))
    return (head + filler)[: max(program.size_bytes, len(head))]


def disassemble(body: bytes) -> Program | None:
    """What a board finds when it jumps into an image's body; None is no program, it would hang."""
    at = len(MAGIC) + _LENGTH.size
    if not body.startswith(MAGIC) or len(body) < at:
        return None
    (length,) = _LENGTH.unpack_from(body, len(MAGIC))
    try:
        return msgspec.json.decode(body[at : at + length], type=Program)
    except msgspec.DecodeError:
        return None
