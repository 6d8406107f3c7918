"""The sound of a recording: read in blocks from its stored segments, held against its digests, resampled.

Nothing here holds more than one block and one stretch; a recording may last a day.
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Protocol

import av
import numpy as np
import numpy.typing as npt
import obstore
from obstore.exceptions import NotFoundError
from obstore.store import ObjectStore

from cloud.errors import RefusedError
from cloud.recordings.closed import Part
from cloud.recordings.stretches import FRAME_MS, Segment, Stretch
from cloud.recordings.turns import Reason
from contract.recordings import RATE_HZ_MAX, RATE_HZ_MIN

BLOCK_BYTES = 2 * 1024 * 1024
HEADER_BYTES_MAX = 65_536
"""Of a WAV file before its samples; ours has 44."""
ENGINE_HZ = 16_000
LISTEN_HZ = 48_000
LISTEN_BITS_S = 32_000
"""Opus for speech; a sitting of four hours has 58 MB."""
OFF_MS_MAX = 250
"""So far a segment may be from the length that its recorder announced."""
_BYTES = 2

Pcm = npt.NDArray[np.int16]
Samples = npt.NDArray[np.float32]


class Digest(Protocol):
    """What sees every byte of a segment; hashlib's have it."""

    def update(self, data: bytes, /) -> None:
        """See the next bytes."""


class SoundError(RefusedError):
    """A segment cannot be used; `reason` and `segment` go to the page."""

    def __init__(self, reason: Reason, segment: int, sentence: str) -> None:
        super().__init__(f"segment {segment}: {sentence}")
        self.reason = reason
        self.segment = segment


@dataclass(frozen=True)
class Wave:
    """Where the samples of a WAV file are."""

    rate_hz: int
    offset: int
    size: int


def wave(head: bytes, size: int) -> Wave:
    """Read the head of a WAV file of `size` bytes (RIFF, mono, 16-bit PCM).

    Raises:
        ValueError: it is something else; the sentence says what.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        raise ValueError("is no WAV file")
    at, rate = 12, 0
    while at + 8 <= len(head):
        name, length = head[at : at + 4], struct.unpack_from("<I", head, at + 4)[0]
        if name == b"fmt ":
            if length < 16 or at + 24 > len(head):
                raise ValueError("has a broken format chunk")
            form, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, at + 8)
            if (form, channels, bits) != (1, 1, 16):
                raise ValueError(
                    f"has format {form}, {channels} channels of {bits} bits, not mono 16-bit PCM"
                )
            if not RATE_HZ_MIN <= rate <= RATE_HZ_MAX:
                raise ValueError(f"has {rate} samples a second")
        if name == b"data":
            if not rate:
                raise ValueError("has samples before it says what they are")
            if at + 8 + length > size:
                raise ValueError(f"is cut off: {size} bytes, its head says {at + 8 + length}")
            return Wave(rate, at + 8, length - length % _BYTES)
        at += 8 + length + length % 2
    raise ValueError("has no samples")


def look(store: ObjectStore, parts: Sequence[Part], listen: "ListenCopy") -> tuple[list[float], int]:
    """Read every segment of the parts once: hold it against its digest, and copy the parts for listeners.

    Gives the loudness of each `FRAME_MS` of the parts and their length in ms.

    Raises:
        SoundError: a segment is missing, changed, or no sound that we read.
    """
    levels = _Levels()
    for segment, group in groupby(parts, key=lambda part: part.segment):
        digest = hashlib.sha256()
        found = _head(store, segment)
        wanted = [_place(part, 0, part.duration_ms, found) for part in group]
        frames = 0
        for pcm in _samples(store, segment, found, 0, found.size, digest):
            for first, last in wanted:
                piece = pcm[max(first // _BYTES - frames, 0) : max(last // _BYTES - frames, 0)]
                if len(piece):
                    levels.take(piece, found.rate_hz)
                    listen.take(piece, found.rate_hz)
            frames += len(pcm)
        if digest.hexdigest() != segment.sha256:
            raise SoundError(Reason.CHANGED, segment.number, "is not what was uploaded")
        length_ms = frames * 1000 // found.rate_hz
        if abs(length_ms - segment.duration_ms) > OFF_MS_MAX:
            raise SoundError(
                Reason.FORMAT, segment.number, f"lasts {length_ms} ms, not {segment.duration_ms}"
            )
    return levels.found, sum(part.duration_ms for part in parts)


def read(store: ObjectStore, parts: Sequence[Part], stretch: Stretch) -> Samples:
    """The samples of a stretch of the parts at `ENGINE_HZ`, in [-1, 1].

    Raises:
        SoundError: a segment is missing or no sound that we read.
    """
    resampled = _Resampler(ENGINE_HZ)
    blocks = []
    at_ms = 0
    for part in parts:
        begins = max(stretch.start_ms - at_ms, 0)
        ends = min(stretch.end_ms - at_ms, part.duration_ms)
        at_ms += part.duration_ms
        if begins >= ends:
            continue
        found = _head(store, part.segment)
        first, last = _place(part, begins, ends, found)
        for pcm in _samples(store, part.segment, found, first, last, None):
            blocks += resampled.take(pcm, found.rate_hz)
    blocks += resampled.rest()
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _place(part: Part, begins: int, ends: int, found: Wave) -> tuple[int, int]:
    """The bytes of the samples from `begins` to `ends` ms of the part; the last part has all that is left."""
    first, last = (
        min((part.skip_ms + ms) * found.rate_hz // 1000 * _BYTES, found.size) for ms in (begins, ends)
    )
    return first, found.size if part.skip_ms + ends == part.segment.duration_ms else last


class ListenCopy:
    """Ogg/Opus for a browser, written while the sound is read; use it as a context."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path), "w", format="ogg")
        self._stream = self._container.add_stream("libopus", rate=LISTEN_HZ, layout="mono")
        self._stream.bit_rate = LISTEN_BITS_S
        self._resampled = _Resampler(LISTEN_HZ)
        self._at = 0

    def __enter__(self) -> "ListenCopy":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write(self._resampled.rest())
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def take(self, pcm: Pcm, rate_hz: int) -> None:
        """Add a block."""
        self._write(self._resampled.take(pcm, rate_hz))

    def _write(self, blocks: Sequence[Samples]) -> None:
        for block in blocks:
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout="mono")
            frame.sample_rate, frame.pts = LISTEN_HZ, self._at
            self._at += len(block)
            self._container.mux(self._stream.encode(frame))


