"""What device and cloud tell each other of the link itself: what was dropped, and how long to stay away.

The acknowledgement and the envelope stand in `messages`.
"""

from enum import StrEnum

import msgspec

from contract.errors import MalformedError
from contract.messages import SEQ_MAX, VERSION, Lane

RANGES_MAX = 64
"""Ranges of one declaration; a device that drops without end declares no more often than this fills."""
COUNT_MAX = 2**53 - 1
DELAY_S_MAX = 900.0
"""No device stays away longer than this because it was told to, whatever it was told."""
VALID_S_MAX = 86_400.0


class Why(StrEnum):
    """Why a device dropped messages by its policy."""

    ROWS = "rows"
    """More messages waited than the outbox may hold."""
    BYTES = "bytes"
    """They took more room than the outbox may take."""
    AGE = "age"
    """They were older than what is still worth sending."""
    DISK = "disk"
    """The disk took nothing more."""
    CLOCK = "clock"
    """Nobody knows when they were: the clock was not trusted until the agent ended, or, of captions, the
    server had not told its time yet."""


class DroppedRange(msgspec.Struct, frozen=True, kw_only=True):
    """`count` messages of `boot` and `lane` that will never come, from `from_seq` to `to_seq`.

    What lies between the ends and arrived is not among them. Both ends are 0 for messages that were dropped
    before they had a number. In lane `live`, where nothing has one, each is a stretch of an open sitting of
    which no captions were made.
    """

    boot: str
    lane: Lane
    from_seq: int
    to_seq: int
    count: int
    why: Why


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """Body of `dropped`: what the device dropped since it last said so; each message once."""

    ranges: list[DroppedRange]


class Reconnect(msgspec.Struct, frozen=True, kw_only=True):
    """From the cloud: whoever loses the link within `valid_s` of this waits between `min_s` and `max_s`.

    One loss uses it up, a newer one replaces it. Seconds and not moments, because a device's clock may be
    wrong. The device keeps to `DELAY_S_MAX`.
    """

    v: int = VERSION
    min_s: float
    max_s: float
    valid_s: float


def check_dropped(dropped: Dropped) -> None:
    """Hold a declaration to the contract.

    Raises:
        MalformedError: no or too many ranges, or one that says the impossible.
    """
    if not 1 <= len(dropped.ranges) <= RANGES_MAX:
        raise MalformedError(f"a declaration has 1 to {RANGES_MAX} ranges, this has {len(dropped.ranges)}")
    for each in dropped.ranges:
        if not 0 < len(each.boot) <= 64:
            raise MalformedError("a range's boot is 1 to 64 characters")
        numbered = 1 <= each.from_seq <= each.to_seq <= SEQ_MAX
        most = each.to_seq - each.from_seq + 1 if numbered else COUNT_MAX
        if not numbered and (each.from_seq, each.to_seq) != (0, 0):
            raise MalformedError(f"no range goes from {each.from_seq} to {each.to_seq}")
        if not 1 <= each.count <= most:
            raise MalformedError(f"from {each.from_seq} to {each.to_seq} no {each.count} can be dropped")


def check_reconnect(told: Reconnect) -> None:
    """Hold a told delay to the contract.

    Raises:
        MalformedError: the bounds are no bounds, or longer than anybody may say.
    """
    if not 0 <= told.min_s <= told.max_s <= DELAY_S_MAX:
        raise MalformedError(
            f"waiting {told.min_s:g} to {told.max_s:g} s: 0 to {DELAY_S_MAX:g} s can be told"
        )
    if not 0 < told.valid_s <= VALID_S_MAX:
        raise MalformedError(f"valid for {told.valid_s:g} s: up to {VALID_S_MAX:g} s can be told")
