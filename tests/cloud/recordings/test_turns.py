"""What a run does next, and what a language needs."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.recordings.cards import card
from cloud.recordings.turns import BEGUN_MAX, RUN, Reason, StretchFacts, Turn, next_turn, refusal
from cloud.recordings.wording import MATERIALS


def test_a_run_looks_then_hears_each_stretch_then_writes():
    assert next_turn("queued", None) == Turn("prepare")
    facts = [StretchFacts(1, 1, True), StretchFacts(2, 0, False)]
    assert next_turn("running", facts) == Turn("hear", 2)
    assert next_turn("running", [StretchFacts(1, 1, True)]) == Turn("write")
    assert next_turn("running", []) == Turn("write"), "sound without a stretch has an empty draft"


def test_a_stretch_that_kills_its_worker_ends_the_run():
    assert next_turn("running", [StretchFacts(1, BEGUN_MAX, False)]) == Turn("give-up", 1)
    assert next_turn("running", [StretchFacts(1, BEGUN_MAX, True)]) == Turn("write")


@given(st.sampled_from(sorted(RUN.ends)), st.integers(0, 9))
def test_a_run_that_has_ended_does_nothing(state, begun):
    assert next_turn(state, None) == Turn("")
    assert next_turn(state, [StretchFacts(1, begun, False)]) == Turn("")


def test_an_engine_runs_on_no_language_that_its_card_does_not_know():
    assert refusal(model=True, measured=True, allowed=False) is None
    assert refusal(model=True, measured=False, allowed=True) is None
    assert refusal(model=True, measured=False, allowed=False) is Reason.NOT_MEASURED
    assert refusal(model=False, measured=True, allowed=True) is Reason.NO_MODEL
    measured = card("whisper-base").languages
    assert set(measured) == {"en"}, "measure before you write it down"
    assert {each.material for each in measured.values()} <= set(MATERIALS), "pages have a sentence for it"
