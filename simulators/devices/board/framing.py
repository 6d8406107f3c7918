"""SMP frames on a serial console: lines of base64 with a length and a CRC, in the middle of other text."""

import struct
from collections.abc import Generator, Iterator
from typing import Final

from smp import packet
from smp.exceptions import SMPException

LINE_BYTES_MAX: Final = 256
"""Zephyr's convention is 128; what is longer is noise."""
LINE_LENGTH: Final = 127


class Deframer:
    """Takes bytes in any pieces; a frame of at most `frame_max` bytes comes out when it holds."""

    def __init__(self, frame_max: int) -> None:
        self._frame_max = frame_max
        self._line = bytearray()
        self._decoder: Generator[None, bytes, bytes] | None = None
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that end in `data`; noise and broken frames are passed over."""
        self._line += data
        while (end := self._line.find(b"\n")) >= 0:
            line = bytes(self._line[: end + 1])
            del self._line[: end + 1]
            frame = self._take(line)
            if frame is not None and len(frame) <= self._frame_max:
                yield frame
        if len(self._line) > LINE_BYTES_MAX:
            del self._line[:-1]  # what follows may begin a frame
            self._decoder = None

    def _take(self, line: bytes) -> bytes | None:
        """Give one line to the frame that it belongs to; the frame, if it is whole now."""
        at = line.find(packet.START_DELIMITER)
        if at >= 0:
            line = line[at:]
            self._decoder, self._size = packet.decode(), 0
            next(self._decoder)
        decoder = self._decoder
        if decoder is None or (at < 0 and not line.startswith(packet.CONTINUE_DELIMITER)):
            return None
        self._size += len(line)
        self._decoder = None
        if self._size > 2 * self._frame_max + LINE_BYTES_MAX:
            return None
        try:
            decoder.send(line)
        except StopIteration as end:
            whole: bytes = end.value
            return whole
        except (SMPException, ValueError, struct.error):
            return None
        self._decoder = decoder
        return None


def encode(frame: bytes) -> list[bytes]:
    """The lines of one frame."""
    return list(packet.encode(frame, LINE_LENGTH))
