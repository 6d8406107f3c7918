"""Our spectrogram beside that of faster-whisper, which nobody here wrote."""

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from edge_agent.captions.mel import LogMel, filters


@pytest.mark.parametrize("bands", [80, 128])
def test_the_bands_are_slaneys(bands):
    assert np.allclose(filters(bands), FeatureExtractor.get_mel_filters(16_000, 400, bands), atol=1e-6)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 5.25, 9.0])
def test_the_spectrogram_is_whispers(seconds):
    chance = np.random.default_rng(1)
    sound = (chance.standard_normal(int(seconds * 16_000)) * 0.1).astype(np.float32)
    theirs = FeatureExtractor(feature_size=80)(np.pad(sound, (0, 1200 * 160 - len(sound))), padding=0)
    ours = LogMel(80)(sound, 1200)
    assert ours.shape == theirs.shape == (80, 1200)
    # Theirs hears the end of the padding too; both agree to a thousandth on every column with sound.
    assert np.abs(ours - theirs).max() < 1e-3


def test_silence_has_a_spectrogram_too():
    assert np.isfinite(LogMel(80)(np.zeros(0, np.float32), 1200)).all()
