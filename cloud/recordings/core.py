"""Decides where a recording stands, by what its recorder says and by what is stored. Pure."""

from dataclasses import dataclass

from contract.recordings import RECORDING, RecorderState

CORRUPTED_MAX = 5
"""So often may a segment come with another digest than announced before its recording counts as failed."""
EMPTY = "empty"
CORRUPT = "corrupt"
_WORDS = {
    RecorderState.RECORDING: "record",
    RecorderState.INTERRUPTED: "interrupt",
    RecorderState.FINISHED: "finish",
}


@dataclass(frozen=True)
class Counts:
    """Segments of one recording: how many there will be (None: not known yet), how many are stored, and how
    often one of those that are not stored came corrupted at most.
    """

    expected: int | None
    stored: int
    corrupted: int = 0


@dataclass(frozen=True)
class Standing:
    """A state of `RECORDING` and the code of what failed, '' where nothing did."""

    state: str
    failure: str = ""


def follow(standing: Standing, told: RecorderState) -> Standing:
    """The recorder's word. What it says late, after it had finished, changes nothing."""
    word = _WORDS[told]
    if told is RecorderState.INTERRUPTED and standing.state == "planned":
        return Standing(RECORDING.apply(RECORDING.apply("planned", "record"), word), standing.failure)
    if not RECORDING.allows(standing.state, word):
        return standing
    return Standing(RECORDING.apply(standing.state, word), standing.failure)


def settle(standing: Standing, counts: Counts) -> Standing:
    """As far as it can go by itself: `uploaded` once all is stored, `failed` if something never will be."""
    whole = counts.expected is not None and 0 < counts.expected <= counts.stored
    state, failure = standing.state, standing.failure
    if counts.expected == 0 and state == "finished":
        return Standing(RECORDING.apply(state, "fail"), EMPTY)
    if state == "failed" and whole:
        state, failure = RECORDING.apply(state, "recover"), ""
    if state == "finished" and counts.stored:
        state = RECORDING.apply(state, "upload")
    if state == "uploading" and whole:
        state = RECORDING.apply(state, "complete")
    if counts.corrupted >= CORRUPTED_MAX and not whole and RECORDING.allows(state, "fail"):
        state, failure = RECORDING.apply(state, "fail"), CORRUPT
    return Standing(state, failure)
