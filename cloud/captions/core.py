"""What may become of a sitting, whose words were public, and why a captions page has no text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cloud.errors import RefusedError
from contract.captions import SITTING, Recognition
from contract.errors import IllegalTransitionError

LEGAL_REASONS = ("public-order", "sensitive-information", "court-proceedings")
"""Why the public may be excluded: the three grounds of Kosovo's Law No. 03/L-040 on Local Self-Government.

The wording on the pages is not confirmed by counsel.
"""
OCCUPYING = frozenset({"open", "paused", "closed_to_public"})
"""States in which a sitting holds its hall."""
CLOSED = "closed_to_public"
OPEN = "open"
ENDED = "ended"


@dataclass(frozen=True)
class Change:
    """One change of a sitting's state; `reason` is a code of `LEGAL_REASONS`, for closings only."""

    version: int
    state: str
    reason: str
    note: str
    at: datetime


class Silence(StrEnum):
    """Why there is no text at this moment."""

    BEFORE = "before"
    WAITING = "waiting"
    PAUSED = "paused"
    CLOSED = "closed"
    ENDED = "ended"
    NO_RECOGNISER = "no-recogniser"
    AWAY = "away"


def change(
    state: str, version: int, event: str, *, reason: str, note: str, hall: Iterable[str], now: datetime
) -> Change:
    """The change that `event` makes; `hall` are the states of the other sittings in the same hall.

    Raises:
        RefusedError: the life of a sitting has no such edge, a closing gives no legal reason, or another
            sitting holds the hall.
    """
    try:
        target = SITTING.apply(state, event)
    except IllegalTransitionError:
        raise RefusedError(f"a sitting that is {state!r} cannot {event!r}; load the page anew") from None
    if target == CLOSED and reason not in LEGAL_REASONS:
        raise RefusedError("closing a sitting to the public needs one of the legal reasons; choose one")
    if target in OCCUPYING and any(other in OCCUPYING for other in hall):
        raise RefusedError("another sitting is held in this hall; end it first")
    return Change(version + 1, target, reason if target == CLOSED else "", note.strip(), now)


def was_public(changes: Sequence[Change], since: datetime, until: datetime) -> bool:
    """Whether words said from `since` to `until` may be published; `changes` are in their order.

    The recorder is the first to be silent; this is the second lock, for the moments before it has heard
    of a closing: nothing that touches a closed part is published, nor what lies wholly outside open parts.
    """
    touched_open = False
    for number, this in enumerate(changes):
        begins = this.at
        ends = changes[number + 1].at if number + 1 < len(changes) else None
        touches = until >= begins and (ends is None or since < ends)
        if touches and this.state == CLOSED:
            return False
        touched_open = touched_open or (touches and this.state == OPEN)
    return touched_open


def is_of_now(opened_at: datetime, since: datetime) -> bool:
    """Whether words said from `since` on belong to the present open part, which was opened at `opened_at`.

    Words that may still change are never stored, so those of an earlier part that come late, perhaps out of
    a closed one, are not worth a doubt.
    """
    return since >= opened_at


def silence(state: str, *, recogniser: str | None, online: bool, spoken: bool) -> Silence | None:
    """Why the page has no live text; None while text is to be expected and some was spoken.

    What people decided comes before what a machine cannot.
    """
    decided = {
        "planned": Silence.BEFORE,
        "paused": Silence.PAUSED,
        CLOSED: Silence.CLOSED,
        ENDED: Silence.ENDED,
    }.get(state)
    if decided is not None:
        return decided
    if not online:
        return Silence.AWAY
    if recogniser == Recognition.NO_MODEL:
        return Silence.NO_RECOGNISER
    return None if spoken else Silence.WAITING
