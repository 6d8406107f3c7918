"""The debate: long enough, several voices, always the same, made once."""

import itertools
import wave

import numpy as np
import pytest

from simulators.debate import __main__ as cli
from simulators.debate import synthesis
from simulators.debate.script import LINES, VOICES
from tests import speech

pytestmark = pytest.mark.speech


def test_it_is_long_enough_and_has_several_voices():
    path, debate = speech.debate()
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 48_000)
        assert file.getnframes() * 1000 // 48_000 == debate.duration_ms
    assert debate.duration_ms >= 60_000
    assert len({line.speaker for line in debate.lines}) >= 3
    assert debate.text == " ".join(line.text for line in LINES)


def test_the_voices_differ_in_pitch():
    """Fundamental of each voice by autocorrelation of its loudest stretches."""
    path, debate = speech.debate()
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32)
    pitches: dict[str, list[float]] = {}
    for line in debate.lines:
        sound = pcm[line.start_ms * 48 : line.end_ms * 48]
        pitches.setdefault(line.speaker, []).append(pitch_hz(sound))
    medians = sorted(float(np.median(found)) for found in pitches.values())
    assert len(medians) == len(VOICES)
    assert all(high / low > 1.08 for low, high in itertools.pairwise(medians))


def pitch_hz(sound: np.ndarray) -> float:
    width = 2_400
    found = []
    frames = [sound[i : i + width] for i in range(0, len(sound) - width, width)]
    for frame in sorted(frames, key=lambda frame: -float((frame**2).sum()))[: len(frames) // 3]:
        spectrum = np.fft.rfft(frame - frame.mean(), 2 * width)
        similar = np.fft.irfft(np.abs(spectrum) ** 2)[:width]
        low, high = 48_000 // 400, 48_000 // 70
        found.append(48_000 / (low + int(np.argmax(similar[low:high]))))
    return float(np.median(found))


def test_lines_are_where_they_are_said_to_be():
    path, debate = speech.debate()
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32_768
    for line, after in zip(debate.lines, [*debate.lines[1:], None], strict=True):
        spoken = pcm[line.start_ms * 48 : line.end_ms * 48]
        end = debate.duration_ms if after is None else after.start_ms
        pause = pcm[line.end_ms * 48 + 48 : end * 48 - 48]
        assert np.abs(spoken).max() == pytest.approx(synthesis.LEVEL_PEAK, abs=0.05)
        assert np.abs(pause).max() < 0.02


def test_the_same_seed_gives_the_same_sound(monkeypatch):
    monkeypatch.setattr(synthesis, "LINES", LINES[:2])
    (first, one), (second, two), (third, _) = (synthesis.synthesise(seed) for seed in (7, 7, 8))
    assert np.array_equal(first, second)
    assert one == two
    assert not np.array_equal(first, third)


def test_it_is_made_once_and_anew_when_the_script_changes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(synthesis, "LINES", LINES[:1])
    path, debate = synthesis.make(tmp_path)
    made = path.stat().st_mtime_ns
    assert synthesis.make(tmp_path) == (path, debate)
    assert path.stat().st_mtime_ns == made
    monkeypatch.setattr(synthesis, "LINES", LINES[1:2])
    monkeypatch.setattr("sys.argv", ["debate", "--out", str(tmp_path)])
    assert cli.main() == 0
    assert "1 voices, 14 words" in capsys.readouterr().out
    assert path.stat().st_mtime_ns != made
    assert sorted(file.name for file in tmp_path.iterdir()) == ["debate.json", "debate.wav"]
