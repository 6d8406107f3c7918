"""Floor events that wait in their record: for their date, or for room in the outbox. Pure.

A record with them is saved before anything of it is sent, and they leave it only when the link has taken
them, so a power cut loses none. One that is sent twice has the same position, and the cloud has it once.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from contract.recordings import POSITION_MS_MAX, FloorAction, FloorEvent, FloorReporter
from edge_agent.recordings.messages import Effect, Instant, KeptFloorSent, Note, Save, SendKeptFloor
from edge_agent.recordings.records import FloorTurn, Record

KEPT_MAX = 10_000
"""Events that wait in one record: one every four seconds for the twelve hours that may be undated."""
AT_ONCE = 20
"""So many are sent, and then the sound has its turn."""
PAUSE_S = 0.2
RESEND_S = 5.0


def event_of(session: str, turn: FloorTurn) -> FloorEvent:
    """The event as the cloud is told of it."""
    return FloorEvent(
        session=session,
        at_ms=min(max(0, turn.at_ms), POSITION_MS_MAX),
        seat=turn.seat,
        action=FloorAction.TAKEN if turn.on else FloorAction.RELEASED,
        source=FloorReporter.MICROPHONE_SYSTEM,
    )


def turn_of(event: FloorEvent) -> FloorTurn:
    """The event as a record keeps it."""
    return FloorTurn(event.at_ms, event.seat, event.action is FloorAction.TAKEN)


def keep_undated(record: Record, events: Iterable[FloorEvent]) -> tuple[Record, int]:
    """The record with events of its running, undated start, and how many had no room; the newest give way."""
    room = KEPT_MAX - len(record.floor) - sum(len(each.floor) for each in record.undated)
    turns = [turn_of(event) for event in events]
    taken = turns[: max(0, room)]
    *earlier, running = record.undated
    running = msgspec.structs.replace(running, floor=(*running.floor, *taken))
    return msgspec.structs.replace(record, undated=(*earlier, running)), len(turns) - len(taken)


def keep_refused(record: Record, event: FloorEvent) -> tuple[Record, int]:
    """The same with an event that has its date, and that the link did not take."""
    if len(record.floor) + sum(len(each.floor) for each in record.undated) >= KEPT_MAX:
        return record, 1
    return msgspec.structs.replace(record, floor=(*record.floor, turn_of(event))), 0


def without(record: Record, sent: Collection[FloorEvent]) -> Record:
    """The record without what the link has taken."""
    gone = {turn_of(event) for event in sent}
    return msgspec.structs.replace(record, floor=tuple(each for each in record.floor if each not in gone))


class KeptFloor:
    """When what is kept in the records goes; `dropped` counts what found no room there."""

    def __init__(self) -> None:
        self._due: dict[str, Instant] = {}
        self.dropped = 0

    def count(self, dropped: int) -> list[Effect]:
        """So many are lost, and it is said."""
        if not dropped:
            return []
        self.dropped += dropped
        return [Note("floor_events_dropped", {"count": str(self.dropped)}, "error")]

    def wait(self, recording: str, now: Instant) -> None:
        """The outbox is full."""
        self._due[recording] = now + RESEND_S

    def sent(self, event: KeptFloorSent, now: Instant) -> None:
        """A part of them has gone, or found no room."""
        self._due[event.recording] = now + (RESEND_S if event.refused else PAUSE_S)

    def next(self, records: Mapping[str, Record], now: Instant) -> list[Effect]:
        """What goes now. It is tried again even if nothing comes of it, as when the disk takes nothing."""
        effects: list[Effect] = []
        self._due = {name: at for name, at in self._due.items() if _waits(records, name)}
        for name, record in records.items():
            if record.floor and now >= self._due.setdefault(name, now):
                self._due[name] = now + RESEND_S
                events = tuple(event_of(record.session, turn) for turn in record.floor[:AT_ONCE])
                effects += [Save(record), SendKeptFloor(name, events)]
        return effects

    def deadline(self) -> Instant | None:
        """When `next` has something to do."""
        return min(self._due.values(), default=None)


def _waits(records: Mapping[str, Record], name: str) -> bool:
    return name in records and bool(records[name].floor)
