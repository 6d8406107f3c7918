"""The spectrogram that Whisper reads: 80 mel bands, a column every 10 ms.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), section 2.2, and
Slaney's mel scale ("Auditory Toolbox", 1998): linear below 1 kHz, logarithmic above, bands of equal area.
"""

import numpy as np
import numpy.typing as npt

from edge_agent.captions.engine import RATE_HZ, Samples

HOP = 160
"""Samples between two columns."""
WINDOW = 400
"""Samples under one window: 25 ms."""
FLOOR = -10.0
"""log10 of the least power that is told apart from silence."""
RANGE = 8.0
"""Decades below the loudest point that are kept."""

Spectrogram = npt.NDArray[np.float32]
"""Bands by columns."""


def filters(bands: int) -> Spectrogram:
    """The triangular mel bands over the bins of a `WINDOW`-point spectrum: `bands` by 201."""
    slope_hz = 200 / 3
    knee_hz, knee_mel = 1000.0, 15.0
    per_octave = np.log(6.4) / 27
    top_mel = knee_mel + np.log(RATE_HZ / 2 / knee_hz) / per_octave
    mels = np.linspace(0, top_mel, bands + 2)
    edges = np.where(mels < knee_mel, mels * slope_hz, knee_hz * np.exp(per_octave * (mels - knee_mel)))
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edges[2:] - edges[:-2]))[:, None], np.float32)


class LogMel:
    """Makes spectrograms of a fixed width, silence after the sound."""

    def __init__(self, bands: int) -> None:
        self._filters = filters(bands)
        self._window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)

    def __call__(self, sound: Samples, columns: int) -> Spectrogram:
        """The spectrogram of `sound`, which must end before the last of the `columns`."""
        padded = np.concatenate([sound, np.zeros(WINDOW, np.float32)])
        padded = np.pad(padded, WINDOW // 2, mode="reflect" if len(padded) > WINDOW else "constant")
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
        power = np.abs(np.fft.rfft(frames * self._window, axis=1)) ** 2
        bands = np.log10(np.maximum(self._filters @ power.T.astype(np.float32), 10**FLOOR))
        out = np.full((len(self._filters), columns), FLOOR, np.float32)
        width = min(columns, bands.shape[1])
        out[:, :width] = bands[:, :width]
        out = np.maximum(out, out.max() - RANGE)
        return np.asarray((out + 4) / 4, np.float32)
