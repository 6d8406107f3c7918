"""What the agent and its recogniser child say to each other.

The agent writes frames to the child's stdin: a length (4 bytes, little endian) and that many bytes, of
which the first is the kind. The child writes one JSON object a line to its stdout. Positions count
samples of the microphone, at its own rate, since the agent began to listen.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from edge_agent.errors import MalformedError

FRAME_BYTES_MAX = 131_072
"""Of one frame without its length; a fifth of a second at 192 kHz is 76,809."""
LINE_BYTES_MAX = 65_536

_LENGTH = struct.Struct("<I")
_POSITION = struct.Struct("<Q")
_AUDIO = b"A"
_GAP = b"G"


@dataclass(frozen=True)
class Audio:
    """Mono 16-bit little-endian PCM; `position` is that of its first sample."""

    position: int
    pcm: bytes


@dataclass(frozen=True)
class Gap:
    """The microphone fell silent for good here: whatever was being said is finished."""


Frame = Audio | Gap


def encode_frame(frame: Frame) -> bytes:
    """The bytes of one frame."""
    match frame:
        case Audio(position, pcm):
            body = _AUDIO + _POSITION.pack(position) + pcm
        case Gap():
            body = _GAP
    assert len(body) <= FRAME_BYTES_MAX, f"a frame of {len(body)} bytes; cut audio into smaller blocks"
    return _LENGTH.pack(len(body)) + body


def read_frame(read: Callable[[int], bytes]) -> Frame | None:
    """The next frame out of `read`, a blocking read that gives fewer bytes only at the end; None there.

    Raises:
        MalformedError: no such frame; where the next one begins is then unknown.
    """
    head = read(_LENGTH.size)
    if not head:
        return None
    if len(head) < _LENGTH.size:
        raise MalformedError("the input ended inside the length of a frame")
    (length,) = _LENGTH.unpack(head)
    if not 1 <= length <= FRAME_BYTES_MAX:
        raise MalformedError(f"a frame of {length} bytes: 1 to {FRAME_BYTES_MAX} are taken")
    body = read(length)
    if len(body) < length:
        raise MalformedError(f"the input ended inside a frame: {len(body)} of {length} bytes")
    return _decode_frame(body)


def _decode_frame(body: bytes) -> Frame:
    kind = body[:1]
    if kind == _GAP and len(body) == 1:
        return Gap()
    if kind == _AUDIO:
        pcm = body[1 + _POSITION.size :]
        if len(body) < 1 + _POSITION.size or len(pcm) % 2:
            raise MalformedError(f"an audio frame of {len(body)} bytes has no whole 16-bit samples")
        (position,) = _POSITION.unpack_from(body, 1)
        return Audio(position, pcm)
    raise MalformedError(f"a frame of kind {kind!r} and {len(body)} bytes is not known")


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="ready"):
    """The model is loaded."""

    engine: str


class Heard(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="heard"):
    """A sign of life, at least every second: all up to `position` was taken in.

    `quiet`: nobody is speaking there, so that nothing before it needs to be heard again.
    """

    position: int
    quiet: bool


class Guess(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="guess"):
    """What is being said may read like this; the first `stable` characters stay."""

    start: int
    end: int
    text: str
    stable: int
    confidence: float | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="said"):
    """This was said between `start` and `end`; no text means that it was no speech after all."""

    start: int
    end: int
    text: str
    confidence: float | None = None


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="failed"):
    """The child ends, for this reason."""

    reason: str


Message = Ready | Heard | Guess | Said | Failed

_MESSAGE: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """One line, with its end."""
    return msgspec.json.encode(message) + b"\n"


def decode_message(line: bytes) -> Message:
    """The message in one line.

    Raises:
        MalformedError: too long, not JSON, not one of the messages, or with impossible positions.
    """
    if len(line) > LINE_BYTES_MAX:
        raise MalformedError(f"a line of {len(line)} bytes: at most {LINE_BYTES_MAX} are taken")
    try:
        message = _MESSAGE.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"not a message of the recogniser: {error}") from None
    if isinstance(message, Guess | Said) and not 0 <= message.start <= message.end:
        raise MalformedError(f"speech from {message.start} to {message.end} is impossible")
    if isinstance(message, Guess) and not 0 <= message.stable <= len(message.text):
        raise MalformedError(f"{message.stable} stable characters of {len(message.text)} are impossible")
    return message
