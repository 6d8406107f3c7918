"""What every recogniser can do, whichever engine is inside."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

RATE_HZ = 16_000
"""What the engines hear."""

Samples = npt.NDArray[np.float32]
"""Mono, at `RATE_HZ`, in [-1, 1]."""


@dataclass(frozen=True)
class Hypothesis:
    """A reading of one utterance; its first `stable` characters stay until the utterance is finished.

    `confidence` is between 0 and 1, None where the engine does not tell.
    """

    text: str
    stable: int
    confidence: float | None


class Recogniser(Protocol):
    """Turns one utterance after the other into text. Where one begins and ends is the listener's to say."""

    name: str
    utterance_s_max: float
    """Longer utterances must be cut."""

    def hear(self, samples: Samples) -> None:
        """Take in more of the current utterance; quick."""

    def guess(self) -> Hypothesis:
        """What was heard so far, read now."""

    def finish(self) -> Hypothesis:
        """The final reading; what is heard next is another utterance."""

    def cut(self) -> tuple[Hypothesis, int]:
        """The final reading of as much as ends safely, and how many samples that was.

        The rest stays and is the beginning of the next utterance.
        """

    def forget(self) -> None:
        """Drop the current utterance unread."""
