"""What tus 1.0.0 writes into headers: metadata, lengths, moments (https://tus.io/protocols/resumable-upload)."""

import base64
import binascii
from datetime import datetime
from email.utils import format_datetime

import msgspec

from contract.errors import MalformedError
from contract.recordings import SegmentEntry, check_segment

VERSION = "1.0.0"
EXTENSIONS = "creation,termination,expiration"
MEDIA = "application/offset+octet-stream"
METADATA_LENGTH_MAX = 4096
"""Characters of one `Upload-Metadata`."""
DIGITS_MAX = 15
NUMBERS = ("segment", "start_ms", "duration_ms", "rate_hz", "gap_before_ms", "early_ms", "late_ms")


class Announced(msgspec.Struct, frozen=True):
    """What `Upload-Metadata` says of a segment, and of which sitting it is."""

    session: str
    channel: str
    lang: str
    entry: SegmentEntry


def announced(metadata: str, length: int) -> Announced:
    """The segment that an upload of `length` bytes is about to bring.

    Raises:
        MalformedError: the metadata is not tus's, lacks something, or is out of the contract's limits.
    """
    found = _pairs(metadata)
    numbers = {key: _number(key, value) for key, value in found.items() if key in NUMBERS}
    try:
        entry = msgspec.convert(found | numbers | {"size": length}, SegmentEntry)
    except msgspec.ValidationError as error:
        raise MalformedError(f"Upload-Metadata: {error}") from None
    check_segment(entry)
    missing = [key for key in ("session", "channel", "lang") if not 1 <= len(found.get(key, "")) <= 64]
    if missing:
        raise MalformedError(f"Upload-Metadata: {missing[0]} has 1 to 64 characters")
    return Announced(found["session"], found["channel"], found["lang"], entry)


def _pairs(metadata: str) -> dict[str, str]:
    if len(metadata) > METADATA_LENGTH_MAX:
        raise MalformedError(f"Upload-Metadata: at most {METADATA_LENGTH_MAX} characters are taken")
    found: dict[str, str] = {}
    for pair in metadata.split(","):
        key, _, value = pair.strip().partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            raise MalformedError("Upload-Metadata has pairs of a key and a value in Base64") from None
    return found


def _number(key: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= DIGITS_MAX):
        raise MalformedError(f"Upload-Metadata: {key} is a whole number of at most {DIGITS_MAX} digits")
    return int(value)


def moment(at: datetime) -> str:
    """A moment as HTTP writes it (RFC 9110, section 5.6.7)."""
    return format_datetime(at, usegmt=True)
