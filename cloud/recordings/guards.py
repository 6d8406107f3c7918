"""What makes recognised speech suspicious. Pure: nothing is dropped in silence, doubt is written down.

Whisper invents text in two ways: it repeats itself, and it writes into silence. The measures are its own
(Radford et al. 2022, section 4.5: compression ratio 2.4, average log probability -1, no speech 0.6).
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

COMPRESSION_MAX = 2.4
LOGPROB_MIN = -1.0
NO_SPEECH_MAX = 0.6
PROBABILITY_MIN = 0.5
"""Mean probability of a line's words below which it is marked."""
NGRAM_MAX = 8
REPEATS_MIN = 4
REPEATED_WORDS_MIN = 6
"""An assembly may say "yes, yes, yes, yes"; it does not say "thank you" four times in a row."""


class Doubt(StrEnum):
    """Why a line deserves a second look."""

    REPETITION = "repetition"
    LOW_CONFIDENCE = "low-confidence"
    INAUDIBLE = "inaudible"


class Word(msgspec.Struct, frozen=True, array_like=True):
    """One word with its place in the sound, in ms; `text` carries the space before it."""

    start_ms: int
    end_ms: int
    text: str
    probability: float


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine wrote for one part of the sound, with its own measures."""

    start_ms: int
    end_ms: int
    words: tuple[Word, ...]
    logprob: float
    no_speech: float
    compression: float


def doubts(heard: Heard) -> frozenset[Doubt]:
    """What is suspicious about it."""
    found = set()
    if heard.compression > COMPRESSION_MAX or len(collapse(heard.words)) < len(heard.words):
        found.add(Doubt.REPETITION)
    if heard.no_speech > NO_SPEECH_MAX and heard.logprob < LOGPROB_MIN:
        found.add(Doubt.INAUDIBLE)
    elif heard.logprob < LOGPROB_MIN:
        found.add(Doubt.LOW_CONFIDENCE)
    return frozenset(found)


def wants_second_reading(heard: Heard) -> bool:
    """Whether the slow way, which raises the temperature step by step, should read this part again."""
    return bool(doubts(heard))


def better(first: Sequence[Heard], second: Sequence[Heard]) -> Sequence[Heard]:
    """The reading with fewer doubts; the first where both have as many, or the second is empty."""
    if not second:
        return first
    worst = max(len(doubts(each)) for each in second)
    return second if worst < max(len(doubts(each)) for each in first) else first


def collapse(words: Sequence[Word]) -> tuple[Word, ...]:
    """The words with each run of a phrase said again and again left once."""
    kept: list[Word] = []
    at = 0
    spoken = ["".join(letter for letter in word.text.casefold() if letter.isalnum()) for word in words]
    while at < len(words):
        length, repeats = _run(spoken, at)
        kept += words[at : at + length]
        at += length * repeats
    return tuple(kept)


def _run(spoken: Sequence[str], at: int) -> tuple[int, int]:
    """Length of the shortest phrase at `at` that is repeated too often, and how often; (1, 1) for none."""
    for length in range(1, min(NGRAM_MAX, (len(spoken) - at) // REPEATS_MIN) + 1):
        phrase = spoken[at : at + length]
        repeats, following = 1, at + length
        while spoken[following : following + length] == phrase:
            repeats, following = repeats + 1, following + length
        if repeats >= REPEATS_MIN and repeats * length >= REPEATED_WORDS_MIN:
            return length, repeats
    return 1, 1
