"""Loops are shortened, doubt is marked, and honest speech stays as it is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.recordings.guards import Doubt, Heard, Word, better, collapse, doubts


def words(text: str) -> tuple[Word, ...]:
    return tuple(Word(at * 300, at * 300 + 250, f" {word}", 0.9) for at, word in enumerate(text.split()))


def heard(text: str = "all is well", **measures: float) -> Heard:
    spoken = words(text)
    end = spoken[-1].end_ms if spoken else 1000
    good = {"logprob": -0.2, "no_speech": 0.01, "compression": 1.2} | measures
    return Heard(start_ms=0, end_ms=end, words=spoken, **good)


def said(spoken: tuple[Word, ...]) -> str:
    return "".join(word.text for word in spoken).strip()


def test_a_loop_is_said_once_and_marked():
    loop = heard("we thank you. " + "Thank you very much. " * 12 + "Next item")
    assert doubts(loop) == {Doubt.REPETITION}
    assert said(collapse(loop.words)) == "we thank you. Thank you very much. Next item"


def test_an_assembly_may_say_yes_several_times():
    for text in ("Yes, yes, yes, yes, yes.", "No. No. No.", "the the plan of the city of the people"):
        assert doubts(heard(text)) == frozenset(), text
        assert collapse(words(text)) == words(text)


def test_measures_of_the_engine_are_heeded():
    assert doubts(heard(compression=2.5)) == {Doubt.REPETITION}
    assert doubts(heard(logprob=-1.2)) == {Doubt.LOW_CONFIDENCE}
    assert doubts(heard(logprob=-1.2, no_speech=0.7)) == {Doubt.INAUDIBLE}
    assert doubts(heard(no_speech=0.9)) == frozenset(), "confident words outweigh the silence token"


def test_the_second_reading_must_be_better():
    bad, worse, good = heard(logprob=-1.2), heard(logprob=-1.2, compression=3), heard()
    assert better([bad], [good]) == [good]
    assert better([bad], [worse]) == [bad]
    assert better([bad], []) == [bad]


@settings(deadline=None)
@given(st.lists(st.sampled_from("ab"), max_size=40))
def test_what_is_left_is_a_part_of_what_was_said(letters):
    spoken = words(" ".join(letters))
    kept = collapse(spoken)
    places = [word.start_ms for word in kept]
    assert places == sorted(set(places))
    assert set(kept) <= set(spoken)
    assert set(letters) == {word.text.strip() for word in kept}


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(6, 30))
def test_every_long_loop_is_found(length, repeats):
    phrase = " ".join(f"w{number}" for number in range(length))
    loop = words(" ".join([phrase] * repeats))
    assert said(collapse(loop)) == phrase
