"""Vosk (Kaldi) decodes while it listens and knows each word's end and confidence; it needs a model.

What Kaldi reads while it listens may change until the end. Words with which all its readings of the last
second of sound begin are settled, as with Whisper, and so is what Kaldi ends by itself. Settled words stay:
where the final reading differs in one of them, the settled word keeps its place.

Each utterance has a decoder of its own. One that goes on would keep what it has learnt of the last voice: the
same sound would then be read differently after a restart, and something of a closed part would be left.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import vosk

from edge_agent.captions.engine import RATE_HZ, Hypothesis, Samples
from edge_agent.errors import RefusedError

UTTERANCE_S_MAX = 15.0
"""Vosk could go on for ever; a line of captions should not."""
AGREE_S = 0.9
"""Readings must agree over so much new sound."""
TAIL_S = 0.6
"""A word that ends so close to a cut may be half a word; it is read again with the next utterance."""


@dataclass(frozen=True)
class Word:
    """A word of a final reading; `end_s` counts from the beginning of the utterance."""

    text: str
    end_s: float
    confidence: float


class VoskRecogniser:
    """A Vosk model of one language. `phrases`, where given, are all that it may recognise.

    Raises:
        RefusedError: the folder has no such model.
    """

    utterance_s_max = UTTERANCE_S_MAX

    def __init__(self, model_dir: Path, phrases: Sequence[str] = ()) -> None:
        vosk.SetLogLevel(-1)
        self._phrases = [json.dumps(list(phrases), ensure_ascii=False)] if phrases else []
        try:
            self._model = vosk.Model(str(model_dir))
        except Exception as error:  # vosk raises bare Exceptions
            raise RefusedError(f"Vosk model {model_dir} cannot be loaded: {error}") from error
        self.name = model_dir.name
        self._sound: list[Samples] = []
        self._ended: list[Word] = []
        self._settled: list[str] = []
        self._readings: list[tuple[int, list[str]]] = []
        self.forget()

    def hear(self, samples: Samples) -> None:
        """Take in more of the current utterance and decode it; now and then that takes half a second."""
        self._sound.append(samples)
        self._heard += len(samples)
        if self._decoder.AcceptWaveform((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()):
            self._ended = self._with_settled(self._ended + _words(self._decoder.Result()))
            self._settled = [word.text for word in self._ended]

    def guess(self) -> Hypothesis:
        """What was heard so far; an utterance that Kaldi has ended by itself goes on here."""
        tail = json.loads(self._decoder.PartialResult()).get("partial", "")
        words = [*(word.text for word in self._ended), *tail.split()]
        self._settle(words)
        words[: len(self._settled)] = self._settled
        return Hypothesis(" ".join(words), len(" ".join(self._settled)), None)

    def finish(self) -> Hypothesis:
        """The final reading; what is heard next is another utterance."""
        words = self._final()
        self.forget()
        return _reading(words)

    def cut(self) -> tuple[Hypothesis, int]:
        """The final reading of the words that end safely, and how many samples that was."""
        words, heard = self._final(), self._heard
        safe = [word for word in words if word.end_s <= heard / RATE_HZ - TAIL_S]
        if not safe:
            self.forget()
            return _reading(words), heard
        length = min(heard, int(safe[-1].end_s * RATE_HZ))
        rest = np.concatenate(self._sound)[length:]
        self.forget()
        self.hear(rest)
        return _reading(safe), length

    def forget(self) -> None:
        """Drop the current utterance unread."""
        self._decoder = vosk.KaldiRecognizer(self._model, RATE_HZ, *self._phrases)
        self._decoder.SetWords(True)
        self._sound, self._ended, self._settled, self._readings = [], [], [], []
        self._heard = 0

    def _settle(self, words: list[str]) -> None:
        old = [i for i, (at, _) in enumerate(self._readings) if self._heard - at >= AGREE_S * RATE_HZ]
        if old:
            self._readings = self._readings[old[-1] :]
            agreed = min(_agreed(before, words) for _, before in self._readings)
            self._settled += words[len(self._settled) : agreed]
        self._readings.append((self._heard, words))

    def _final(self) -> list[Word]:
        return self._with_settled(self._ended + _words(self._decoder.FinalResult()))

    def _with_settled(self, words: list[Word]) -> list[Word]:
        for i, text in enumerate(self._settled):
            if i < len(words):
                words[i] = Word(text, words[i].end_s, words[i].confidence)
            else:
                words.append(Word(text, self._heard / RATE_HZ, 0.0))
        return words


def _words(result: str) -> list[Word]:
    said: list[dict[str, Any]] = json.loads(result).get("result", [])
    return [Word(str(word["word"]), float(word["end"]), float(word["conf"])) for word in said]


def _reading(words: Sequence[Word]) -> Hypothesis:
    text = " ".join(word.text for word in words)
    sure = sum(word.confidence for word in words) / len(words) if words else None
    # Kaldi's sums over a lattice end a hair above 1 now and then.
    return Hypothesis(text, len(text), None if sure is None else round(min(1.0, sure), 3))


def _agreed(before: Sequence[str], now: Sequence[str]) -> int:
    """How many words both readings begin with. The last word may be half heard and does not count."""
    count = 0
    for old, new in zip(before, now[:-1], strict=False):
        if old != new:
            break
        count += 1
    return count
