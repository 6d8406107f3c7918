"""The language of groups: what it finds, and what it says to those who mistype."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.devices.problems import SENTENCES, Problem, WrongError
from cloud.devices.query import QUERY_LENGTH_MAX, TERMS_MAX, Facts, Query, Term, parse

KIOSK = Facts("kiosk-01", "kiosk", "Prizren, Qendra", "civic-fleet 0.10.0", {"floor": "2", "Way": "north"})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kind:kiosk", True),
        ("kind:recorder", False),
        ("  kind:kiosk   device:kiosk-0*  ", True),
        ("kind:kiosk device:kiosk-1*", False),
        ('site:"prizren, QENDRA"', True),
        ('site:"Prizren*"', True),
        ("site:Prizren", False),
        ("site:Prizren*", True),
        ("tag.floor:2", True),
        ("tag.floor:*", True),
        ("tag.lift:*", False),
        ("tag.floor:20", False),
        ("tag.way:north", False),
        ("tag.Way:NORTH", True),
        ('agent:"civic-fleet 0.10*"', True),
        ('tag.floor:""', False),
    ],
)
def test_a_query_finds_whom_all_its_terms_hold_for(text: str, found: bool) -> None:
    assert parse(text).holds(KIOSK) is found


@pytest.mark.parametrize(
    ("text", "problem", "at"),
    [
        ("", Problem.QUERY_EMPTY, 0),
        ("   ", Problem.QUERY_EMPTY, 0),
        ("kiosk", Problem.NO_TERM, 1),
        ("kind:kiosk recorder", Problem.NO_TERM, 12),
        ("kind :kiosk", Problem.NO_TERM, 1),
        ("color:red", Problem.NO_FIELD, 1),
        (":x", Problem.NO_FIELD, 1),
        ("kind:", Problem.NO_VALUE, 6),
        ("kind: kiosk", Problem.NO_VALUE, 6),
        ("device:ki*sk", Problem.STAR, 10),
        ('site:"a*b"', Problem.STAR, 8),
        ("site:a\\b", Problem.BACKSLASH_OUTSIDE, 7),
        ('site:"a\\b"', Problem.BACKSLASH, 8),
        ('site:"Prizren', Problem.NEVER_CLOSED, 6),
        ('site:"a"kind:kiosk', Problem.NO_SPACE, 9),
        ("tag.:x", Problem.TAG_KEY, 0),
        ("tag.ë:x", Problem.TAG_KEY, 0),
        ("kind:kiosk " * (TERMS_MAX + 1), Problem.QUERY_TERMS, 0),
        ("device:" + "x" * QUERY_LENGTH_MAX, Problem.QUERY_LENGTH, 0),
    ],
)
def test_what_is_no_query_is_refused_with_the_place(text: str, problem: Problem, at: int) -> None:
    with pytest.raises(WrongError) as refused:
        parse(text)
    assert (refused.value.problem, refused.value.values["at"]) == (problem, at)
    assert str(refused.value) == SENTENCES[problem] % refused.value.values


fields = st.sampled_from(["device", "kind", "site", "agent", "tag.floor", "tag.a/b@c+d=e-f_g.h"])
terms = st.builds(Term, fields, st.text(max_size=12), st.booleans())
queries = st.builds(lambda found: Query(tuple(found)), st.lists(terms, min_size=1, max_size=6))


@given(queries)
def test_every_query_can_be_written_down_and_read_again(query: Query) -> None:
    assert parse(str(query)) == query


@given(st.text(max_size=40) | st.text(alphabet='kind:tag.*" \\floor', max_size=40))
def test_any_text_is_a_query_or_refused_with_a_sentence(text: str) -> None:
    try:
        query = parse(text)
    except WrongError as error:
        told = str(error)
        assert told, "a sentence"
    else:
        assert parse(str(query)) == query


@given(st.text(max_size=8), st.text(max_size=8))
def test_a_prefix_holds_for_what_begins_so_whatever_the_case(begin: str, rest: str) -> None:
    facts = Facts("d", "kiosk", begin + rest, "", {})
    assert Term("site", begin, prefix=True).holds(facts)
    assert Term("site", begin + rest).holds(facts)
