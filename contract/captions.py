"""Captions are revisions of segments; what is shown is the highest revision of each."""

from enum import StrEnum
from typing import Literal

import msgspec

from contract.lifecycle import Machine

TEXT_LENGTH_MAX = 2000
"""Characters of one segment."""
LANGUAGES = ("sq", "sr", "en")


class CaptionState(StrEnum):
    """State of one segment at one revision."""

    PARTIAL = "partial"
    FINAL = "final"
    CORRECTED = "corrected"
    REDACTED = "redacted"


SEGMENT = Machine(
    "caption segment",
    "partial",
    {
        "partial": {"revise": "partial", "finish": "final", "redact": "redacted"},
        "final": {"correct": "corrected", "redact": "redacted"},
        "corrected": {"correct": "corrected", "redact": "redacted"},
        "redacted": {},
    },
)

SITTING = Machine(
    "sitting",
    "planned",
    {
        "planned": {"open": "open", "cancel": "ended"},
        "open": {"pause": "paused", "close-to-public": "closed_to_public", "end": "ended"},
        "paused": {"open": "open", "close-to-public": "closed_to_public", "end": "ended"},
        "closed_to_public": {"open": "open", "pause": "paused", "end": "ended"},
        "ended": {},
    },
)
"""Only while a sitting is `open` is anything recognised or sent."""


class Recognition(StrEnum):
    """What a recorder does with a sitting; the detail `recogniser` of a `set-sitting` job that succeeded."""

    RUNNING = "running"
    NO_MODEL = "no-model"
    SILENT = "silent"


class SetSitting(msgspec.Struct, frozen=True, kw_only=True):
    """The job document that tells a recorder in which state the sitting of its hall is.

    `version` grows with each change; a recorder keeps the highest it has seen. `opened_at` (ms UTC) is
    the zero of the segments' positions. `changed_at` (ms UTC) is when this version
    began; an older control plane does not say it.
    """

    operation: Literal["set-sitting"] = "set-sitting"
    session: str
    channel: str
    state: str
    version: int
    lang: str
    opened_at: int
    changed_at: int | msgspec.UnsetType = msgspec.UNSET


class CaptionSegment(msgspec.Struct, frozen=True, kw_only=True):
    """Body of `caption-partial` and `caption-final`.

    `segment` counts 1, 2, 3 … within session and channel; `revision` only grows within a segment.
    `start_ms` and `end_ms` are since the session was opened, by the server's clock: the words were said
    neither before the one nor after the other; the two are further apart than the words are long, by as much
    as the time is uncertain. A partial's text replaces the one before; the first `stable` characters will not
    change any more.
    """

    session: str
    channel: str
    segment: int
    revision: int
    state: CaptionState
    text: str
    start_ms: int
    end_ms: int
    lang: str
    source: str
    stable: int = 0
    confidence: float | None = None
