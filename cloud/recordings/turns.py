"""What a transcription does next, and why a recording has no draft. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from contract.lifecycle import Machine

RUN = Machine(
    "transcription run",
    "queued",
    {
        "queued": {"begin": "running", "fail": "failed"},
        "running": {"finish": "done", "refuse": "refused", "fail": "failed"},
        "done": {},
        "refused": {},
        "failed": {},
    },
)
OPEN = frozenset({"queued", "running"})
BEGUN_MAX = 5
"""A stretch that was begun so often and never ended ends the run: something in it kills the worker."""


class Reason(StrEnum):
    """Why a run ended without a draft."""

    NOT_MEASURED = "not-measured"
    """The model's card says nothing about the language, and the settings do not allow it."""
    NO_MODEL = "no-model"
    EMPTY = "empty"
    CLOSED = "closed"
    """All that was recorded was cut out: nothing was said while the sitting was open."""
    MISSING = "missing"
    """A segment is not in the object store."""
    CHANGED = "changed"
    """A segment is not what was uploaded."""
    FORMAT = "format"
    """A segment is no sound that we read."""
    WORKER_DIED = "worker-died"
    ERROR = "error"
    """Something that nobody foresaw, several times; the log says what."""


@dataclass(frozen=True)
class StretchFacts:
    """One stretch as it is stored."""

    number: int
    begun: int
    heard: bool


@dataclass(frozen=True)
class Turn:
    """What to do: `prepare`, `hear` a stretch, `write` the draft, `give-up`, or nothing (``)."""

    do: str
    number: int = 0


def next_turn(state: str, stretches: Sequence[StretchFacts] | None) -> Turn:
    """What a run does next; `stretches` is None as long as the sound was not looked at."""
    if state not in OPEN:
        return Turn("")
    if stretches is None:
        return Turn("prepare")
    waiting = next((each for each in stretches if not each.heard), None)
    if waiting is None:
        return Turn("write")
    return Turn("give-up" if waiting.begun >= BEGUN_MAX else "hear", waiting.number)


def refusal(*, model: bool, measured: bool, allowed: bool) -> Reason | None:
    """Why a language is not transcribed; None where it may be.

    An engine never runs on a language that its card does not know, unless somebody allowed it by name.
    """
    if not model:
        return Reason.NO_MODEL
    return None if measured or allowed else Reason.NOT_MEASURED
