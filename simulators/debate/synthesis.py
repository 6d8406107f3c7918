"""The debate as sound: one WAV file and one JSON file of lines, the same bytes for the same seed."""

import hashlib
import importlib.metadata
import io
import os
import wave
from pathlib import Path

import hibari
import msgspec
import numpy as np
import numpy.typing as npt
import soxr
from hibari import dsp

from simulators.debate.lines import Debate, SpokenLine
from simulators.debate.script import LINES, VOICES, Voice

RATE_HZ = 48_000
"""What a conference microphone delivers."""
SEED_DEFAULT = 7
RECIPE = 2
"""Grows with each change of this file that changes the sound."""
LEVEL_PEAK = 0.5
"""Peak of each line, of full scale."""
EDGE = 0.01
"""A line begins and ends where it is louder than this share of its peak."""
ROOM_LEVEL = 10 ** (-62 / 20)
"""RMS of the room's noise, of full scale; a hall is never digitally silent."""
LEAD_MS = 500
"""Quiet before the first line."""

Samples = npt.NDArray[np.float32]


def make(folder: Path, seed: int = SEED_DEFAULT) -> tuple[Path, Debate]:
    """The debate's WAV file (48 kHz, mono, 16 bit) and its lines; made only if `folder` lacks them."""
    folder.mkdir(parents=True, exist_ok=True)
    sound, lines = folder / "debate.wav", folder / "debate.json"
    wanted = key(seed)
    if sound.exists() and lines.exists():
        debate = msgspec.json.decode(lines.read_bytes(), type=Debate)
        if debate.key == wanted:
            return sound, debate
    samples, debate = synthesise(seed)
    _replace(sound, _wav(samples))
    _replace(lines, msgspec.json.format(msgspec.json.encode(debate), indent=1))
    return sound, debate


def key(seed: int) -> str:
    """A digest of all that decides how the debate sounds."""
    made_of = (RECIPE, seed, importlib.metadata.version("hibari-tts"), VOICES, LINES)
    return hashlib.sha256(repr(made_of).encode()).hexdigest()


def synthesise(seed: int) -> tuple[Samples, Debate]:
    """Speak every line; samples are at `RATE_HZ` in [-1, 1]."""
    rng = np.random.default_rng(seed)
    engine = hibari.Hibari()
    voices = {voice.role: voice for voice in VOICES}
    parts = [_silence(LEAD_MS)]
    at = len(parts[0])
    lines = []
    for line in LINES:
        spoken = _speak(engine, voices[line.role], line.text, rng)
        parts += [spoken, _silence(line.pause_ms)]
        start, at = at, at + len(spoken)
        lines.append(SpokenLine(speaker=line.role, text=line.text, start_ms=_ms(start), end_ms=_ms(at)))
        at += len(parts[-1])
    samples = np.concatenate(parts)
    samples += (rng.standard_normal(len(samples)) * ROOM_LEVEL).astype(np.float32)
    return samples, Debate(key=key(seed), rate_hz=RATE_HZ, duration_ms=_ms(len(samples)), lines=lines)


def _speak(engine: hibari.Hibari, voice: Voice, text: str, rng: np.random.Generator) -> Samples:
    # The model's sound is stretched by `tract`, which lowers pitch and formants alike and slows it down;
    # the tempo is corrected in the model, the pitch between the model and its vocoder.
    sentences = []
    for phonemes in engine.phonemize(text):
        feeds = {
            "ids": np.asarray([engine.ids(phonemes)], np.int64),
            "speed": np.asarray([voice.pace * voice.tract], np.float32),
        }
        *spectrum, f0 = (output[0] for output in engine.sess.run(None, feeds))
        sentences.append(dsp.synth(*spectrum, f0 * np.float32(voice.pitch), rng))
    spoken = np.concatenate(sentences)
    spoken = soxr.resample(spoken, engine.sample_rate, RATE_HZ * voice.tract, quality="VHQ")
    spoken = spoken * (LEVEL_PEAK / np.abs(spoken).max())
    loud = np.flatnonzero(np.abs(spoken) > LEVEL_PEAK * EDGE)
    return np.asarray(spoken[loud[0] : loud[-1] + 1], np.float32)


def _silence(length_ms: int) -> Samples:
    return np.zeros(length_ms * RATE_HZ // 1000, np.float32)


def _ms(samples: int) -> int:
    return samples * 1000 // RATE_HZ


def _wav(samples: Samples) -> bytes:
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm)
    return out.getvalue()


def _replace(path: Path, content: bytes) -> None:
    # Two builds at once must never leave half a file: each writes its own and the last rename wins.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
