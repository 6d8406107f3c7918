"""The envelope that every stored message of a device travels in, and how it is read and written.

A message is JSON: an `Envelope` whose `body` is one of the structs of `telemetry`, `documents` and
`captions`. Unknown fields are ignored; a field is never removed and never gets another meaning.
"""

import re
from enum import StrEnum
from typing import TypeVar

import msgspec

from contract.errors import MalformedError, UnknownVersionError

VERSION = 1
MESSAGE_BYTES_MAX = 131_072
"""A larger message is refused; larger things go by HTTPS."""
IN_FLIGHT_MAX = 50
"""Messages of one lane that a device may have sent and not yet seen acknowledged."""
BOOT_LENGTH_MAX = 64
SEQ_MAX = 2**53 - 1
"""The largest whole number that every JSON reader keeps exact (RFC 8259, section 6)."""
AT_MIN_MS = 1_577_836_800_000
"""2020-01-01: a clock that says less was never set."""
AT_MAX_MS = 4_102_444_800_000
"""2100-01-01."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""The escape of U+0000 in JSON, and not an escaped backslash before the letters u0000."""
_REPEATED = re.compile(r" ('.*'|\".*\")", re.DOTALL)
"""Where msgspec repeats a value that it does not take; a sentence is logged, and a payload never is."""

T = TypeVar("T")


class Lane(StrEnum):
    """Each lane has its own sequence and its own acknowledgement."""

    TELEMETRY = "telemetry"
    EVENTS = "events"
    LIVE = "live"


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The frame of one message; times are milliseconds since 1970 UTC by the device's clock.

    `kept_from` is the lowest sequence of this boot and lane that the device still keeps when it sends:
    what is missing below it was dropped by its policy and will never come. 0 says nothing.
    """

    v: int = VERSION
    boot: str
    lane: Lane
    seq: int
    at: int
    sent: int
    historical: bool = False
    kept_from: int = 0
    body: msgspec.Raw


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """Retained, and the will; a will counts only while `boot` is the device's current boot.

    `connection` counts the attempts to connect within the boot, from 1: the will of an earlier one comes too
    late, and once a connection has ended nothing revives it. An older agent does not say it.
    """

    v: int = VERSION
    boot: str
    at: int
    online: bool
    kind: str
    agent: str
    connection: int | msgspec.UnsetType = msgspec.UNSET


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """From the cloud: every message of this boot and lane with a sequence up to `seq` is stored."""

    v: int = VERSION
    boot: str
    lane: Lane
    seq: int


_ENVELOPE = msgspec.json.Decoder(Envelope)


def encode(message: msgspec.Struct) -> bytes:
    """The JSON bytes of a message or of a body."""
    return msgspec.json.encode(message)


def seal(
    body: bytes,
    *,
    boot: str,
    lane: Lane,
    seq: int,
    at: int,
    sent: int,
    historical: bool,
    kept_from: int = 0,
) -> bytes:
    """An envelope around the encoded `body`, ready to be published."""
    return msgspec.json.encode(
        Envelope(
            boot=boot,
            lane=lane,
            seq=seq,
            at=at,
            sent=sent,
            historical=historical,
            kept_from=kept_from,
            body=msgspec.Raw(body),
        )
    )


def open_envelope(payload: bytes) -> Envelope:
    """The envelope in `payload`; its body is not looked at yet.

    Raises:
        MalformedError: too large, not JSON, nested too deeply, not an envelope, or with values out of range.
        UnknownVersionError: it is of a later version of the contract.
    """
    _hold_size(payload)
    try:
        envelope = _ENVELOPE.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"not an envelope: {_without_value(error)}") from None
    if envelope.v > VERSION:
        raise UnknownVersionError(f"an envelope of a later version: up to {VERSION} is understood here")
    if envelope.v < 1 or not 0 <= envelope.seq <= SEQ_MAX or not is_boot(envelope.boot):
        raise MalformedError("not an envelope: v, seq or boot is out of range")
    if not 0 <= envelope.kept_from <= max(envelope.seq, 1):
        raise MalformedError("not an envelope: kept_from is at most the message's own seq")
    if not AT_MIN_MS <= envelope.at <= AT_MAX_MS:
        raise MalformedError(f"at is {envelope.at!r:.20}: milliseconds between 2020 and 2100 are taken")
    return envelope


def read(payload: bytes | msgspec.Raw, kind: type[T]) -> T:
    """The struct `kind` in `payload`.

    Raises:
        MalformedError: too large, not JSON, nested too deeply, with U+0000 in a text, or not such a struct.
        UnknownVersionError: its `v` is of a later version of the contract.
    """
    data = bytes(payload)
    _hold_size(data)
    if b"\\u0000" in data and _NUL.search(data):
        raise MalformedError(f"not a {kind.__name__}: a text holds U+0000, which no database keeps")
    try:
        found = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"not a {kind.__name__}: {_without_value(error)}") from None
    if getattr(found, "v", VERSION) > VERSION:
        raise UnknownVersionError(f"a {kind.__name__} of a later version: up to {VERSION} is understood here")
    return found


def is_boot(text: str) -> bool:
    """Whether `text` can be the id of a start of an agent: 1 to 64 printable characters of ASCII."""
    return 0 < len(text) <= BOOT_LENGTH_MAX and text.isascii() and text.isprintable()


def _hold_size(data: bytes) -> None:
    if len(data) > MESSAGE_BYTES_MAX:
        raise MalformedError(f"message of {len(data)} bytes: at most {MESSAGE_BYTES_MAX} are taken")


def _without_value(error: Exception) -> str:
    return _REPEATED.sub("", str(error))
