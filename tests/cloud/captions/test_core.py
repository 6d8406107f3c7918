"""Every edge of a sitting, when words are public, and why there is no text."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud.captions.core import LEGAL_REASONS, Change, Silence, change, silence, was_public
from cloud.errors import RefusedError
from contract.captions import SITTING

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def _s(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("state", SITTING.states)
@pytest.mark.parametrize("event", SITTING.events)
def test_only_edges_of_the_table_happen(state: str, event: str) -> None:
    def do() -> Change:
        return change(state, 4, event, reason=LEGAL_REASONS[0], note=" n ", hall=[], now=NOW)

    if SITTING.allows(state, event):
        made = do()
        assert (made.version, made.state, made.note, made.at) == (5, SITTING.apply(state, event), "n", NOW)
    else:
        with pytest.raises(RefusedError, match="load the page anew"):
            do()


@pytest.mark.parametrize("reason", ["", "because", "Public-Order"])
def test_closing_needs_a_legal_reason(reason: str) -> None:
    with pytest.raises(RefusedError, match="legal reason"):
        change("open", 1, "close-to-public", reason=reason, note="", hall=[], now=NOW)


def test_a_reason_stays_with_closings_only() -> None:
    assert change("open", 1, "pause", reason=LEGAL_REASONS[0], note="", hall=[], now=NOW).reason == ""


@pytest.mark.parametrize("other", ["open", "paused", "closed_to_public"])
def test_one_sitting_holds_a_hall(other: str) -> None:
    with pytest.raises(RefusedError, match="end it first"):
        change("planned", 0, "open", reason="", note="", hall=["ended", other], now=NOW)
    assert (
        change("planned", 0, "open", reason="", note="", hall=["ended", "planned"], now=NOW).state == "open"
    )
    assert change("paused", 3, "end", reason="", note="", hall=[other], now=NOW).state == "ended"


LIFE = [
    Change(0, "planned", "", "", _s(-60)),
    Change(1, "open", "", "", _s(0)),
    Change(2, "paused", "", "", _s(10)),
    Change(3, "open", "", "", _s(20)),
    Change(4, "closed_to_public", "public-order", "", _s(30)),
    Change(5, "open", "", "", _s(40)),
    Change(6, "ended", "", "", _s(50)),
]


@pytest.mark.parametrize(
    ("since", "until", "public"),
    [
        (1, 2, True),
        (9, 11, True),  # begun while open, ended in the pause
        (11, 12, False),  # wholly in the pause
        (19, 21, True),
        (29, 29.9, True),
        (29, 30, False),  # touches the closed part
        (31, 32, False),
        (39.9, 41, False),
        (40, 41, True),
        (49, 51, True),
        (51, 52, False),
        (-2, -1, False),
    ],
)
def test_words_of_closed_parts_are_never_public(since: float, until: float, public: bool) -> None:
    assert was_public(LIFE, _s(since), _s(until)) is public


def test_a_planned_sitting_has_no_public_words() -> None:
    assert not was_public(LIFE[:1], _s(0), _s(1))


@pytest.mark.parametrize(
    ("state", "recogniser", "online", "spoken", "expected"),
    [
        ("planned", None, True, False, Silence.BEFORE),
        ("open", None, True, False, Silence.WAITING),
        ("open", "running", True, True, None),
        ("open", "no-model", True, False, Silence.NO_RECOGNISER),
        ("open", "running", False, True, Silence.AWAY),
        ("paused", "no-model", False, True, Silence.PAUSED),
        ("closed_to_public", None, False, True, Silence.CLOSED),
        ("ended", None, False, True, Silence.ENDED),
    ],
)
def test_a_page_without_text_says_why(
    state: str, recogniser: str | None, online: bool, spoken: bool, expected: Silence | None
) -> None:
    assert silence(state, recogniser=recogniser, online=online, spoken=spoken) is expected
