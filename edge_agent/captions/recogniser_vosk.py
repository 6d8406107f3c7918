"""Vosk (Kaldi): decodes while it listens, knows each word's confidence, needs a model for the language."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import vosk

from edge_agent.captions.engine import RATE_HZ, Hypothesis, Samples
from edge_agent.errors import RefusedError

UTTERANCE_S_MAX = 15.0
"""Vosk could go on for ever; a line of captions should not."""


class VoskRecogniser:
    """A Vosk model of one language. `phrases`, where given, are all that it may recognise.

    Raises:
        RefusedError: the folder has no such model.
    """

    utterance_s_max = UTTERANCE_S_MAX

    def __init__(self, model_dir: Path, phrases: Sequence[str] = ()) -> None:
        vosk.SetLogLevel(-1)
        words = [json.dumps(list(phrases), ensure_ascii=False)] if phrases else []
        try:
            self._decoder = vosk.KaldiRecognizer(vosk.Model(str(model_dir)), RATE_HZ, *words)
        except Exception as error:  # vosk raises bare Exceptions
            raise RefusedError(f"Vosk model {model_dir} cannot be loaded: {error}") from error
        self._decoder.SetWords(True)
        self.name = model_dir.name
        self._heard = 0
        self._parts: list[Hypothesis] = []

    def hear(self, samples: Samples) -> None:
        """Take in more of the current utterance and decode it; now and then that takes half a second."""
        self._heard += len(samples)
        if self._decoder.AcceptWaveform((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()):
            self._parts.append(_reading(json.loads(self._decoder.Result())))

    def guess(self) -> Hypothesis:
        """What was heard so far; what Vosk itself has ended is settled."""
        settled = _joined(self._parts).text
        tail = json.loads(self._decoder.PartialResult()).get("partial", "")
        text = f"{settled} {tail}".strip()
        return Hypothesis(text, len(settled), None)

    def finish(self) -> Hypothesis:
        """The final reading; what is heard next is another utterance."""
        self._parts.append(_reading(json.loads(self._decoder.FinalResult())))
        reading = _joined(self._parts)
        self.forget()
        return reading

    def cut(self) -> tuple[Hypothesis, int]:
        """The final reading of all that was heard; Kaldi has no way to keep the rest of a decoding."""
        heard = self._heard
        return self.finish(), heard

    def forget(self) -> None:
        """Drop the current utterance unread."""
        self._decoder.Reset()
        self._heard = 0
        self._parts = []


def _reading(result: dict[str, Any]) -> Hypothesis:
    text = str(result.get("text", ""))
    sure = [float(word["conf"]) for word in result.get("result", ())]
    return Hypothesis(text, len(text), round(sum(sure) / len(sure), 3) if sure else None)


def _joined(parts: Sequence[Hypothesis]) -> Hypothesis:
    text = " ".join(part.text for part in parts if part.text)
    sure = [(part.confidence, len(part.text)) for part in parts if part.confidence is not None]
    letters = sum(length for _, length in sure)
    confidence = sum(value * length for value, length in sure) / letters if letters else None
    return Hypothesis(text, len(text), None if confidence is None else round(confidence, 3))
