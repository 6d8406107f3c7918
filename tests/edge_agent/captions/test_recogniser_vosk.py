"""What the adapter makes of Kaldi's answers; Kaldi itself is played by a script."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vosk

from edge_agent.captions.engine import Hypothesis
from edge_agent.captions.recogniser_vosk import VoskRecogniser
from edge_agent.errors import RefusedError

BLOCK = np.zeros(1_600, np.float32)


class Kaldi:
    """Ends an utterance of its own after each third block."""

    def __init__(self, model: object, rate_hz: int, *grammar: str) -> None:
        assert rate_hz == 16_000
        self.grammar = grammar
        self.blocks = 0
        self.resets = 0

    def SetWords(self, yes: bool) -> None:  # noqa: N802 - Vosk's own name
        assert yes

    def AcceptWaveform(self, pcm: bytes) -> bool:  # noqa: N802 - Vosk's own name
        assert len(pcm) == 2 * len(BLOCK)
        self.blocks += 1
        return self.blocks % 3 == 0

    def Result(self) -> str:  # noqa: N802 - Vosk's own name
        return self._answer("mirë", 0.5)

    def PartialResult(self) -> str:  # noqa: N802 - Vosk's own name
        return json.dumps({"partial": "dita" if self.blocks % 3 else ""})

    def FinalResult(self) -> str:  # noqa: N802 - Vosk's own name
        return self._answer("dita", 1.0) if self.blocks % 3 else json.dumps({"text": ""})

    def Reset(self) -> None:  # noqa: N802 - Vosk's own name
        self.blocks = 0
        self.resets += 1

    def _answer(self, text: str, conf: float) -> str:
        return json.dumps({"text": text, "result": [{"word": text, "conf": conf, "start": 0, "end": 1}]})


@pytest.fixture
def recogniser(monkeypatch: pytest.MonkeyPatch) -> VoskRecogniser:
    monkeypatch.setattr(vosk, "KaldiRecognizer", Kaldi)
    monkeypatch.setattr(vosk, "Model", lambda path: path)
    return VoskRecogniser(Path("/models/vosk-sq"))


def hear(recogniser: VoskRecogniser, blocks: int) -> None:
    for _ in range(blocks):
        recogniser.hear(BLOCK)


def test_what_kaldi_has_ended_is_settled(recogniser):
    assert recogniser.name == "vosk-sq"
    hear(recogniser, 2)
    assert recogniser.guess() == Hypothesis("dita", 0, None)
    hear(recogniser, 2)
    assert recogniser.guess() == Hypothesis("mirë dita", 4, None)


def test_finishing_joins_all_parts_and_begins_anew(recogniser):
    hear(recogniser, 4)
    assert recogniser.finish() == Hypothesis("mirë dita", 9, 0.75)
    assert recogniser.finish() == Hypothesis("", 0, None)


def test_a_cut_takes_all_that_was_heard(recogniser):
    hear(recogniser, 3)
    assert recogniser.cut() == (Hypothesis("mirë", 4, 0.5), 3 * len(BLOCK))
    assert recogniser.cut() == (Hypothesis("", 0, None), 0)


def test_forgetting_leaves_nothing_behind(recogniser):
    hear(recogniser, 4)
    recogniser.forget()
    assert recogniser.guess() == Hypothesis("", 0, None)


def test_a_folder_without_a_model_is_refused(tmp_path, capfd):
    with pytest.raises(RefusedError, match="cannot be loaded"):
        VoskRecogniser(tmp_path)


def test_phrases_become_kaldis_grammar(monkeypatch):
    made: list[Any] = []
    monkeypatch.setattr(vosk, "KaldiRecognizer", lambda *given: made.append(given) or Kaldi(*given))
    monkeypatch.setattr(vosk, "Model", lambda path: path)
    VoskRecogniser(Path("/models/vosk-sq"), ["mirë dita"])
    assert made[0][2] == '["mirë dita"]'
