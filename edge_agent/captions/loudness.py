"""How loud the microphone is, second by second, without a numeric library in the agent's process."""

import math
import operator
import sys
from array import array

FULL_SCALE = 32_768
FLOOR_DBFS = -120.0
EVERY = 4
"""One sample in four is squared: the same level for a quarter of the work."""


class Loudness:
    """Feed it blocks of 16-bit little-endian PCM; `dbfs` is the RMS level of the last whole second.

    A sine of full scale is at -3 dBFS. None before the first second, and after `lost`.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate = rate_hz
        self._samples = 0
        self._squared = 0
        self._sum = 0
        self.dbfs: float | None = None

    def hear(self, pcm: bytes) -> None:
        """Take in one block."""
        samples = array("h", pcm)
        if sys.byteorder == "big":
            samples.byteswap()
        some = samples[::EVERY]
        self._samples += len(samples)
        self._squared += len(some)
        self._sum += sum(map(operator.mul, some, some))
        if self._samples >= self._rate:
            self.dbfs = _dbfs(self._sum / self._squared)
            self._samples = self._squared = self._sum = 0

    def lost(self) -> None:
        """The microphone is gone: there is no level to tell."""
        self._samples = self._squared = self._sum = 0
        self.dbfs = None


def _dbfs(mean_square: float) -> float:
    if mean_square <= 0:
        return FLOOR_DBFS
    return max(FLOOR_DBFS, round(10 * math.log10(mean_square / FULL_SCALE**2), 1))
