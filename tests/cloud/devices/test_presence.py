"""What is believed of a device, told by its words, its data and its silence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.devices.presence import Cause, Ears, Event, Heard, Known, Limits, Said, TimePassed, handle

T0 = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LIMITS = Limits()
EARS = Ears(words_since=T0 - timedelta(days=1), data_since=T0 - timedelta(days=1))
GREETS, LEAVES = Said(True, "b1", 1), Said(False, "b1", 1)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def heard(seconds: float) -> tuple[float, Event]:
    return seconds, Heard(at(seconds))


def told(*story: tuple[float, Event], known: Known | None = None, ears: Ears = EARS) -> Known:
    """What is believed after a story of seconds and events."""
    known = known or Known()
    for seconds, event in story:
        known = handle(known, event, at(seconds), ears, LIMITS)
    return known


def looked(seconds: float) -> tuple[float, Event]:
    return seconds, TimePassed()


def test_a_device_that_greets_is_there_at_once() -> None:
    known = told((0, GREETS))
    assert (known.state, known.cause, known.since, known.boot) == ("online", Cause.WELL, at(0), "b1")


def test_a_device_that_never_came_is_off_and_stays_so() -> None:
    assert told(looked(0), looked(10_000)) == Known()


def test_a_will_counts_when_it_has_held() -> None:
    story = [(0.0, GREETS), heard(10), (12.0, LEAVES), looked(41.9)]
    assert told(*story).state == "online"
    gone = told(*story, looked(42))
    assert (gone.state, gone.cause, gone.since) == ("offline", Cause.ENDED, at(42))


def test_who_is_back_before_the_will_has_held_was_never_gone() -> None:
    known = told((0, GREETS), (12, LEAVES), (20, Said(True, "b1", 2)), heard(22), looked(60))
    assert (known.state, known.since) == ("online", at(0))


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(Said(False, "b0", 9), id="of an earlier boot"),
        pytest.param(Said(False, "b2", 1), id="of an earlier connection of the same boot"),
        pytest.param(Said(True, "b2", 1), id="a greeting of an earlier connection"),
    ],
)
def test_a_word_that_comes_too_late_changes_nothing(late: Said) -> None:
    here = told((0, Said(True, "b2", 2)), heard(5))
    assert handle(here, late, at(6), EARS, LIMITS) == here


def test_nothing_revives_a_connection_that_has_ended() -> None:
    gone = told((0, GREETS), (1, LEAVES), (2, GREETS), looked(31))
    assert gone.state == "offline"


def test_a_will_whose_greeting_was_lost_ends_its_connection() -> None:
    known = told((0, GREETS), (5, Said(False, "b1", 3)), (6, Said(True, "b1", 3)), looked(35))
    assert (known.state, known.connection) == ("offline", 3)


def test_a_greeting_is_told_again_whenever_the_control_plane_connects_and_counts_once() -> None:
    known = told(*((seconds, GREETS) for seconds in range(10)), heard(10))
    assert (known.state, known.comings) == ("online", (at(0),))


def test_an_agent_that_does_not_number_its_connections_comes_back_too() -> None:
    story = [(0.0, Said(True, "b1")), (1.0, Said(False, "b1")), looked(31)]
    assert told(*story).state == "offline"
    assert told(*story, (40, Said(True, "b1"))).state == "online"


def test_data_that_was_sent_after_the_will_proves_that_the_device_is_there() -> None:
    lost_greeting = [(0.0, GREETS), (5.0, LEAVES), looked(35)]
    assert told(*lost_greeting, heard(36)).state == "online"
    assert told(*lost_greeting, heard(36), looked(90)).state == "online"
    assert told(*lost_greeting, (36.0, Heard(at(14)))).state == "offline", "it may have been sent before"


def test_data_alone_tells_of_a_device_whose_greeting_was_dropped() -> None:
    assert told(heard(0)).state == "online"
    assert told(heard(0), looked(301)).state == "offline"


def test_a_link_without_data_is_degraded_and_then_gone() -> None:
    story = [(0.0, GREETS), heard(10)]
    assert told(*story, looked(69)).state == "online"
    late = told(*story, looked(70))
    assert (late.state, late.cause) == ("degraded", Cause.LATE)
    gone = told(*story, looked(70), looked(310))
    assert (gone.state, gone.cause) == ("offline", Cause.SILENT)
    assert told(*story, looked(70), heard(80)).state == "online"


def test_a_device_that_samples_seldom_is_given_as_many_samples_as_the_others_seconds() -> None:
    """Three missing samples make it late, five make it gone; a will is believed as soon as ever."""
    slow = Known(sampling_s=3600)
    story = [(0.0, GREETS), heard(10)]
    assert told(*story, looked(3 * 3600), known=slow).state == "online"
    assert told(*story, looked(3 * 3600 + 10), known=slow).cause is Cause.LATE
    assert told(*story, looked(3 * 3600 + 10), looked(5 * 3600 + 10), known=slow).cause is Cause.SILENT
    assert told(*story, (20, LEAVES), looked(50), known=slow).cause is Cause.ENDED
    tight = Limits(late_after_s=2, gone_after_s=4)
    assert tight.paced(10) == tight, "who samples as usual is held to the settings alone"


def test_a_link_that_comes_and_goes_is_degraded_until_it_has_been_steady() -> None:
    story: list[tuple[float, Event]] = [(60.0 * n, Said(True, "b1", n + 1)) for n in range(3)]
    known = told(*story, heard(130))
    assert (known.state, known.cause) == ("degraded", Cause.FLAPPING)
    steady = told(*story, *(heard(s) for s in range(130, 610, 10)))
    assert (steady.state, steady.cause) == ("online", Cause.WELL)


def test_who_does_not_listen_judges_nobody() -> None:
    story = [(0.0, GREETS), heard(10), (12.0, LEAVES), looked(10_000)]
    deaf = told(*story, ears=Ears(words_since=None, data_since=EARS.data_since))
    assert deaf.state == "offline", "nothing was believed of it before either"
    here = told((0, GREETS), heard(10))
    assert told(looked(10_000), known=here, ears=Ears(None, EARS.data_since)).state == "online"
    assert told(looked(10_000), known=here, ears=replace(EARS, data_since=None)).state == "online"


def test_after_a_restart_a_will_has_to_hold_anew_and_silence_counts_anew() -> None:
    before = told((0, GREETS), heard(10), (12, LEAVES))
    again = Ears(words_since=at(600), data_since=at(610))
    assert told(looked(629), known=before, ears=again).state == "online"
    assert told(looked(630), known=before, ears=again).state == "offline"
    here = told((0, GREETS), heard(10))
    assert told(looked(669), known=here, ears=again).state == "online"
    assert told(looked(670), known=here, ears=again).state == "degraded"


def test_an_ingest_that_starts_makes_nobody_well() -> None:
    gone = told((0, GREETS), heard(10), looked(70), looked(310))
    again = Ears(words_since=EARS.words_since, data_since=at(400))
    assert told(looked(401), known=gone, ears=again).state == "offline"
    late = told((0, GREETS), heard(10), looked(70))
    assert told(looked(401), known=late, ears=again).state == "degraded"


BOOTS = [f"b{n}" for n in range(1, 4)]
WORDS = st.builds(Said, st.booleans(), st.sampled_from(BOOTS), st.integers(0, 4))
SIGNS: st.SearchStrategy[Event] = st.one_of(WORDS, st.just(TimePassed()), st.just(Heard(T0)))
STORIES = st.lists(st.tuples(st.floats(0.1, 200), SIGNS), max_size=40)


def lived(story: list[tuple[float, Event]]) -> tuple[Known, float]:
    """Whatever came, in whatever order; and when it had become quiet."""
    known, now = Known(), 0.0
    for pause, event in story:
        now += pause
        happened = Heard(at(now)) if isinstance(event, Heard) else event
        known = handle(known, happened, at(now), EARS, LIMITS)
    return known, now


@given(STORIES)
def test_whatever_was_said_a_device_that_sends_is_there_in_the_end(story: list[tuple[float, Event]]) -> None:
    known, now = lived(story)
    for _ in range(70):
        now += 10
        known = handle(known, Heard(at(now)), at(now), EARS, LIMITS)
        known = handle(known, TimePassed(), at(now + 1), EARS, LIMITS)
    assert (known.state, known.cause) == ("online", Cause.WELL)


@given(STORIES)
def test_whatever_was_said_a_device_that_is_silent_is_off_in_the_end(
    story: list[tuple[float, Event]],
) -> None:
    known, now = lived(story)
    for _ in range(70):
        now += 5
        known = handle(known, TimePassed(), at(now), EARS, LIMITS)
    assert known.state == "offline"


@given(st.permutations([Said(up, "b1", n) for n in range(1, 5) for up in (True, False)]))
def test_the_words_of_one_boot_say_the_same_in_any_order(words: list[Said]) -> None:
    """All of its connections have ended, the last one too, however the words came."""
    known = told((0, Said(True, "b1", 1)), *((float(n), word) for n, word in enumerate(words, 1)), looked(60))
    assert (known.state, known.cause, known.connection) == ("offline", Cause.ENDED, 4)


@given(
    st.permutations([Said(up, "b1", n) for n in range(1, 4) for up in (True, False)] + [Said(True, "b1", 4)])
)
def test_the_last_greeting_of_a_boot_is_believed_in_any_order(words: list[Said]) -> None:
    known = told((0, Said(True, "b1", 1)), *((float(n), word) for n, word in enumerate(words, 1)), looked(50))
    assert (known.connection, known.ended_at) == (4, None)
    assert known.state in ("online", "degraded")


@given(STORIES)
def test_what_is_believed_changes_with_its_moment(story: list[tuple[float, Event]]) -> None:
    known, now = Known(), 0.0
    for pause, event in story:
        now += pause
        after = handle(known, event, at(now), EARS, LIMITS)
        assert (after.since == at(now)) or (after.state, after.since) == (known.state, known.since)
        assert len(after.comings) <= 16
        known = after
