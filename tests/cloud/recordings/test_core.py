"""Where a recording stands: every word of the recorder and every count, in every state."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.recordings.core import CORRUPTED_MAX, Counts, Standing, follow, settle
from contract.recordings import RECORDING, RecorderState

STATES = st.sampled_from(RECORDING.states)
WORDS = st.sampled_from(list(RecorderState))
COUNTS = st.builds(
    Counts,
    expected=st.none() | st.integers(0, 4),
    stored=st.integers(0, 4),
    corrupted=st.integers(0, CORRUPTED_MAX + 1),
)


def reaches(before: str, after: str) -> bool:
    """Whether the table leads from one state to the other by words of recorder and uploads."""
    words = {"record", "interrupt", "finish", "upload", "complete", "fail", "recover"}
    seen, ahead = {before}, [before]
    while ahead:
        for word, target in RECORDING.edges[ahead.pop()].items():
            if word in words and target not in seen:
                seen.add(target)
                ahead.append(target)
    return after in seen


@given(STATES, WORDS)
def test_the_recorders_word_moves_along_the_table_or_nothing(state, word):
    after = follow(Standing(state), word)
    assert reaches(state, after.state)
    if state not in ("planned", "recording", "interrupted"):
        assert after == Standing(state)


@given(STATES, COUNTS)
def test_settling_moves_along_the_table_and_comes_to_rest(state, counts):
    settled = settle(Standing(state), counts)
    assert reaches(state, settled.state)
    assert settle(settled, counts) == settled
    assert (settled.state == "failed") >= bool(settled.failure)


@given(COUNTS)
def test_uploaded_means_that_all_is_stored(counts):
    settled = settle(Standing("finished"), counts)
    whole = counts.expected is not None and 0 < counts.expected <= counts.stored
    assert (settled.state == "uploaded") == whole


def test_nothing_recorded_and_always_corrupted_are_failures_and_the_second_can_recover():
    assert settle(Standing("finished"), Counts(0, 0)) == Standing("failed", "empty")
    failed = settle(Standing("uploading"), Counts(2, 1, CORRUPTED_MAX))
    assert failed == Standing("failed", "corrupt")
    assert settle(failed, Counts(2, 2)) == Standing("uploaded", "")


def test_a_recording_that_was_interrupted_before_its_first_news_has_recorded():
    assert follow(Standing("planned"), RecorderState.INTERRUPTED) == Standing("interrupted")
