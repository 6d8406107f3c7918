"""Where a recording is cut for transcription, and how positions in its sound become times of the sitting.

Pure. Two clocks meet here: `audio` counts ms of sound from the beginning of the recording, pauses left out;
`sitting` counts ms since the sitting was opened.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

STRETCH_MS = 600_000
"""A worker that is killed loses at most one stretch; ten minutes keep batches full."""
SLACK_MS = 120_000
"""So far from ten minutes a cut may be, to find silence."""
FRAME_MS = 100
"""One level of loudness each."""
QUIET_FRAMES = 5
"""A cut wants half a second of quiet around it."""


@dataclass(frozen=True)
class Segment:
    """One stored segment; `start_ms` is when it begins in the sitting.

    It was said up to `early_ms` before and `late_ms` after that; None where its recorder does not say.
    """

    number: int
    start_ms: int
    duration_ms: int
    size: int
    sha256: str
    key: str
    early_ms: int | None = None
    late_ms: int | None = None


@dataclass(frozen=True)
class Stretch:
    """A part of the sound that is transcribed at once, in ms of audio; the end is not in it."""

    start_ms: int
    end_ms: int


def cut(
    levels: Sequence[float], total_ms: int, *, target_ms: int = STRETCH_MS, slack_ms: int = SLACK_MS
) -> list[Stretch]:
    """Stretches of about `target_ms` that cover `total_ms` without a gap.

    `levels` is the loudness of each `FRAME_MS`; a cut lies in the middle of the quietest half second within
    `slack_ms` of where it should be, the nearest one if several are as quiet. The last may be shorter.
    """
    assert FRAME_MS * QUIET_FRAMES <= slack_ms < target_ms, "a cut needs room to look for silence"
    sums = [0.0, *accumulate(levels)]
    found, at = [], 0
    while total_ms - at > target_ms + slack_ms:
        end = _quietest(sums, at + target_ms, slack_ms)
        found.append(Stretch(at, end))
        at = end
    if total_ms > at:
        found.append(Stretch(at, total_ms))
    return found


def _quietest(sums: Sequence[float], wish_ms: int, slack_ms: int) -> int:
    half = QUIET_FRAMES * FRAME_MS // 2
    first = (wish_ms - slack_ms) // FRAME_MS
    last = min((wish_ms + slack_ms) // FRAME_MS, len(sums) - 1) - QUIET_FRAMES

    def key(frame: int) -> tuple[float, int]:
        level = sums[frame + QUIET_FRAMES] - sums[frame]
        return round(level, 6), abs(frame * FRAME_MS + half - wish_ms)

    return min(range(first, last + 1), key=key, default=first) * FRAME_MS + half


class Timeline:
    """How positions in the sound and times of the sitting belong together."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        """Each span is `(start_ms, duration_ms)`, start in time of the sitting, in the order of the sound."""
        self._sitting: list[int] = []
        self._audio: list[int] = []
        at, until = 0, 0
        for start_ms, duration_ms in spans:
            assert duration_ms >= 0
            # A recorder's clock may have been set back: time never runs backwards in what people read.
            start_ms = max(start_ms, until)
            if not self._audio or start_ms > until:
                self._sitting.append(start_ms)
                self._audio.append(at)
            at, until = at + duration_ms, start_ms + duration_ms
        self.total_ms = at
        self._until = until

    def sitting(self, audio_ms: int) -> int:
        """When what is at `audio_ms` of the sound was said; positions outside count as its ends."""
        if not self._audio:
            return 0
        audio_ms = min(max(audio_ms, 0), self.total_ms)
        index = max(bisect_right(self._audio, audio_ms) - 1, 0)
        return self._sitting[index] + audio_ms - self._audio[index]

    def until(self, start_ms: int, end_ms: int) -> int:
        """When what lies from `start_ms` to `end_ms` of the sound was over: in the sound without a gap that
        it begins in, because nobody speaks on over a pause.
        """
        index = bisect_right(self._audio, min(max(start_ms, 0), self.total_ms))
        following = self._audio[index] if index < len(self._audio) else self.total_ms
        return self.sitting(start_ms) + max(0, min(end_ms, following) - max(start_ms, 0))

    def audio(self, sitting_ms: int) -> int:
        """Where in the sound it is; a time in a pause is where the sound goes on."""
        index = bisect_right(self._sitting, sitting_ms) - 1
        if index < 0:
            return 0
        following = self._audio[index + 1] if index + 1 < len(self._audio) else self.total_ms
        return min(self._audio[index] + sitting_ms - self._sitting[index], following)
