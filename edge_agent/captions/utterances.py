"""Where an utterance begins and ends, decided from the probability of speech in each frame of 32 ms.

A pause ends an utterance; the longer it already is, the shorter the pause that will do, so that lines
stay short and are cut between words.
"""

from dataclasses import dataclass
from enum import Enum

FRAME_MS = 32
SPEECH_FROM = 0.5
"""Silero's own threshold."""
SPEECH_UNTIL = 0.35
"""Silero's own threshold minus 0.15, as its authors do, so that a soft syllable is no pause."""
BEGIN_FRAMES = 3
"""A knock on the table is shorter than this."""
PAUSES_MS = ((0, 600), (4_000, 400), (6_000, 200))
"""From this length of the utterance on, a pause of so many milliseconds ends it."""


class Turn(Enum):
    """What a frame means."""

    QUIET = "quiet"
    BEGIN = "begin"
    GOES_ON = "goes on"
    PAUSES = "pauses"
    END = "end"


@dataclass
class Utterances:
    """Follows one stream of sound. `speaking` from BEGIN until END."""

    speaking: bool = False
    _frames: int = 0
    _run: int = 0

    def follow(self, probability: float) -> Turn:
        """What the next frame means."""
        return self._follow_speech(probability) if self.speaking else self._follow_quiet(probability)

    def restart(self) -> None:
        """Whatever was being said is over."""
        self.speaking, self._frames, self._run = False, 0, 0

    def cut(self) -> None:
        """The utterance goes on as a new one, from here."""
        self._frames = 0

    def _follow_quiet(self, probability: float) -> Turn:
        self._run = self._run + 1 if probability >= SPEECH_FROM else 0
        if self._run < BEGIN_FRAMES:
            return Turn.QUIET
        self.speaking, self._frames, self._run = True, self._run, 0
        return Turn.BEGIN

    def _follow_speech(self, probability: float) -> Turn:
        self._frames += 1
        self._run = self._run + 1 if probability < SPEECH_UNTIL else 0
        if not self._run:
            return Turn.GOES_ON
        if self._run * FRAME_MS < self._pause_ms():
            return Turn.PAUSES
        self.restart()
        return Turn.END

    def _pause_ms(self) -> int:
        length_ms = self._frames * FRAME_MS
        return next(pause for since, pause in reversed(PAUSES_MS) if length_ms >= since)
