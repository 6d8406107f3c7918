"""Decides what is recorded, when a segment begins and ends, what is told of it, and when its file may go.

Only while its sitting is open is a sitting recorded: what the microphone gave from the moment on at which the
recorder was told otherwise is cut off again. A segment ends when it is full, and at every pause, gap and end.
Its file goes only after the server has told the same digest. When the disk is full, recording waits for room;
nothing that the server does not have is ever given up.
"""

from dataclasses import dataclass, replace
from typing import assert_never

import msgspec

from contract.captions import SetSitting
from contract.recordings import (
    LISTED_MAX,
    LOSSES,
    POSITION_MS_MAX,
    RECORDING,
    SEGMENTS_MAX,
    Gap,
    GapReason,
    RecorderState,
    RecordingNews,
    SegmentEntry,
    recording_id,
)
from edge_agent.ports import ServerTime
from edge_agent.recordings import messages as m
from edge_agent.recordings.dating import Known, date
from edge_agent.recordings.floor import Floor
from edge_agent.recordings.floor_kept import KeptFloor, keep_refused, keep_undated, without
from edge_agent.recordings.messages import Effect, Event, Instant
from edge_agent.recordings.records import Kept, Record, Segment, stopped
from edge_agent.recordings.uploading import Chance, Uploading

OPEN = "open"
ENDED = "ended"
SAMPLE_BYTES = 2
OPEN_GUARD_MS = 250
"""A block that comes after the opening may hold sound from before it: so much is left out."""
BLOCK_MS_MAX = 1_000
"""A segment is ended by the block with which it is full."""
UNDATED_S_MAX = 12 * 3600
"""Without the server's time nobody knows whether a sitting is still held; none lasts longer than a day."""
LOOK_AGAIN_S = 30.0
"""A full disk is looked at so often."""
RESEND_S = 5.0
ROOM_S = 30
"""Recording goes on when there is room for so many seconds more than the least."""
RECORDS_KEPT = 32
"""Recordings that are done with and remembered, so that a sitting told twice is not begun anew."""


@dataclass(frozen=True)
class Limits:
    """`bytes_max` bounds the sound that waits for the server, `free_bytes_min` is left to everything else."""

    rate_hz: int
    segment_s: float
    bytes_max: int
    free_bytes_min: int
    upload_bytes_per_s: int


@dataclass(frozen=True)
class _Sitting:
    """The sitting that is recorded now: its time at the microphone's sample `anchor` is `zero_ms`.

    Before the server has told its time, `known` is None and `zero_ms` is where the sound would follow on.
    """

    recording: str
    session: str
    opened_at: int
    anchor: int
    zero_ms: int
    known: Known | None


@dataclass(frozen=True)
class _Open:
    """The segment whose file grows: `samples` of it were given, the first was `first`."""

    recording: str
    segment: int
    first: int
    samples: int = 0

    @property
    def next(self) -> int:
        """The position at which it goes on without a gap."""
        return self.first + self.samples


