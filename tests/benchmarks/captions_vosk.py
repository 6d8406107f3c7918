"""Vosk's adapter beside the bare Kaldi decoder: processor time on the same sound, in the same process.

The sound is the sentence of loanwords, several times; the bare decoder is asked for nothing until the end of
each. One turn of each before counting, because the first decoding composes parts of the graph.
"""

import json
import time
from collections.abc import Callable

import numpy as np
import vosk

from edge_agent.captions.engine import RATE_HZ, Samples
from edge_agent.captions.recogniser_vosk import VoskRecogniser
from tests import speech
from tests.benchmarks.report import Measurement

BLOCK = RATE_HZ // 10
GUESS_EVERY = 6 * BLOCK
SENTENCES = 6


def run() -> list[Measurement]:
    """Seconds of processor time for a second of sound."""
    speech.need_vosk()
    sounds = [speech.loan_sentence(seed) for seed in range(1, SENTENCES + 1)]
    seconds = sum(len(sound) for sound in sounds) / RATE_HZ
    vosk.SetLogLevel(-1)
    adapter, bare = _adapter(), _bare()
    adapter(sounds[0])
    bare(sounds[0])
    ours, alone = (_cpu_s(read, sounds) / seconds for read in (adapter, bare))
    return [
        Measurement(
            name="captions: processor time of Vosk's adapter, 14 words",
            value=ours,
            unit="s per s of sound",
            baseline="the bare decoder",
            baseline_value=alone,
            ratio=ours / alone,
            target="",
            held=None,
        )
    ]


def _cpu_s(read: Callable[[Samples], None], sounds: list[Samples]) -> float:
    began = time.process_time()
    for sound in sounds:
        read(sound)
    return time.process_time() - began


def _adapter() -> Callable[[Samples], None]:
    recogniser = VoskRecogniser(speech.VOSK, speech.LOANWORDS)

    def read(sound: Samples) -> None:
        for at in range(0, len(sound), BLOCK):
            recogniser.hear(sound[at : at + BLOCK])
            if at % GUESS_EVERY == 0:
                recogniser.guess()
        assert recogniser.finish().text

    return read


def _bare() -> Callable[[Samples], None]:
    words = json.dumps(speech.LOANWORDS, ensure_ascii=False)
    decoder = vosk.KaldiRecognizer(vosk.Model(str(speech.VOSK)), RATE_HZ, words)
    decoder.SetWords(True)

    def read(sound: Samples) -> None:
        pcm = (np.clip(sound, -1, 1) * 32767).astype("<i2")
        for at in range(0, len(pcm), BLOCK):
            decoder.AcceptWaveform(pcm[at : at + BLOCK].tobytes())
        assert json.loads(decoder.FinalResult()) is not None

    return read
