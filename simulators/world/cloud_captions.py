"""Sittings and captions of the control plane: the real decisions over plain tables."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from cloud.captions import core, segments
from cloud.captions.sittings import job_id, next_job, overtaken, told_by
from cloud.errors import MalformedError, RefusedError
from contract.captions import SITTING, CaptionSegment, CaptionState, SetSitting
from contract.messages import Envelope, read
from simulators.world.clock import Action
from simulators.world.plants import Plant

CHANNEL = "floor"

Queue = Callable[[str, str, dict[str, object]], list[Action]]
"""The changes that queue a job for a device."""
LineKey = tuple[str, int, int]
"""Session, segment and revision."""


@dataclass
class Sitting:
    """A sitting as it is committed; `changes` are in their order."""

    device: str
    state: str = SITTING.initial
    version: int = 0
    opened_at: datetime | None = None
    changes: list[core.Change] = field(default_factory=list)


class CloudCaptions:
    """`lines` are those stored; `shown` counts by segment the revisions that readers were given, in order."""

    def __init__(
        self,
        plant: Plant,
        queue: Queue,
        now: Callable[[], datetime],
        *,
        waiting: Callable[[str], list[str]],
        cancel: Callable[[str], list[Action]],
    ) -> None:
        """`waiting` are the jobs that a device has not ended, `cancel` the changes that cancel one."""
        self.sittings: dict[str, Sitting] = {}
        self.lines: dict[LineKey, CaptionSegment] = {}
        self.shown: dict[tuple[str, int], list[int]] = {}
        self.partials: list[CaptionSegment] = []
        self._plant = plant
        self._queue = queue
        self._now = now
        self._waiting = waiting
        self._cancel = cancel

    def change(self, session: str, device: str, event: str) -> list[Action]:
        """What the clerk's `event` changes; nothing if the sitting's life forbids it."""
        sitting = self.sittings.get(session) or Sitting(device)
        reason = core.LEGAL_REASONS[0] if event == "close-to-public" else ""
        now = self._now()
        others = [s.state for name, s in self.sittings.items() if name != session and s.device == device]
        try:
            made = core.change(
                sitting.state, sitting.version, event, reason=reason, note="", hall=others, now=now
            )
        except RefusedError:
            return []
        opened_at = sitting.opened_at or (now if made.state == core.OPEN else None)
        after = Sitting(device, made.state, made.version, opened_at, [*sitting.changes, made])
        changes: list[Action] = [lambda: self.sittings.__setitem__(session, after)]
        if opened_at is not None:
            document = _document(session, made, opened_at)
            older = overtaken(self._waiting(device), session, made.version)
            changes += [action for job in older for action in self._cancel(job)]
            changes += self._queue(job_id(session, made.version), device, document)
        return changes

    def unheard(self, job: str) -> list[Action]:
        """What follows when no try of `job` was answered."""
        told, following = told_by(job), next_job(job)
        if told is None or following is None:
            return []
        sitting = self.sittings[told[0]]
        if sitting.version != told[1] or sitting.opened_at is None:
            return []
        return self._queue(
            following, sitting.device, _document(told[0], sitting.changes[-1], sitting.opened_at)
        )

    def on_partial(self, device: str, payload: bytes) -> None:
        """Hand words on at once; only while the sitting is open."""
        segment = read(payload, CaptionSegment)
        sitting = self.sittings.get(segment.session)
        if sitting is None or sitting.device != device or sitting.opened_at is None:
            return
        since = sitting.opened_at + timedelta(milliseconds=segment.start_ms)
        if sitting.state == core.OPEN and core.is_of_now(sitting.changes[-1].at, since):
            self.partials.append(segment)

    def take_final(self, device: str, ids: dict[str, str], envelope: Envelope) -> list[Action]:
        """What storing a final line changes.

        Raises:
            MalformedError: it is none of a sitting of this hall, or was said when it was not public.
        """
        segment = read(envelope.body, CaptionSegment)
        segments.check(segment, ids, CaptionState.FINAL)
        sitting = self.sittings.get(segment.session)
        if sitting is None or sitting.device != device or sitting.opened_at is None:
            raise MalformedError("the segment is of no sitting of this hall")
        since = sitting.opened_at + timedelta(milliseconds=segment.start_ms)
        until = sitting.opened_at + timedelta(milliseconds=segment.end_ms)
        if self._plant.second_lock and not core.was_public(sitting.changes, since, until):
            raise MalformedError("the words were said while the sitting was not open to the public")
        key = (segment.session, segment.segment, segment.revision)
        if key in self.lines:
            return []
        shown = self.shown.get(key[:2], [])
        changes: list[Action] = [lambda: self.lines.__setitem__(key, segment)]
        if not shown or segment.revision > max(shown):
            changes.append(lambda: self.shown.setdefault(key[:2], []).append(segment.revision))
        return changes


def _document(session: str, made: core.Change, opened_at: datetime) -> dict[str, object]:
    told = SetSitting(
        session=session,
        channel=CHANNEL,
        state=made.state,
        version=made.version,
        lang="sq",
        opened_at=int(opened_at.timestamp() * 1000),
        changed_at=math.ceil(made.at.timestamp() * 1000),
    )
    found: dict[str, object] = msgspec.to_builtins(told)
    return found