class Recorder:
    """The recordings of one microphone."""

    def __init__(self, limits: Limits, chance: Chance, *, floor: bool) -> None:
        self._limits = limits
        self._rate = limits.rate_hz
        self._records: dict[str, Record] = {}
        self._sitting: _Sitting | None = None
        self._time: Known | None = None
        self._open: _Open | None = None
        self._broken: dict[tuple[str, int], None] = {}
        self._ending: set[str] = set()
        self._changed: dict[str, None] = {}
        self._microphone_down = False
        self._heard_to = 0
        self._full = False
        self._look_at: Instant | None = None
        self._news_at: dict[str, Instant] = {}
        self._uploading = Uploading(limits.upload_bytes_per_s, chance)
        self._floor = Floor(floor)
        self._kept_floor = KeptFloor()

    @property
    def waiting_bytes(self) -> int:
        """Sound on the disk that the server does not have."""
        closed = sum(
            segment.size
            for record in self._records.values()
            for segment in record.segments
            if segment.kept is Kept.CLOSED
        )
        return closed + (self._open.samples * SAMPLE_BYTES if self._open is not None else 0)

    @property
    def recording(self) -> bool:
        """Whether sound goes to the disk now."""
        return self._open is not None

    @property
    def full(self) -> bool:
        """Whether recording waits for room."""
        return self._full

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What to do, in this order."""
        effects = self._decide(event, now)
        effects += self._floor_part(event, now)
        if self._time is None:
            effects = self._keep_undated_floor(effects)
        effects += self._tell_news(now)
        effects += self._kept_floor.next(self._records, now)
        effects += self._uploading.next(self._records.values(), now)
        assert self._open is None or (self._sitting is not None and not self._full)
        return effects

    def deadline(self) -> Instant | None:
        """When `TimePassed` is due."""
        at = [self._look_at, self._uploading.deadline(self._records.values()), self._floor.deadline()]
        at.append(self._kept_floor.deadline())
        at += list(self._news_at.values())
        return min((moment for moment in at if moment is not None), default=None)

    def _decide(self, event: Event, now: Instant) -> list[Effect]:
        match event:
            case m.Started(records):
                return self._started(records)
            case m.SittingTold(told, position, at):
                return self._sitting_told(told, position, at)
            case m.TimeTold(position, at):
                return self._time_told(Known(position, at, self._rate))
            case m.Sound(position, samples):
                return self._sound(position, samples)
            case m.SoundDropped(position):
                return self._lose(GapReason.DISK, position)
            case m.MicrophoneLost(position):
                self._microphone_down = True
                return self._lose(GapReason.MICROPHONE, position)
            case m.Stopping():
                return self._lose(GapReason.RESTART, None)
            case m.SegmentClosed():
                return self._closed(event)
            case m.CloseFailed(recording, segment, reason):
                self._broken[recording, segment] = None
                return self._wait_for_room(reason, now)
            case m.DiskFailed(reason):
                untold = [name for name, record in self._records.items() if record.told != record.revision]
                self._news_at |= dict.fromkeys(untold, now + RESEND_S)
                return self._wait_for_room(reason, now)
            case m.SpaceTold(free_bytes):
                return self._space_told(free_bytes, now)
            case m.NewsTaken(recording, revision):
                return self._news_taken(recording, revision)
            case m.NewsRefused(recording):
                self._news_at[recording] = now + RESEND_S
                return []
            case m.UploadBegun() | m.ChunkTaken() | m.StoredTold() | m.UploadFailed():
                return self._upload_part(event, now)
            case m.TimePassed():
                return self._time_passed(now)
            case m.FloorTold() | m.FloorNonsense() | m.FloorLost() | m.FloorRefused() | m.KeptFloorSent():
                return []
            case _:
                assert_never(event)

    # The beginning

    def _started(self, records: tuple[Record, ...]) -> list[Effect]:
        """What was open when the agent stopped is closed as it is; the rest goes on."""
        records = tuple(stopped(record) for record in records)
        self._records = {record.recording: record for record in records}
        effects: list[Effect] = [m.LookAtSpace()]
        for record in records:
            cut = [segment.segment for segment in record.segments if segment.kept is Kept.OPEN]
            if cut:
                self._put(msgspec.structs.replace(record, why=GapReason.POWER))
                effects += [self._repair(record, number) for number in cut]
            elif record.state == "recording":  # between two segments
                self._begin_loss(record.recording, GapReason.POWER, record.end_ms)
            if record.told != record.revision:
                self._change(record.recording)
        return [*effects, *self._floor.started()]

    # The sitting

    def _sitting_told(self, told: SetSitting, position: int, at: ServerTime | None) -> list[Effect]:
        name = recording_id(told.session, told.channel)
        held = self._sitting is not None and self._sitting.recording == name
        if told.state == OPEN:
            if held:
                return []
            known = None if at is None else Known(position, at, self._rate)
            dated = self._time_told(known) if known is not None and self._time is None else []
            return [*dated, *self._interrupt(position), *self._begin_sitting(name, told, position, known)]
        effects = self._interrupt(self._open_until(told, position)) if held else []
        if told.state == ENDED:
            effects += self._end(name, told)
        return effects

    def _begin_sitting(self, name: str, told: SetSitting, position: int, known: Known | None) -> list[Effect]:
        record = self._records.get(name) or _record(name, told)
        if record.state == "finished":
            return [m.Note("recording_refused", {"recording": name, "reason": "it has ended"}, "warning")]
        self._heard_to = position
        anchor = position + OPEN_GUARD_MS * self._rate // 1000
        if known is None:
            record = record.with_undated(told.opened_at, anchor)
            zero_ms = record.end_ms
        else:
            zero_ms = max(0, known.earliest_ms(told.opened_at, anchor))
        self._put(record)
        self._sitting = _Sitting(name, told.session, told.opened_at, anchor, zero_ms, known)
        effects: list[Effect] = [m.Save(record)]
        effects += self._floor.opened(name, told.session, self._floor_ms(anchor))
        reason = GapReason.MICROPHONE if self._microphone_down else GapReason.DISK if self._full else None
        if reason is not None:
            effects += self._lose(reason, anchor)
        return effects

    def _time_told(self, known: Known) -> list[Effect]:
        """Everything that waits for its date gets it."""
        self._time = known
        effects: list[Effect] = []
        for name in [name for name, record in self._records.items() if record.undated]:
            bounded = sum(len(each.floor) for each in self._records[name].undated if each.anchor is None)
            record, moved_ms = date(self._records[name], known, self._segment_ms)
            self._put(record)
            self._change(name)
            sitting = self._sitting
            if sitting is not None and sitting.recording == name:
                self._sitting = replace(sitting, zero_ms=sitting.zero_ms + moved_ms, known=known)
            floor = {"floor_events": str(len(record.floor)), "bounded_floor_events": str(bounded)}
            effects += [m.Save(record), m.Note("recording_dated", {"recording": name, **floor})]
            if self._may_finish(record):
                effects += self._finish(record)
        return effects

    def _open_until(self, told: SetSitting, position: int) -> int:
        """Where the sitting was open no more: of the segment at hand, what was certainly said later goes.

        Whoever heard of it late has segments that are whole as well; the cloud cuts them.
        """
        sitting, opened = self._sitting, self._open
        if sitting is None or sitting.known is None or opened is None or told.changed_at is msgspec.UNSET:
            return position
        early_ms = self._records[opened.recording].find(opened.segment).early_ms or 0
        over_ms = told.changed_at - sitting.opened_at + early_ms - sitting.zero_ms
        return min(position, max(opened.first, sitting.anchor + over_ms * self._rate // 1000))

    def _interrupt(self, position: int) -> list[Effect]:
        """The sitting that is recorded is so no more from `position` on."""
        sitting = self._sitting
        if sitting is None:
            return []
        at_ms = self._at_ms(sitting, position)
        effects = self._floor.interrupted(self._floor_ms(position))
        effects += self._close(GapReason.PAUSED, position)
        self._end_loss(sitting.recording, at_ms)
        record = self._rest(sitting.recording)
        if record.why is not GapReason.LATE:
            self._put(msgspec.structs.replace(record, why=GapReason.PAUSED))
        self._change(sitting.recording)
        self._sitting = None
        return effects

    def _end(self, name: str, told: SetSitting) -> list[Effect]:
        record = self._records.get(name)
        if record is None:
            record = _record(name, told)
            self._put(record)
        if record.state == "finished":
            return []
        self._ending.add(name)
        return self._finish(record) if self._may_finish(record) else []

    def _may_finish(self, record: Record) -> bool:
        """Its sitting has ended, its last segment is closed, all is dated, and the floor is with the link."""
        waits = self._is_open(record) or record.undated or record.floor
        return record.recording in self._ending and not waits

    @staticmethod
    def _is_open(record: Record) -> bool:
        return any(segment.kept is Kept.OPEN for segment in record.segments)

    def _finish(self, record: Record) -> list[Effect]:
        self._ending.discard(record.recording)
        record = msgspec.structs.replace(record, state=RECORDING.apply(record.state, "finish"))
        self._put(record)
        self._change(record.recording)
        return [m.Note("recording_finished", {"recording": record.recording})]

    # Sound

    def _sound(self, position: int, samples: int) -> list[Effect]:
        self._microphone_down = False
        self._heard_to = position + samples
        sitting = self._sitting
        if sitting is None or self._full or position + samples <= sitting.anchor:
            return []
        if sitting.known is None and position - sitting.anchor > UNDATED_S_MAX * self._rate:
            note = m.Note("recording_undated_too_long", {"recording": sitting.recording}, "error")
            return [*self._interrupt(position), note]
        effects: list[Effect] = []
        if self._open is not None and position != self._open.next:
            effects += self._lose(GapReason.MICROPHONE, self._open.next)
        skip = max(0, sitting.anchor - position)
        if self._open is None:
            if self._records[sitting.recording].last_segment >= SEGMENTS_MAX:
                return [*effects, m.Note("segments_used_up", {"recording": sitting.recording}, "error")]
            effects += self._begin_segment(sitting, position + skip)
        assert self._open is not None
        self._open = replace(self._open, samples=self._open.samples + samples - skip)
        effects.append(m.Write(skip))
        if self._open.samples >= self._limits.segment_s * self._rate:
            effects += self._close(GapReason.NONE, None)
        return effects

    def _begin_segment(self, sitting: _Sitting, position: int) -> list[Effect]:
        record = self._records[sitting.recording]
        start_ms = max(self._at_ms(sitting, position), record.end_ms)
        self._end_loss(record.recording, start_ms)
        record = self._records[record.recording]
        gap_ms = start_ms - record.end_ms
        segment = Segment(
            segment=record.last_segment + 1,
            start_ms=start_ms,
            gap_before_ms=gap_ms,
            why=record.why if gap_ms else GapReason.NONE,
            rate_hz=self._rate,
        )
        if sitting.known is not None:
            last = position + self._segment_ms * self._rate // 1000
            early_ms, late_ms = sitting.known.doubt(position, last)
            early_ms += max(0, start_ms - sitting.known.earliest_ms(sitting.opened_at, position))
            segment = msgspec.structs.replace(segment, early_ms=early_ms, late_ms=late_ms)
        if record.state != "recording":
            record = msgspec.structs.replace(record, state=RECORDING.apply(record.state, "record"))
            self._change(record.recording)
        record = record.with_segment(segment)
        self._put(record)
        self._open = _Open(record.recording, segment.segment, position)
        return [m.Save(record), m.Begin(record.recording, segment.segment, self._rate)]

    def _lose(self, reason: GapReason, position: int | None) -> list[Effect]:
        """From `position` on (None: from the last sample on) sound is missing for `reason`."""
        sitting = self._sitting
        if sitting is None:
            return []
        if self._open is not None:
            return self._close(reason, position)
        if position is not None and self._records[sitting.recording].why not in LOSSES:
            self._begin_loss(sitting.recording, reason, self._at_ms(sitting, position))
        return []

    def _rest(self, name: str) -> Record:
        """Nothing is recorded now."""
        record = self._records[name]
        if RECORDING.allows(record.state, "interrupt"):
            record = msgspec.structs.replace(record, state=RECORDING.apply(record.state, "interrupt"))
            self._put(record)
            self._change(name)
        return record

    def _begin_loss(self, name: str, reason: GapReason, at_ms: int) -> None:
        record = self._rest(name)
        gap = Gap(after=record.last_segment, at_ms=max(at_ms, record.end_ms), lost_ms=None, why=reason)
        self._put(msgspec.structs.replace(record, why=reason, gaps=(*record.gaps, gap)))
        self._change(name)

    def _end_loss(self, name: str, at_ms: int) -> None:
        """The loss that lasts, if there is one, ends here."""
        record = self._records[name]
        if _lasting(record):
            last = record.gaps[-1]
            ended = msgspec.structs.replace(last, lost_ms=max(0, at_ms - last.at_ms))
            self._put(msgspec.structs.replace(record, gaps=(*record.gaps[:-1], ended)))
            self._change(name)

    def _close(self, why: GapReason, position: int | None) -> list[Effect]:
        """End the open segment, before `position` if it has come further."""
        opened = self._open
        if opened is None:
            return []
        self._open = None
        samples = opened.samples
        if position is not None:
            samples = max(0, min(samples, position - opened.first))
        record = self._records[opened.recording]
        end_ms = record.find(opened.segment).start_ms + samples * 1000 // self._rate
        self._put(msgspec.structs.replace(record, why=why, end_ms=end_ms))
        if why in LOSSES:
            self._begin_loss(opened.recording, why, end_ms)
        elif why is not GapReason.NONE:
            self._rest(opened.recording)
        return [m.Close(opened.recording, opened.segment, self._rate, samples)]

    def _closed(self, event: m.SegmentClosed) -> list[Effect]:
        self._broken.pop((event.recording, event.segment), None)
        record = self._records[event.recording]
        segment = record.find(event.segment)
        if event.samples:
            segment = msgspec.structs.replace(
                segment,
                kept=Kept.CLOSED,
                duration_ms=event.samples * 1000 // segment.rate_hz,
                size=event.size,
                sha256=event.sha256,
            )
            record = record.with_segment(segment)
            end_ms = segment.start_ms + segment.duration_ms
        else:
            record = _without(record, segment)
            end_ms = segment.start_ms - segment.gap_before_ms
        if segment.segment >= record.last_segment:  # a crash or a full disk may have left less than was given
            record = msgspec.structs.replace(record, end_ms=end_ms)
            if _lasting(record) and record.gaps[-1].at_ms > end_ms:
                earlier = msgspec.structs.replace(record.gaps[-1], at_ms=end_ms)
                record = msgspec.structs.replace(record, gaps=(*record.gaps[:-1], earlier))
        self._put(record)
        if record.why is GapReason.POWER and not _lasting(record):
            self._begin_loss(record.recording, GapReason.POWER, record.end_ms)
        self._change(record.recording)
        record = self._records[record.recording]
        return self._finish(record) if self._may_finish(record) else []

    @staticmethod
    def _repair(record: Record, number: int) -> m.Close:
        """Close a segment as it is on the disk."""
        return m.Close(record.recording, number, record.find(number).rate_hz)

    # Room

    def _space_told(self, free_bytes: int, now: Instant) -> list[Effect]:
        waiting = self.waiting_bytes
        if not self._full:
            if free_bytes >= self._limits.free_bytes_min and waiting < self._limits.bytes_max:
                return []
            reason = f"{free_bytes} bytes are free, {waiting} wait for the server"
            return self._wait_for_room(reason, now)
        room = ROOM_S * self._rate * SAMPLE_BYTES
        if (
            self._broken
            or free_bytes < self._limits.free_bytes_min + room
            or waiting + room > self._limits.bytes_max
        ):
            self._look_at = now + LOOK_AGAIN_S
            return []
        self._full, self._look_at = False, None
        return [m.Note("recording_has_room")]

    def _wait_for_room(self, reason: str, now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        if not self._full:
            effects.append(m.Note("recording_full", {"reason": reason}, "error"))
        self._look_at = now + LOOK_AGAIN_S
        effects += self._lose(GapReason.DISK, self._heard_to)
        self._full = True
        return effects

    # News

    def _tell_news(self, now: Instant) -> list[Effect]:
        """Each record that has changed is written down with a new revision before the cloud is told."""
        effects: list[Effect] = []
        for name in [*self._changed]:
            record = self._records[name]
            if self._closing(record):
                continue  # there is more to tell in a moment
            del self._changed[name]
            if record.undated:  # it is told when it is dated
                effects.append(m.Save(record))
                continue
            record = msgspec.structs.replace(record, revision=record.revision + 1)
            self._put(record)
            self._news_at[name] = now
        for name, at in [*self._news_at.items()]:
            if now >= at:
                del self._news_at[name]
                record = self._records[name]
                if record.undated:
                    continue
                effects += [m.Save(record), m.SendNews(_news(record))]
        return effects

    def _closing(self, record: Record) -> bool:
        """Whether the file of a segment is being made whole."""
        growing = (self._open.recording, self._open.segment) if self._open is not None else None
        return any(
            segment.kept is Kept.OPEN and (record.recording, segment.segment) != growing
            for segment in record.segments
        )

    def _news_taken(self, name: str, revision: int) -> list[Effect]:
        record = self._records.get(name)
        if record is None or revision <= record.told:
            return []
        record = msgspec.structs.replace(record, told=revision)
        self._put(record)
        return [m.Save(record), *self._forget()]

    def _forget(self) -> list[Effect]:
        done = [name for name, record in self._records.items() if record.done]
        old = done[:-RECORDS_KEPT]
        for name in old:
            del self._records[name]
        return [m.Forget(name) for name in old]

    # Uploads, the floor, time

    def _upload_part(
        self, event: m.UploadBegun | m.ChunkTaken | m.StoredTold | m.UploadFailed, now: Instant
    ) -> list[Effect]:
        match event:
            case m.UploadBegun():
                return self._uploading.begun(event, now)
            case m.ChunkTaken():
                return self._uploading.taken(event, now)
            case m.UploadFailed():
                return self._uploading.failed(event, now)
            case m.StoredTold():
                stored, effects = self._uploading.told(event, now)
                if stored is not None:
                    record = self._records[stored[0]]
                    segment = msgspec.structs.replace(record.find(stored[1]), kept=Kept.STORED)
                    record = record.with_segment(segment)
                    self._put(record)
                    effects += [m.Save(record), *self._forget()]
                    effects += [m.LookAtSpace()] if self._full else []
                return effects

    def _floor_part(self, event: Event, now: Instant) -> list[Effect]:
        match event:
            case m.FloorTold(seat, on, position):
                return self._floor.told(seat, on, self._floor_ms(position))
            case m.FloorNonsense(reason):
                return self._floor.line_refused(reason)
            case m.FloorLost(_, position):
                return self._floor.lost(event, self._floor_ms(position), now)
            case m.FloorRefused(recording, refused):
                record, dropped = keep_refused(self._records[recording], refused)
                self._put(record)
                self._kept_floor.wait(recording, now)
                return [*self._kept_floor.count(dropped), m.Save(record)]
            case m.KeptFloorSent():
                return self._kept_floor_sent(event, now)
            case _:
                return []

    def _keep_undated_floor(self, effects: list[Effect]) -> list[Effect]:
        """The effects with floor events saved in their record, where they are dated with its sound."""
        told = [each for each in effects if isinstance(each, m.SendFloor)]
        others: list[Effect] = [each for each in effects if not isinstance(each, m.SendFloor)]
        for name in dict.fromkeys(each.recording for each in told):
            events = [each.event for each in told if each.recording == name]
            record, dropped = keep_undated(self._records[name], events)
            self._put(record)
            others += [*self._kept_floor.count(dropped), m.Save(record)]
        return others

    def _kept_floor_sent(self, event: m.KeptFloorSent, now: Instant) -> list[Effect]:
        record = without(self._records[event.recording], event.sent)
        self._put(record)
        self._kept_floor.sent(event, now)
        if record.floor:
            return []  # it is saved before the next are sent
        effects: list[Effect] = [m.Save(record)]
        effects += self._finish(record) if self._may_finish(record) else []
        return [*effects, *self._forget()]

    def _floor_ms(self, position: int) -> int:
        """In the sitting; where its sound would follow on, as long as the time is not known."""
        return self._at_ms(self._sitting, position) if self._sitting is not None else 0

    def _time_passed(self, now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        if self._look_at is not None and now >= self._look_at:
            self._look_at = now + LOOK_AGAIN_S
            effects += [self._repair(self._records[name], number) for name, number in self._broken]
            effects.append(m.LookAtSpace())
        return [*effects, *self._uploading.time_passed(now), *self._floor.time_passed(now)]

    @property
    def _segment_ms(self) -> int:
        """No segment becomes longer."""
        return round(self._limits.segment_s * 1000) + BLOCK_MS_MAX

    def _at_ms(self, sitting: _Sitting, position: int) -> int:
        at_ms = sitting.zero_ms + (position - sitting.anchor) * 1000 // self._rate
        return min(max(0, at_ms), POSITION_MS_MAX)

    def _put(self, record: Record) -> None:
        self._records[record.recording] = record

    def _change(self, name: str) -> None:
        self._changed[name] = None


def _record(name: str, told: SetSitting) -> Record:
    return Record(recording=name, session=told.session, channel=told.channel, lang=told.lang)


def _without(record: Record, void: Segment) -> Record:
    """The record without a segment in which nothing was recorded; its number is used again."""
    gaps = tuple(
        msgspec.structs.replace(gap, after=min(gap.after, void.segment - 1))
        if gap.after == void.segment
        else gap
        for gap in record.gaps
    )
    return msgspec.structs.replace(record.without_segment(void.segment), gaps=gaps)


def _lasting(record: Record) -> bool:
    """Whether a loss lasts still."""
    return bool(record.gaps) and record.gaps[-1].lost_ms is None


def _news(record: Record) -> RecordingNews:
    closed = [segment for segment in record.segments if segment.kept is not Kept.OPEN]
    count = closed[-1].segment if closed else 0
    gaps = [msgspec.structs.replace(gap, after=min(gap.after, count)) for gap in record.gaps[-LISTED_MAX:]]
    state = RecorderState(record.state if record.state != RECORDING.initial else RecorderState.INTERRUPTED)
    return RecordingNews(
        recording=record.recording,
        session=record.session,
        channel=record.channel,
        lang=record.lang,
        state=state,
        revision=record.revision,
        segment_count=count,
        segments=[entry(segment) for segment in closed[-LISTED_MAX:]],
        gaps=gaps,
    )


def entry(segment: Segment) -> SegmentEntry:
    """A closed segment as the cloud is told of it."""
    return SegmentEntry(
        segment=segment.segment,
        start_ms=segment.start_ms,
        duration_ms=segment.duration_ms,
        size=segment.size,
        sha256=segment.sha256,
        rate_hz=segment.rate_hz,
        gap_before_ms=segment.gap_before_ms,
        why=segment.why,
        early_ms=msgspec.UNSET if segment.early_ms is None else segment.early_ms,
        late_ms=msgspec.UNSET if segment.late_ms is None else segment.late_ms,
    )