class _Resampler:
    """Blocks at one rate in, blocks at another out; a new rate in the middle begins anew."""

    def __init__(self, rate_hz: int) -> None:
        self._to_hz = rate_hz
        self._from_hz = 0
        self._inner: av.AudioResampler | None = None

    def take(self, pcm: Pcm, rate_hz: int) -> list[Samples]:
        found = []
        if rate_hz != self._from_hz:
            found = self.rest()
            self._inner = av.AudioResampler(format="flt", layout="mono", rate=self._to_hz)
            self._from_hz = rate_hz
        assert self._inner is not None
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate_hz
        return found + [_array(each) for each in self._inner.resample(frame)]

    def rest(self) -> list[Samples]:
        if self._inner is None:
            return []
        found = [_array(each) for each in self._inner.resample(None)]
        self._inner, self._from_hz = None, 0
        return [each for each in found if len(each)]


def _array(frame: av.AudioFrame) -> Samples:
    return np.asarray(frame.to_ndarray().reshape(-1), np.float32)


@dataclass
class _Levels:
    """Loudness (root mean square, of full scale) of each frame; what is left at the end counts as one."""

    found: list[float] = field(default_factory=list)
    _left: Pcm = field(default_factory=lambda: np.zeros(0, np.int16))

    def take(self, pcm: Pcm, rate_hz: int) -> None:
        frame = rate_hz * FRAME_MS // 1000
        pcm = np.concatenate([self._left, pcm])
        whole = len(pcm) // frame
        squares = np.square(pcm[: whole * frame].astype(np.float32) / 32768).reshape(whole, frame)
        self.found += np.sqrt(squares.mean(axis=1)).tolist()
        self._left = pcm[whole * frame :]


def _head(store: ObjectStore, segment: Segment) -> Wave:
    try:
        size = obstore.head(store, segment.key)["size"]
        if size != segment.size:
            raise SoundError(Reason.CHANGED, segment.number, f"has {size} bytes, not {segment.size}")
        return wave(bytes(_range(store, segment, 0, min(size, HEADER_BYTES_MAX))), size)
    except (NotFoundError, FileNotFoundError):
        raise SoundError(Reason.MISSING, segment.number, "is not in the object store") from None
    except ValueError as error:
        raise SoundError(Reason.FORMAT, segment.number, str(error)) from None


def _samples(
    store: ObjectStore,
    segment: Segment,
    found: Wave,
    first: int,
    last: int,
    digest: Digest | None,
) -> Iterator[Pcm]:
    """Samples of the bytes `first` to `last` of the data; with a digest, it sees the whole file."""
    if digest is not None and found.offset:
        digest.update(_range(store, segment, 0, found.offset))
    for start in range(found.offset + first, found.offset + last, BLOCK_BYTES):
        block = bytes(_range(store, segment, start, min(start + BLOCK_BYTES, found.offset + last)))
        if digest is not None:
            digest.update(block)
        if len(block) >= _BYTES:
            yield np.frombuffer(block[: len(block) - len(block) % _BYTES], "<i2").astype(np.int16, copy=False)
    tail = found.offset + last
    if digest is not None and tail < segment.size:
        for start in range(tail, segment.size, BLOCK_BYTES):
            digest.update(_range(store, segment, start, min(start + BLOCK_BYTES, segment.size)))


def _range(store: ObjectStore, segment: Segment, start: int, end: int) -> bytes:
    return bytes(obstore.get_range(store, segment.key, start=start, end=end))
