"""The laws of the twin: what merging and comparing promise, whatever the documents are."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from contract import twin
from contract.twin import (
    LOG_LEVEL,
    SETTINGS,
    TELEMETRY_INTERVAL,
    difference,
    find,
    leaves,
    merge,
    same,
    sampling_s,
    wrong,
)

KEYS = st.sampled_from("abc")
SCALARS = st.one_of(st.booleans(), st.integers(-2, 2), st.floats(-2, 2), st.sampled_from(["", "x", "y"]))
VALUES = st.recursive(
    SCALARS | st.lists(SCALARS, max_size=2),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
SECTIONS = st.dictionaries(KEYS, VALUES, max_size=3)
"""Few names and few values, so that two of them meet."""
CHANGES = st.dictionaries(
    KEYS,
    st.recursive(
        st.none() | SCALARS | st.lists(SCALARS, max_size=2),
        lambda inner: st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)


def kept(section: twin.Section) -> twin.Section:
    """As a twin holds it: without what holds nothing."""
    return merge({}, section)


def covers(reported: Any, desired: Any) -> bool:
    """Whether everything desired is reported so; written a second time, in another way."""
    if isinstance(desired, dict) and isinstance(reported, dict):
        return all(key in reported and covers(reported[key], desired[key]) for key in desired)
    return same(reported, desired)


@given(SECTIONS, SECTIONS)
def test_nothing_differs_exactly_when_all_that_is_desired_is_reported(desired: Any, reported: Any) -> None:
    desired, reported = kept(desired), kept(reported)
    assert (difference(desired, reported) == {}) == covers(reported, desired)


@given(SECTIONS, SECTIONS)
def test_reporting_the_difference_leaves_none(desired: Any, reported: Any) -> None:
    desired, reported = kept(desired), kept(reported)
    assert difference(desired, merge(reported, difference(desired, reported))) == {}


@given(SECTIONS, SECTIONS)
def test_reporting_the_difference_touches_nothing_else(desired: Any, reported: Any) -> None:
    desired, reported = kept(desired), kept(reported)
    after = merge(reported, difference(desired, reported))
    wanted = {path[:depth] for path, _ in leaves(desired) for depth in range(1, len(path) + 1)}
    for path, value in leaves(reported):
        if not any(path[:depth] in wanted for depth in range(1, len(path) + 1)):
            assert find(after, path) == value


@given(SECTIONS, CHANGES)
def test_the_same_changes_twice_are_the_same_changes_once(section: Any, changes: Any) -> None:
    once = merge(kept(section), changes)
    assert same(merge(once, changes), once)


@given(SECTIONS, CHANGES)
def test_a_merged_section_holds_neither_null_nor_empty_objects(section: Any, changes: Any) -> None:
    for _, value in leaves(merge(kept(section), changes)):
        assert value is not None
        assert value != {}


@given(SECTIONS, CHANGES)
def test_changes_do_not_touch_what_they_are_merged_into(section: Any, changes: Any) -> None:
    before = msgspec.json.encode(section)
    merge(section, changes)
    assert msgspec.json.encode(section) == before


def test_true_is_not_one_and_one_is_one_point_nought() -> None:
    assert difference({"a": True}, {"a": 1}) == {"a": True}
    assert difference({"a": [True]}, {"a": [1]}) == {"a": [True]}
    assert difference({"a": 1}, {"a": 1.0}) == {}


def test_arrays_are_replaced_as_a_whole() -> None:
    assert merge({"colours": ["red", "green"]}, {"colours": ["red"]}) == {"colours": ["red"]}
    assert difference({"colours": ["red", "green"]}, {"colours": ["red"]}) == {"colours": ["red", "green"]}


def test_a_difference_has_the_names_that_lead_to_it() -> None:
    desired = {"lights": {"hall": {"red": 255, "green": 255}}, "engine": "on"}
    reported = {"lights": {"hall": {"red": 255, "green": 0}}, "engine": "on"}
    assert difference(desired, reported) == {"lights": {"hall": {"green": 255}}}


def test_a_setting_says_what_it_takes() -> None:
    assert wrong(TELEMETRY_INTERVAL, 10) == wrong(TELEMETRY_INTERVAL, 3600) == ""
    values: list[object] = [9, 3601, True, "30", 30.0, None, [30], {}]
    for value in values:
        assert wrong(TELEMETRY_INTERVAL, value) == "telemetry.interval_s is a whole number from 10 to 3600 s"
    assert wrong(LOG_LEVEL, "debug") == ""
    values = ["DEBUG", "", 10, None, ["debug"]]
    for value in values:
        assert wrong(LOG_LEVEL, value) == "log.level is one of debug, info, warning, error"


def test_how_often_a_device_samples_is_believed_within_bounds() -> None:
    assert sampling_s({"telemetry": {"interval_s": 600}}) == 600
    for said in (None, 5, 10**9, "600", {}, [600], True):
        assert sampling_s({"telemetry": {"interval_s": said}}) == sampling_s({}) == 10


def test_no_setting_lies_within_another() -> None:
    paths = [setting.path for setting in SETTINGS]
    assert len(set(paths)) == len(paths)
    assert not any(one != other and one[: len(other)] == other for one in paths for other in paths)
