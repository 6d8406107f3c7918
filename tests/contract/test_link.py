"""What is said of the link itself is held to its limits on both sides."""

import msgspec
import pytest

from contract.errors import MalformedError
from contract.link import (
    DELAY_S_MAX,
    RANGES_MAX,
    VALID_S_MAX,
    Dropped,
    DroppedRange,
    Reconnect,
    Why,
    check_dropped,
    check_reconnect,
)
from contract.messages import MESSAGE_BYTES_MAX, SEQ_MAX, Lane

RANGE = DroppedRange(boot="b", lane=Lane.TELEMETRY, from_seq=4, to_seq=9, count=6, why=Why.ROWS)


@pytest.mark.parametrize(
    "change",
    [
        {"count": 0},
        {"count": 7},
        {"from_seq": 0},
        {"to_seq": 3},
        {"from_seq": -1, "to_seq": -1},
        {"to_seq": SEQ_MAX + 1},
        {"boot": ""},
        {"boot": "x" * 65},
    ],
)
def test_a_range_that_says_the_impossible_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        check_dropped(Dropped(ranges=[msgspec.structs.replace(RANGE, **change)]))


def test_messages_without_a_number_are_only_counted() -> None:
    check_dropped(Dropped(ranges=[RANGE, msgspec.structs.replace(RANGE, from_seq=0, to_seq=0, count=1000)]))


@pytest.mark.parametrize("count", [0, RANGES_MAX + 1])
def test_an_empty_or_endless_declaration_is_refused(count: int) -> None:
    with pytest.raises(MalformedError, match="1 to"):
        check_dropped(Dropped(ranges=[RANGE] * count))


def test_the_longest_declaration_fits_into_a_message() -> None:
    longest = DroppedRange(
        boot="x" * 64, lane=Lane.TELEMETRY, from_seq=SEQ_MAX, to_seq=SEQ_MAX, count=1, why=Why.BYTES
    )
    check_dropped(Dropped(ranges=[longest] * RANGES_MAX))
    assert len(msgspec.json.encode(Dropped(ranges=[longest] * RANGES_MAX))) < MESSAGE_BYTES_MAX / 4


@pytest.mark.parametrize(
    ("min_s", "max_s", "valid_s"),
    [
        (-1, 5, 60),
        (6, 5, 60),
        (0, DELAY_S_MAX + 1, 60),
        (0, 5, 0),
        (0, 5, VALID_S_MAX + 1),
        (float("nan"), 5, 60),
        (0, float("nan"), 60),
        (0, 5, float("nan")),
    ],
)
def test_a_delay_that_is_none_is_refused(min_s: float, max_s: float, valid_s: float) -> None:
    with pytest.raises(MalformedError):
        check_reconnect(Reconnect(min_s=min_s, max_s=max_s, valid_s=valid_s))
