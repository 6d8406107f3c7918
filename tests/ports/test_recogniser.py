"""The port `Recogniser`: one suite for the readable fake, and for Whisper and Vosk with real models."""

import wave
from collections.abc import Callable

import numpy as np
import pytest
import soxr

from edge_agent.captions.engine import RATE_HZ, Recogniser, Samples
from edge_agent.captions.recogniser_vosk import VoskRecogniser
from edge_agent.captions.recogniser_whisper import WhisperRecogniser
from tests import speech
from tests.edge_agent.captions.fakes import FakeRecogniser

BLOCK = RATE_HZ // 10


def whisper() -> Recogniser:
    speech.need_models()
    return WhisperRecogniser(speech.WHISPER, "en")


def vosk() -> Recogniser:
    speech.need_vosk()
    return VoskRecogniser(speech.VOSK, speech.LOANWORDS)


@pytest.fixture(
    params=[
        FakeRecogniser,
        pytest.param(whisper, marks=pytest.mark.speech),
        pytest.param(vosk, marks=pytest.mark.speech),
    ],
    scope="module",
)
def recogniser(request: pytest.FixtureRequest) -> Recogniser:
    make: Callable[[], Recogniser] = request.param
    return make()


@pytest.fixture(scope="module")
def spoken(recogniser: Recogniser, request: pytest.FixtureRequest) -> list[Samples]:
    """Sentences that the recogniser under test has a chance with."""
    if isinstance(recogniser, VoskRecogniser):
        return [speech.loan_sentence(seed) for seed in range(1, 9)]
    lines: list[tuple[str, Samples]] = request.getfixturevalue("lines")
    return [sound for _, sound in lines]


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, Samples]]:
    """What was said, and its sound with a little quiet around it."""
    path, debate = speech.debate()
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32_768
    sound = soxr.resample(pcm, debate.rate_hz, RATE_HZ)
    return [
        (line.text, sound[(line.start_ms - 200) * 16 : (line.end_ms + 400) * 16]) for line in debate.lines
    ]


def hear(recogniser: Recogniser, sound: Samples) -> None:
    for i in range(0, len(sound), BLOCK):
        recogniser.hear(sound[i : i + BLOCK])


def test_it_has_a_name_and_a_limit(recogniser):
    assert recogniser.name
    assert 3 <= recogniser.utterance_s_max <= 30


def test_what_is_settled_stays_until_the_utterance_is_finished(recogniser, spoken):
    for sound in spoken[:4]:
        settled = ""
        for i in range(0, len(sound), 6 * BLOCK):
            hear(recogniser, sound[i : i + 6 * BLOCK])
            guess = recogniser.guess()
            assert guess.text.startswith(settled)
            assert len(settled) <= guess.stable <= len(guess.text)
            settled = guess.text[: guess.stable]
        assert settled
        final = recogniser.finish()
        assert final.text.startswith(settled)
        assert final.stable == len(final.text)
        assert final.confidence is not None
        assert 0 <= final.confidence <= 1


def test_finishing_leaves_nothing_behind(recogniser, spoken):
    hear(recogniser, spoken[3])
    first = recogniser.finish()
    assert first.text
    assert recogniser.finish().text == ""
    hear(recogniser, spoken[3])
    assert recogniser.finish().text == first.text


def test_forgetting_leaves_nothing_behind(recogniser, spoken):
    hear(recogniser, spoken[3])
    recogniser.guess()
    recogniser.forget()
    assert recogniser.guess().text == ""
    assert recogniser.finish().text == ""


def test_a_cut_keeps_the_rest(recogniser, spoken):
    sound = np.concatenate([spoken[5], spoken[6], spoken[7]])
    limit = int(recogniser.utterance_s_max * RATE_HZ)
    assert len(sound) > limit
    hear(recogniser, sound[:limit])
    first, length = recogniser.cut()
    assert first.text
    assert first.stable == len(first.text)
    assert 0 < length <= limit
    hear(recogniser, sound[limit : limit + 2 * RATE_HZ])
    assert recogniser.finish().text


@pytest.mark.speech
def test_whisper_cuts_between_words(lines):
    recogniser = whisper()
    limit = int(recogniser.utterance_s_max * RATE_HZ)
    said, read = [], []
    for first, second in ((1, 3), (3, 4), (5, 6), (6, 7), (10, 11)):
        said += [lines[first][0], lines[second][0]]
        sound = np.concatenate([lines[first][1], lines[second][1]])
        hear(recogniser, sound[:limit])
        read.append(recogniser.cut()[0].text)
        hear(recogniser, sound[limit:])
        read.append(recogniser.finish().text)
    assert speech.word_error(" ".join(said), read) <= 0.05


@pytest.mark.speech
def test_whisper_reads_every_line_of_the_debate(lines):
    recogniser = whisper()
    read = []
    for _, sound in lines:
        hear(recogniser, sound)
        read.append(recogniser.finish().text)
    assert speech.word_error(" ".join(text for text, _ in lines), read) < 0.05


@pytest.mark.speech
def test_whisper_says_nothing_about_silence_and_does_not_go_round_in_circles():
    recogniser = whisper()
    recogniser.hear(np.zeros(4 * RATE_HZ, np.float32))
    assert len(recogniser.finish().text.split()) <= 3
    recogniser.hear((np.random.default_rng(1).standard_normal(8 * RATE_HZ) * 0.05).astype(np.float32))
    assert len(recogniser.finish().text.split()) <= 8


@pytest.mark.speech
def test_vosk_reads_the_loanwords_and_is_sure_of_them():
    recogniser = vosk()
    hear(recogniser, speech.loan_sentence())
    read = recogniser.finish()
    assert read.text.endswith(speech.LOAN_READ), read
    assert read.confidence is not None
    assert 0.8 < read.confidence <= 1


@pytest.mark.speech
def test_vosk_cuts_between_words():
    recogniser = vosk()
    sound = np.concatenate([speech.loan_sentence(seed) for seed in (1, 2, 3)])
    limit = int(recogniser.utterance_s_max * RATE_HZ)
    hear(recogniser, sound[:limit])
    first, length = recogniser.cut()
    hear(recogniser, sound[limit:])
    rest = recogniser.finish()
    assert limit - 3 * RATE_HZ < length < limit, "what may be half a word was kept"
    assert set(first.text.split()) <= set(speech.LOANWORDS)
    recogniser.hear(sound[length:limit])
    hear(recogniser, sound[limit:])
    assert rest.text
    assert recogniser.finish() == rest, "the rest is not what was heard from the cut on"


@pytest.mark.speech
def test_vosk_says_nothing_about_silence():
    recogniser = vosk()
    hear(recogniser, np.zeros(4 * RATE_HZ, np.float32))
    assert recogniser.finish().text == ""
