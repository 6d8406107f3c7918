"""Makes images with imgtool: a body becomes an image that names its board, and a built image is signed.

Building needs no key: the image carries everything that the signature will cover, so that who signs decides
nothing but whether to sign.
"""

import contextlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from imgtool import keys
from imgtool.image import Image as ImgtoolImage
from imgtool.version import SemiSemVersion, decode_version
from intelhex import HexReaderError, IntelHex, IntelHexError

from contract.firmware import BOARD, BOARD_NAME, IMAGE_BYTES_MAX, REVISIONS, SECURITY_COUNTER, Image
from firmware_tools.errors import RefusedError
from firmware_tools.files import read
from firmware_tools.image import parse
from firmware_tools.program import compile_source

HEADER_BYTES: Final = 0x200
"""Room before the body, as Zephyr links it (CONFIG_ROM_START_OFFSET)."""
ALIGN: Final = 8
SLOT_BYTES: Final = 0x40000
"""256 KiB, of the simulated board."""
HEX_BYTES_MAX: Final = 3 * IMAGE_BYTES_MAX
"""A line of Intel HEX has 43 or so characters for 16 bytes."""
_OURS: Final = frozenset({SECURITY_COUNTER, BOARD, REVISIONS})


@dataclass(frozen=True)
class Recipe:
    """What an image says of itself. `security_counter` None takes it from the version, as imgtool does."""

    version: str
    board: str
    revisions: tuple[int, int]
    security_counter: int | None = None
    slot_bytes: int = SLOT_BYTES


def body_of(path: Path) -> bytes:
    """The bytes that will run: of a raw binary, of Intel HEX (`.hex`), or of a description (`.toml`).

    Raises:
        UnreadableError: no readable file.
        RefusedError: empty, too large, no Intel HEX, or a description that is not taken.
    """
    kind = path.suffix.lower()
    data = read(path, HEX_BYTES_MAX if kind == ".hex" else IMAGE_BYTES_MAX)
    if kind == ".toml":
        return compile_source(data)
    if kind == ".hex":
        data = _from_hex(data)
    if not data:
        raise RefusedError("empty: there is nothing to build an image of; name the compiler's output")
    if len(data) > IMAGE_BYTES_MAX:
        raise RefusedError(f"too large: more than {IMAGE_BYTES_MAX} bytes; name the compiler's output")
    return data


def build(body: bytes, recipe: Recipe) -> bytes:
    """An image without a signature; the same body and recipe give the same bytes.

    Raises:
        RefusedError: the recipe is not taken, or the image does not fit the slot.
    """
    first, last = recipe.revisions
    if not BOARD_NAME.fullmatch(recipe.board):
        raise RefusedError(f"board {recipe.board!r}: a name has 1 to 32 of a-z, 0-9 and -; correct --board")
    if not 0 <= first <= last <= 255:
        raise RefusedError(f"revisions {first} to {last}: the first is at most the last, both 0 to 255")
    counter = recipe.security_counter
    if counter is not None and not 0 <= counter < 2**32:
        raise RefusedError(f"security counter {counter}: 0 to {2**32 - 1} is taken")
    return _make(body, _version(recipe.version), recipe, None)


def sign(built: bytes, key: Ed25519PrivateKey, slot_bytes: int = SLOT_BYTES) -> bytes:
    """A built image with the signature of `key`; nothing else of it changes.

    Raises:
        RefusedError: not an image of `build`, or signed already.
    """
    image = parse(built)
    if image.signature is not None or image.key_hash is not None:
        raise RefusedError("signed already: it carries a signature; give the image as it was built")
    recipe = _recipe(image, slot_bytes)
    body = built[image.header_bytes : image.header_bytes + image.body_bytes]
    signed = _make(body, _version(recipe.version), recipe, key)
    covered = image.header_bytes + image.body_bytes + image.protected_bytes
    if signed[:covered] != built[:covered]:
        raise RefusedError("not built here: signing it would change it; build it with build")
    return signed


def _recipe(image: Image, slot_bytes: int) -> Recipe:
    if image.board is None or image.revisions is None:
        raise RefusedError("it does not say which board it is for; build it with --board and --revisions")
    strange = {tlv.type for tlv in image.tlvs if tlv.protected} - _OURS
    if strange or image.flags or image.load_address or image.trailing_bytes or not image.security_counter:
        raise RefusedError("not built here: it has records or flags of another tool; build it with build")
    return Recipe(image.version, image.board, image.revisions, image.security_counter, slot_bytes)


def _make(body: bytes, version: SemiSemVersion, recipe: Recipe, key: Ed25519PrivateKey | None) -> bytes:
    """One run of imgtool; it works on files, says on stdout what it does, and raises click's errors."""
    image = ImgtoolImage(
        version=version,
        header_size=HEADER_BYTES,
        pad_header=True,
        align=ALIGN,
        slot_size=recipe.slot_bytes,
        security_counter="auto" if recipe.security_counter is None else recipe.security_counter,
    )
    records = {BOARD: recipe.board.encode("ascii"), REVISIONS: bytes(recipe.revisions)}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        raw, out = Path(folder, "raw.bin"), Path(folder, "out.bin")
        raw.write_bytes(body)
        try:
            image.load(str(raw))
            image.create(None if key is None else keys.Ed25519(key), "hash", None, custom_tlvs=records)
            image.check_trailer()
        except click.UsageError as error:
            raise RefusedError(f"imgtool: {error.format_message()}; it does not fit the board") from error
        image.save(str(out))
        return out.read_bytes()


def _version(text: str) -> SemiSemVersion:
    try:
        version = decode_version(text)
    except ValueError as error:
        raise RefusedError(f"version {text!r}: write major.minor.revision or …+build") from error
    sizes = ((version.major, 8), (version.minor, 8), (version.revision, 16), (version.build, 32))
    if any(number >> bits for number, bits in sizes):
        raise RefusedError(f"version {text!r}: at most 255.255.65535+4294967295")
    return version


def _from_hex(data: bytes) -> bytes:
    """The bytes between the lowest and the highest address, gaps as erased flash (0xFF)."""
    if len(data) > HEX_BYTES_MAX:
        raise RefusedError(f"too large: more than {HEX_BYTES_MAX} bytes of Intel HEX")
    try:
        found = IntelHex(io.StringIO(data.decode("ascii")))
    except (UnicodeDecodeError, HexReaderError, IntelHexError) as error:
        raise RefusedError(f"not Intel HEX: {error}; name the linker's .hex file") from error
    first, last = found.minaddr(), found.maxaddr()
    if first is None or last is None:
        return b""
    if last - first >= IMAGE_BYTES_MAX:
        raise RefusedError(
            f"Intel HEX from 0x{first:x} to 0x{last:x}: it covers more than one image; "
            "leave the option bytes and the boot loader out"
        )
    return bytes(found.tobinarray())
