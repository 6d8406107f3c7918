"""The real voice activity model on the debate and on quiet."""

import wave

import numpy as np
import pytest
import soxr

from edge_agent.captions.vad_silero import FRAME, SileroVad
from edge_agent.errors import RefusedError
from tests import speech

pytestmark = pytest.mark.speech


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    speech.need_models()
    return SileroVad(speech.VAD)


def whole_frames(samples):
    return samples[: len(samples) // FRAME * FRAME].astype(np.float32)


def test_it_hears_speech_where_lines_are_and_none_between_them(vad):
    path, debate = speech.debate()
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32_768
    sound = whole_frames(soxr.resample(pcm, debate.rate_hz, 16_000))
    vad.reset()
    speaking = vad.probabilities(sound) > 0.5
    middle_ms = (np.arange(len(speaking)) + 0.5) * FRAME / 16
    inside = np.zeros(len(speaking), bool)
    for line in debate.lines:
        inside |= (middle_ms > line.start_ms) & (middle_ms < line.end_ms)
    assert speaking[inside].mean() > 0.75
    assert speaking[~inside].mean() < 0.1


@pytest.mark.parametrize("level", [0.0, 10 ** (-60 / 20), 10 ** (-30 / 20)])
def test_it_hears_no_speech_in_silence_and_noise(vad, level):
    vad.reset()
    noise = np.random.default_rng(1).standard_normal(10 * 16_000) * level
    assert (vad.probabilities(whole_frames(noise)) > 0.5).mean() < 0.01


def test_blocks_of_any_length_give_the_same_answer(vad):
    path, _ = speech.debate()
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(48_000 * 5), "<i2") / 32_768
    sound = whole_frames(soxr.resample(pcm, 48_000, 16_000))
    vad.reset()
    whole = vad.probabilities(sound)
    vad.reset()
    pieces = [vad.probabilities(sound[i : i + 3 * FRAME]) for i in range(0, len(sound), 3 * FRAME)]
    assert np.allclose(whole, np.concatenate(pieces), atol=1e-3)
    assert vad.probabilities(sound[:0]).shape == (0,)


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RefusedError, match=r"missing\.onnx"):
        SileroVad(tmp_path / "missing.onnx")
