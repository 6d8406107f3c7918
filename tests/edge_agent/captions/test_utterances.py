"""Where utterances begin and end."""

import pytest

from edge_agent.captions.utterances import BEGIN_FRAMES, FRAME_MS, PAUSES_MS, Turn, Utterances


def follow(utterances: Utterances, probability: float, frames: int) -> list[Turn]:
    return [utterances.follow(probability) for _ in range(frames)]


def speaking_for(length_ms: int) -> Utterances:
    utterances = Utterances()
    follow(utterances, 0.9, length_ms // FRAME_MS + 1)
    assert utterances.speaking
    return utterances


def test_a_knock_is_no_speech():
    utterances = Utterances()
    assert set(follow(utterances, 0.9, BEGIN_FRAMES - 1)) == {Turn.QUIET}
    assert utterances.follow(0.1) is Turn.QUIET
    assert set(follow(utterances, 0.9, BEGIN_FRAMES - 1)) == {Turn.QUIET}


def test_speech_begins_once():
    assert follow(Utterances(), 0.9, BEGIN_FRAMES + 2)[-3:] == [Turn.BEGIN, Turn.GOES_ON, Turn.GOES_ON]


def test_a_soft_syllable_neither_begins_nor_ends_speech():
    assert set(follow(Utterances(), 0.45, 50)) == {Turn.QUIET}
    assert set(follow(speaking_for(1000), 0.45, 50)) == {Turn.GOES_ON}


@pytest.mark.parametrize(("since_ms", "pause_ms"), PAUSES_MS)
def test_the_longer_an_utterance_the_shorter_the_pause_that_ends_it(since_ms, pause_ms):
    utterances = speaking_for(since_ms + 200)
    turns = follow(utterances, 0.1, -(-pause_ms // FRAME_MS))
    assert turns[:-1] == [Turn.PAUSES] * (len(turns) - 1)
    assert turns[-1] is Turn.END
    assert not utterances.speaking


def test_after_a_cut_the_long_pause_counts_again():
    utterances = speaking_for(8_000)
    utterances.cut()
    assert Turn.END not in follow(utterances, 0.1, PAUSES_MS[-1][1] // FRAME_MS + 1)
