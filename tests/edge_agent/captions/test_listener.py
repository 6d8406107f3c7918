"""From blocks to messages, with a recogniser that counts seconds and a detector that hears loudness."""

import itertools
from collections.abc import Iterable

import pytest

from edge_agent.captions.child_protocol import Frame, Gap, Guess, Heard, Message, Said
from edge_agent.captions.listener import Listener
from tests.edge_agent.captions.fakes import FakeRecogniser, FakeVad, frames, quiet, tone

RATES = pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])


def listen(listener: Listener, sound: Iterable[Frame]) -> list[Message]:
    return [message for frame in sound for message in listener.hear(frame)]


def said(messages: list[Message]) -> list[Said]:
    return [message for message in messages if isinstance(message, Said)]


@RATES
def test_an_utterance_is_said_where_it_was_spoken(rate):
    listener = Listener(FakeRecogniser(), FakeVad(), rate)
    sound = quiet(2, rate) + tone(3, rate) + quiet(2, rate)
    (line,) = said(listen(listener, frames(sound, rate, position=1_000_000)))
    assert line.text == "word word word"
    assert line.start - 1_000_000 == pytest.approx(1.75 * rate, abs=0.1 * rate)
    assert line.end - 1_000_000 == pytest.approx(5.0 * rate, abs=0.1 * rate)


@RATES
def test_a_sign_of_life_every_second_says_whether_it_is_quiet(rate):
    listener = Listener(FakeRecogniser(), FakeVad(), rate)
    sound = frames(quiet(3, rate) + tone(3, rate), rate)
    heard = [message for message in listen(listener, sound) if isinstance(message, Heard)]
    assert [message.quiet for message in heard] == [True, True, False, False, False]
    seconds = [message.position / rate for message in heard]
    assert all(later - earlier <= 1.1 for earlier, later in itertools.pairwise(seconds))


def test_a_guess_covers_what_was_heard_so_far():
    rate = 48_000
    listener = Listener(FakeRecogniser(), FakeVad(), rate)
    assert listener.guess() is None
    listen(listener, frames(tone(2.5, rate), rate))
    assert listener.speech_unread > 2 * 16_000
    guess = listener.guess()
    assert guess == Guess(start=0, end=guess.end, text="word word", stable=4, confidence=0.5)
    assert listener.speech_unread == 0
    # The pause after it is no reason to guess again; the resampler held some milliseconds of speech back.
    listen(listener, frames(quiet(0.4, rate), rate, int(2.5 * rate)))
    assert listener.speech_unread < 0.1 * 16_000


def test_speech_without_a_pause_is_cut_and_nothing_is_lost():
    rate = 16_000
    recogniser = FakeRecogniser()
    lines = said(listen(Listener(recogniser, FakeVad(), rate), [*frames(tone(17.5, rate), rate), Gap()]))
    assert " ".join(line.text for line in lines).split() == ["word"] * 17
    assert all(line.end - line.start <= recogniser.utterance_s_max * rate + rate for line in lines)
    assert [line.start for line in lines[1:]] == [line.end for line in lines[:-1]]


def test_a_gap_finishes_what_was_being_said():
    listener = Listener(FakeRecogniser(), FakeVad(), 16_000)
    assert said(listen(listener, frames(tone(2, 16_000), 16_000))) == []
    assert [line.text for line in said(listen(listener, [Gap()]))] == ["word word"]
    assert said(listen(listener, [Gap()])) == []


def test_a_jump_in_position_finishes_it_too():
    listener = Listener(FakeRecogniser(), FakeVad(), 16_000)
    listen(listener, frames(tone(2, 16_000), 16_000))
    (line,) = said(listen(listener, frames(tone(1, 16_000), 16_000, position=1_000_000)))
    assert line.end == pytest.approx(2 * 16_000, abs=1_600)
    (line,) = said(listen(listener, [Gap()]))
    assert line.start >= 1_000_000
