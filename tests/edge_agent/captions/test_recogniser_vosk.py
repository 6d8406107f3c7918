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
        end = self.blocks / 10
        return json.dumps(
            {"text": text, "result": [{"word": text, "conf": conf, "start": end - 0.1, "end": end}]}
        )


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


def test_words_that_stay_for_a_second_are_settled_and_kept(recogniser, monkeypatch):
    said = iter(["mirë dita të", "mirë dita të gjithëve", "mirë vita të gjithëve"])
    monkeypatch.setattr(Kaldi, "AcceptWaveform", lambda _self, _pcm: False)
    monkeypatch.setattr(Kaldi, "PartialResult", lambda _self: json.dumps({"partial": next(said)}))
    hear(recogniser, 6)
    assert recogniser.guess() == Hypothesis("mirë dita të", 0, None)
    hear(recogniser, 9)
    assert recogniser.guess() == Hypothesis("mirë dita të gjithëve", len("mirë dita të"), None)
    assert recogniser.guess() == Hypothesis("mirë dita të gjithëve", len("mirë dita të"), None)
    words = [{"word": word, "conf": 0.5, "start": 0, "end": 1} for word in ("mirë", "vita", "të", "fund")]
    monkeypatch.setattr(Kaldi, "FinalResult", lambda _self: json.dumps({"text": "-", "result": words}))
    assert recogniser.finish().text == "mirë dita të fund"


def test_a_cut_keeps_the_word_that_may_be_half(recogniser, monkeypatch):
    words = [
        {"word": "mirë", "conf": 1.0, "start": 0, "end": 0.5},
        {"word": "di", "conf": 0.4, "start": 1, "end": 1.9},
    ]
    monkeypatch.setattr(Kaldi, "AcceptWaveform", lambda _self, _pcm: False)
    monkeypatch.setattr(Kaldi, "FinalResult", lambda _self: json.dumps({"text": "-", "result": words}))
    hear(recogniser, 20)
    assert recogniser.cut() == (Hypothesis("mirë", 4, 1.0), 8_000)


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
