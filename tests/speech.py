"""What tests with real models need: the fetched weights and the debate, made once under `build/`."""

import re
from collections.abc import Sequence
from pathlib import Path

import jiwer
import pytest

from edge_agent.captions.models import VAD_FILE, WANTED, WHISPER_DIR
from simulators.debate.synthesis import Debate, make

BUILD = Path(__file__).parent.parent / "build"
MODELS = BUILD / "models"
WHISPER = MODELS / WHISPER_DIR
VAD = MODELS / VAD_FILE


def need_models() -> None:
    """Fail with the cure if the models are not there."""
    missing = [wanted.target for wanted in WANTED if not (MODELS / wanted.target).exists()]
    if missing:
        pytest.fail(f"{', '.join(missing)} missing: python -m edge_agent.captions.models --into {MODELS}")


def debate() -> tuple[Path, Debate]:
    """The debate's sound and lines."""
    return make(BUILD / "debate")


def words(text: str) -> str:
    """Lower-case words without punctuation."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def word_error(reference: str, lines: Sequence[str]) -> float:
    """Substituted, missing and added words by the words that were said."""
    return float(jiwer.wer(words(reference), words(" ".join(lines))))
