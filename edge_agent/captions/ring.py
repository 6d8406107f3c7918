"""The last minute of sound, in memory: what the recogniser has not settled yet can be given to it again."""

from collections import deque
from dataclasses import dataclass

from edge_agent.captions.child_protocol import Audio, Frame, Gap

SAMPLE_BYTES = 2


@dataclass(frozen=True)
class Found:
    """The frame with this serial number, or the oldest one left if that one is gone already."""

    serial: int
    frame: Frame


class Ring:
    """Frames in the order in which they came, each with a serial number; the oldest give way.

    `bytes_max` bounds the sound that is held.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._frames: deque[Frame] = deque()
        self._first = 0
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """How much sound is held."""
        return self._bytes

    def append(self, frame: Frame) -> None:
        """Keep one more frame."""
        self._frames.append(frame)
        self._bytes += _size(frame)
        while self._bytes > self._bytes_max:
            self._bytes -= _size(self._frames.popleft())
            self._first += 1

    def clear(self) -> None:
        """Forget all sound; serial numbers go on."""
        self._first += len(self._frames)
        self._frames.clear()
        self._bytes = 0

    def at(self, serial: int) -> Found | None:
        """The frame with `serial`, the oldest one if that is gone, None if it is still to come."""
        serial = max(serial, self._first)
        index = serial - self._first
        return Found(serial, self._frames[index]) if index < len(self._frames) else None

    def serial_of(self, position: int) -> int:
        """The serial of the frame in which the microphone's sample `position` is, or of the one after it."""
        for i in range(len(self._frames) - 1, -1, -1):
            frame = self._frames[i]
            if isinstance(frame, Audio) and frame.position + len(frame.pcm) // SAMPLE_BYTES <= position:
                return self._first + i + 1
        return self._first


def _size(frame: Frame) -> int:
    match frame:
        case Audio(_, pcm):
            return len(pcm)
        case Gap():
            return 0
