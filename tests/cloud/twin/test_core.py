"""The cloud's half of the twin: versions, conflicts, limits, and every refusal by its code."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from cloud.twin import core, shapes
from cloud.twin.core import Changed, Refusal, Repeated, Twin
from contract.twin import DOCUMENT_BYTES_MAX, NUMBER_MAX, ErrorCode, Update, leaves, merge
from tests.contract.test_twin import CHANGES, SECTIONS

AT_S = 1_795_423_200


def asked(payload: Any) -> Update:
    found = core.read_update(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
    assert isinstance(found, Update), found
    return found


def refused(payload: Any) -> Refusal:
    found = core.read_update(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
    assert isinstance(found, Refusal), found
    return found


def after(twin: Twin, payload: dict[str, Any], at_s: int = AT_S) -> Twin:
    outcome = core.update(twin, asked(payload), "", at_s)
    assert isinstance(outcome, Changed), outcome
    return outcome.after


def desired(**values: Any) -> dict[str, Any]:
    return {"state": {"desired": values}}


def reported(**values: Any) -> dict[str, Any]:
    return {"state": {"reported": values}}


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else 1


def test_the_first_update_makes_the_twin_and_each_one_a_version() -> None:
    first = after(Twin(), desired(colour="red"))
    assert (first.version, first.exists, first.desired, first.reported) == (1, True, {"colour": "red"}, {})
    second = after(first, reported(colour="red"))
    assert (second.version, second.delta) == (2, {})
    assert after(second, reported(colour="red")).version == 3, "an update that changes nothing is one, too"


def test_null_removes_a_value_and_a_section() -> None:
    twin = after(Twin(), {"state": {"desired": {"a": {"b": 1, "c": 2}}, "reported": {"x": 1}}})
    assert after(twin, desired(a={"b": None})).desired == {"a": {"c": 2}}
    assert after(twin, desired(a={"b": None, "c": None})).desired == {}
    gone = after(twin, {"state": {"desired": None}})
    assert (gone.desired, gone.desired_at, gone.reported) == ({}, {}, {"x": 1})


def test_each_value_keeps_the_second_in_which_it_was_written() -> None:
    twin = after(Twin(), desired(a=1, b={"c": 2}, list=[1, 2]), at_s=100)
    twin = after(twin, desired(b={"c": 3}), at_s=200)
    at = {"timestamp": 100}
    assert twin.desired_at == {"a": at, "b": {"c": {"timestamp": 200}}, "list": at}
    turned = after(twin, desired(a={"deep": 1}, b=7), at_s=300)
    assert turned.desired_at == {"a": {"deep": {"timestamp": 300}}, "b": {"timestamp": 300}, "list": at}


@given(SECTIONS, CHANGES)
def test_metadata_has_the_shape_of_the_values(section: Any, changes: Any) -> None:
    twin = after(Twin(), {"state": {"desired": section}}, at_s=100)
    twin = after(twin, {"state": {"desired": changes}}, at_s=200)
    assert twin.desired == merge(merge({}, section), changes)
    stamped = {path[:-1] for path, _ in leaves(twin.desired_at)}
    assert stamped == {path for path, _ in leaves(twin.desired)}


def test_an_update_with_another_version_is_a_conflict_and_changes_nothing() -> None:
    twin = after(Twin(), desired(a=1))
    stale = core.update(twin, asked(desired(a=2) | {"version": 7, "clientToken": "t"}), "", AT_S)
    assert isinstance(stale, Refusal)
    assert (stale.code, stale.token) == (ErrorCode.CONFLICT, "t")
    assert stale.message.startswith("Version conflict")
    assert after(twin, desired(a=2) | {"version": 1}).version == 2


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=12))
def test_of_updates_with_one_version_the_first_wins(wishes: list[tuple[int, int]]) -> None:
    twin = Twin()
    for version, value in wishes:
        outcome = core.update(twin, asked(desired(a=value) | {"version": version}), "", AT_S)
        assert isinstance(outcome, Changed) == (version == twin.version)
        if isinstance(outcome, Changed):
            assert (outcome.after.version, outcome.after.desired) == (version + 1, {"a": value})
            twin = outcome.after


def test_the_same_request_twice_is_taken_once_and_answered_twice() -> None:
    payload = json.dumps(reported(a=1) | {"version": 0, "clientToken": "t"}).encode()
    mark = core.fingerprint("update", "t", payload)
    first = core.update(Twin(), asked(payload), mark, AT_S)
    assert isinstance(first, Changed)
    again = core.update(first.after, asked(payload), mark, AT_S + 9)
    assert again == Repeated(first.after)
    assert core.fingerprint("update", "", payload) == "", "without a token each one is new"
    assert core.fingerprint("delete", "t", payload) != mark


def test_a_deleted_twin_goes_on_from_its_version() -> None:
    twin = after(after(Twin(), desired(a=1)), desired(b=2))
    gone = core.delete(twin, "t", "m")
    assert gone == Twin(version=2, last="m")
    assert isinstance(core.delete(gone, "t", "m"), Repeated), "the broker may bring it twice"
    nothing = core.delete(gone, "u", "n")
    assert isinstance(nothing, Refusal)
    assert (nothing.code, nothing.token) == (ErrorCode.NOT_FOUND, "u")
    assert after(gone, desired(c=3)) == Twin(3, True, {"c": 3}, {}, {"c": {"timestamp": AT_S}}, {})


def test_a_twin_has_a_bound_and_says_how_large_it_would_be() -> None:
    twin = after(Twin(), desired(a="x" * 4000))
    more = core.update(twin, asked(reported(a="x" * 5000)), "", AT_S)
    assert isinstance(more, Refusal)
    assert more.code == ErrorCode.TOO_LARGE
    assert str(DOCUMENT_BYTES_MAX) in more.message
    assert refused(b'{"state":{"desired":{"a":"' + b"x" * 20_000 + b'"}}}').code == ErrorCode.TOO_LARGE


@pytest.mark.parametrize(
    ("payload", "code", "sentence"),
    [
        (b"{", 400, "Invalid JSON"),
        (b"[]", 400, "Invalid JSON"),
        (b"[" * 16_000, 400, "Invalid JSON"),
        (b'{"state": {"desired": {"a": NaN}}}', 400, "Invalid JSON"),
        (b'{"state": {"desired": {"a": 1e999}}}', 400, ""),
        (b'{"state": {"desired": {"a": "\\ud800"}}}', 400, "Invalid JSON"),
        (b"\xff\xfe", 415, "UTF-8"),
        (b"", 400, "Missing required node: state"),
        ({}, 400, "Missing required node: state"),
        ({"state": 3}, 400, "State node must be an object"),
        ({"state": {"desired": []}}, 400, "Desired node must be an object"),
        ({"state": {"reported": "x"}}, 400, "Reported node must be an object"),
        ({"state": {"wished": {}}}, 400, "State contains an invalid node: 'wished'"),
        ({"state": {"delta": {}}}, 400, "State contains an invalid node"),
        ({"state": {"desired": {"a": [1, None]}}}, 400, "an array holds no null"),
        ({"state": {"desired": {"a": [{"b": None}]}}}, 400, "an array holds no null"),
        ({"state": {"desired": {"a": NUMBER_MAX + 1}}}, 400, "a whole number is at most"),
        ({"state": {"desired": {"a": 2**70}}}, 400, ""),
        ({"state": {"desired": nested(7)}}, 400, "too many levels"),
        ({"state": {"desired": {"a": [[[[[[1]]]]]]}}}, 400, "too many levels"),
        ({"state": {}, "version": -1}, 400, "Invalid version"),
        ({"state": {}, "version": "1"}, 400, "Invalid version"),
        ({"state": {}, "version": True}, 400, "Invalid version"),
        ({"state": {}, "version": 2**60}, 400, "Invalid version"),
        ({"state": {}, "clientToken": "x" * 65}, 400, "Invalid clientToken"),
        ({"state": {}, "clientToken": "ë" * 33}, 400, "Invalid clientToken"),
        ({"state": {}, "clientToken": 5}, 400, "Invalid clientToken"),
    ],
)
def test_what_is_no_request_is_refused_by_its_code(payload: Any, code: int, sentence: str) -> None:
    found = refused(payload)
    assert found.code == code
    assert sentence in found.message


def test_what_is_within_the_limits_is_taken() -> None:
    asked({"state": {"desired": nested(6)}, "clientToken": "x" * 64, "version": 0})
    asked({"state": {"desired": {"a": -NUMBER_MAX, "": 1, "$x": "\u0000", "b": []}}})
    asked({"state": {}, "new_in_2031": [1]})
    asked({"state": {"desired": None, "reported": None}})


def test_a_refusal_carries_the_token_that_came_with_the_request() -> None:
    assert refused({"state": 3, "clientToken": "t"}).token == "t"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
    | st.binary(max_size=200)
)
def test_anything_is_taken_or_refused_and_what_is_taken_can_be_stored(tree: Any) -> None:
    payload = tree if isinstance(tree, bytes) else json.dumps({"state": {"desired": tree}}).encode()
    found = core.read_update(payload)
    if isinstance(found, Update):
        outcome = core.update(Twin(), found, "", AT_S)
        if isinstance(outcome, Changed):
            assert json.loads(json.dumps(outcome.after.desired)) == outcome.after.desired


def test_the_whole_twin_is_told_with_its_difference_and_without_empty_sections() -> None:
    twin = after(Twin(), {"state": {"desired": {"a": 1, "b": {"c": 2}}, "reported": {"a": 1}}})
    told = shapes.whole(twin, AT_S, "t")
    assert told.state.delta == {"b": {"c": 2}}
    assert told.metadata.delta == {"b": {"c": {"timestamp": AT_S}}}
    assert (told.version, told.timestamp, told.client_token) == (1, AT_S, "t")
    alone = shapes.whole(after(Twin(), reported(a=1)), AT_S, "")
    assert (alone.state.desired, alone.state.delta, alone.metadata.desired) == (UNSET, UNSET, UNSET)


def test_a_delta_is_told_only_while_something_differs() -> None:
    twin = after(Twin(), desired(a=1))
    delta = shapes.delta(twin, AT_S, "t")
    assert delta is not None
    assert (delta.state, delta.metadata, delta.version) == ({"a": 1}, {"a": {"timestamp": AT_S}}, 1)
    assert shapes.delta(after(twin, reported(a=1)), AT_S) is None
