"""Words and microphones joined: who spoke is who had the floor, and no word or time is lost or made."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.recordings.guards import Doubt, Heard, Word
from cloud.recordings.joining import GRACE_MS, Floor, FloorChange, pieces, speaking


def taken(seat: str, at: int, until: int | None = None) -> list[FloorChange]:
    changes = [FloorChange(at, seat, True)]
    return changes if until is None else [*changes, FloorChange(until, seat, False)]


def heard(*words: tuple[int, int, str], **measures: float) -> Heard:
    good = {"logprob": -0.2, "no_speech": 0.01, "compression": 1.2} | measures
    spoken = tuple(Word(start, end, f" {text}", 0.9) for start, end, text in words)
    return Heard(start_ms=words[0][0], end_ms=words[-1][1], words=spoken, **good)


def test_a_segment_is_split_where_the_speaker_changes():
    said = heard((0, 900, "Who"), (900, 1800, "agrees?"), (2100, 2500, "I"), (2500, 2900, "do."))
    lines = pieces([said], Floor([*taken("C", 0, 2000), *taken("A", 2000, 5000)]))
    assert [(line.seat, line.text) for line in lines] == [("C", "Who agrees?"), ("A", "I do.")]
    assert [(line.start_ms, line.end_ms) for line in lines] == [(0, 1800), (2100, 2900)]


def test_whoever_took_the_floor_last_speaks_and_gives_it_back_to_the_one_before():
    floor = Floor([*taken("C", 0), *taken("A", 1000, 3000), *taken("B", 2000, 2500)])
    assert [floor.speaker(at) for at in (500, 1500, 2200, 2700, 3500)] == ["C", "A", "B", "A", "C"]


def test_a_word_just_beside_the_button_belongs_to_it_and_others_to_nobody():
    floor = Floor(taken("A", 10_000, 20_000))
    assert floor.speaker(10_000 - GRACE_MS) == "A"
    assert floor.speaker(20_000 + GRACE_MS) == "A"
    assert floor.speaker(10_000 - GRACE_MS - 1) is None
    assert floor.speaker(20_000 + GRACE_MS + 1) is None
    assert Floor([]).speaker(5) is None


def test_pressing_twice_and_releasing_what_was_not_taken_change_nothing():
    floor = Floor(
        FloorChange(at, seat, seat != "X") for at, seat in ((0, "A"), (1000, "B"), (1500, "A"), (1700, "X"))
    )
    assert floor.speaker(2000) == "B"


def test_what_nobody_heard_is_marked_and_not_dropped():
    lines = pieces([heard((0, 1000, "gibberish"), logprob=-2, no_speech=0.9)], Floor(taken("A", 0)))
    assert [(line.text, line.marks, line.seat) for line in lines] == [("", {Doubt.INAUDIBLE}, "A")]


def test_words_that_the_engine_doubted_make_an_uncertain_line():
    words = tuple(Word(at, at + 90, " so", 0.3) for at in (0, 100))
    line = Heard(start_ms=0, end_ms=190, words=words, logprob=-0.9, no_speech=0, compression=1)
    assert pieces([line], Floor([]))[0].marks == {Doubt.LOW_CONFIDENCE}


SEATS = st.sampled_from(["A", "B", "C"])
CHANGES = st.lists(st.builds(FloorChange, st.integers(0, 60_000), SEATS, st.booleans()), max_size=20)


@st.composite
def speech(draw):
    """Segments one after the other, their words too, all words different."""
    at, found = 0, []
    for number in range(draw(st.integers(0, 4))):
        words = []
        for index in range(draw(st.integers(1, 12))):
            at += draw(st.integers(0, 2500))
            end = at + draw(st.integers(0, 900))
            words.append((at, end, f"w{number}.{index}" + draw(st.sampled_from(["", "x", "."]))))
            at = end
        found.append(heard(*words))
    return found


@settings(deadline=None)
@given(speech(), CHANGES)
def test_every_word_is_in_one_line_and_in_its_order(said, changes):
    lines = pieces(said, Floor(changes))
    wanted = [word.text.strip() for each in said for word in each.words]
    assert " ".join(line.text for line in lines).split() == wanted
    assert sum(line.words for line in lines) == len(wanted)
    assert all(line.start_ms <= line.end_ms for line in lines)
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(lines))


@settings(deadline=None)
@given(speech(), CHANGES)
def test_each_word_is_with_the_seat_that_had_the_floor(said, changes):
    floor = Floor(changes)
    known = {word.text.strip(): word for each in said for word in each.words}
    for line in pieces(said, floor):
        for text in line.text.split():
            word = known[text]
            assert floor.speaker((word.start_ms + word.end_ms) // 2) == line.seat


@settings(deadline=None)
@given(speech(), CHANGES)
def test_speaking_time_is_the_time_of_the_lines(said, changes):
    lines = pieces(said, Floor(changes))
    figures = speaking([(line.seat, line.start_ms, line.end_ms, line.words) for line in lines])
    assert sum(each.spoken_ms for each in figures) == sum(line.end_ms - line.start_ms for line in lines)
    assert sum(each.words for each in figures) == sum(line.words for line in lines)
    assert sum(each.turns for each in figures) == sum(
        number == 0 or lines[number - 1].seat != line.seat for number, line in enumerate(lines)
    )
    assert len({each.seat for each in figures}) == len(figures)


@settings(deadline=None)
@given(CHANGES, st.permutations(range(20)))
def test_the_order_in_which_events_arrive_does_not_matter(changes, order):
    places = {change.at_ms: change for change in changes}
    unique = list(places.values())
    shuffled = [unique[at] for at in order if at < len(unique)]
    one, other = Floor(unique), Floor(shuffled)
    assert [one.speaker(at) for at in range(0, 60_000, 777)] == [
        other.speaker(at) for at in range(0, 60_000, 777)
    ]
