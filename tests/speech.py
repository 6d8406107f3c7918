"""What tests with real models need: the fetched weights and the debate, made once under `build/`."""

import re
from collections.abc import Sequence
from pathlib import Path

import hibari
import jiwer
import numpy as np
import pytest
import soxr

from edge_agent.captions.engine import RATE_HZ, Samples
from edge_agent.captions.models import VAD_FILE, WANTED, WHISPER_DIR
from simulators.debate.synthesis import Debate, make
from tests import speech_models

BUILD = Path(__file__).parent.parent / "build"
MODELS = BUILD / "models"
WHISPER = MODELS / WHISPER_DIR
VAD = MODELS / VAD_FILE
VOSK = MODELS / speech_models.VOSK_DIR
"""A Korean model, for tests only; told to expect loanwords, it understands a sentence of English."""
LOANWORDS = [
    "커피",
    "컴퓨터",
    "택시",
    "호텔",
    "버스",
    "인터넷",
    "코소보",
    "프리슈티나",
    "카메라",
    "라디오",
    "바나나",
    "피아노",
    "텔레비전",
    "토마토",
]
"""coffee, computer, taxi, hotel, bus, internet, Kosovo, Prishtina, camera, radio, banana, piano, television,
tomato."""
LOAN_SENTENCE = "Kosovo. computer. banana. piano. taxi. internet."
LOAN_READ = "컴퓨터 바나나 피아노 택시 인터넷"
"""What the model reads of it, but for the first word, of which it makes several."""


def need_models() -> None:
    """Fail with the cure if the models are not there."""
    missing = [wanted.target for wanted in WANTED if not (MODELS / wanted.target).exists()]
    if missing:
        pytest.fail(f"{', '.join(missing)} missing: python -m edge_agent.captions.models --into {MODELS}")


def need_vosk() -> None:
    """Fail with the cure if the test's Vosk model is not there."""
    if any(not (MODELS / wanted.target).exists() for wanted in speech_models.WANTED):
        pytest.fail(f"{VOSK} is missing or incomplete: python -m tests.speech_models")


def loan_sentence(seed: int = 1) -> Samples:
    """`LOAN_SENTENCE` by the debate's voice, slowly, with half a second of quiet around it."""
    voice = hibari.Hibari()
    spoken = np.asarray(voice(LOAN_SENTENCE, speed=0.8, seed=seed), np.float32)
    quiet = np.zeros(RATE_HZ // 2, np.float32)
    return np.concatenate([quiet, soxr.resample(spoken, voice.sample_rate, RATE_HZ), quiet])


def debate() -> tuple[Path, Debate]:
    """The debate's sound and lines."""
    return make(BUILD / "debate")


def words(text: str) -> str:
    """Lower-case words without punctuation."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def word_error(reference: str, lines: Sequence[str]) -> float:
    """Substituted, missing and added words by the words that were said."""
    return float(jiwer.wer(words(reference), words(" ".join(lines))))
