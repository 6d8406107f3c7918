"""A recorder's surroundings that fit on a page: a disk, a server and a link that do what a test says."""

import hashlib
import random
from collections import deque
from dataclasses import dataclass, field

from contract.captions import SetSitting
from contract.recordings import FloorEvent, RecordingNews, UploadProblem, recording_id
from edge_agent.ports import ServerTime
from edge_agent.recordings import messages as m
from edge_agent.recordings.core import Limits, Recorder
from edge_agent.recordings.records import Record

RATE = 1000
"""Samples a second: a sample is a millisecond."""
BLOCK = 200
OPENED_AT = 1_790_000_000_000
NAME = recording_id("s1", "floor")
ROOMY = 10**12
LIMITS = Limits(rate_hz=RATE, segment_s=2.0, bytes_max=10**9, free_bytes_min=10**6, upload_bytes_per_s=0)


def told(state: str = "open", version: int = 1, session: str = "s1", lang: str = "en") -> SetSitting:
    return SetSitting(
        session=session, channel="floor", state=state, version=version, lang=lang, opened_at=OPENED_AT
    )


def time(ms: int, late_ms: int = 0) -> ServerTime:
    """The server's time so long after the opening, or up to `late_ms` later."""
    return ServerTime(OPENED_AT + ms, OPENED_AT + ms + late_ms)


def digest(samples: list[int]) -> str:
    return hashlib.sha256(repr(samples).encode()).hexdigest()


@dataclass
class Disk:
    """What survives the agent: files as lists of sample positions, and records."""

    files: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    free: int = ROOMY
    full: bool = False


@dataclass
class Server:
    """What it has stored, by name; `refuse` answers the next uploads."""

    stored: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    refuse: deque[UploadProblem | None] = field(default_factory=deque)
    has: int = 0
    away: bool = False


class World:
    """Carries out the core's effects on a disk, a server and a link, as `run.py` does."""

    def __init__(
        self,
        disk: Disk | None = None,
        server: Server | None = None,
        limits: Limits = LIMITS,
        floor: bool = False,
    ) -> None:
        self.disk = disk or Disk()
        self.server = server or Server()
        self.core = Recorder(limits, random.Random(1), floor=floor)
        self.now = 100.0
        self.position = 0
        self.heard: list[int] = []
        self.news: list[RecordingNews] = []
        self.floor: list[FloorEvent] = []
        self.notes: list[m.Note] = []
        self.steps: list[m.Effect] = []
        self.outbox_full = False
        self._growing: tuple[str, int] | None = None
        self._asked: deque[m.Effect] = deque()
        self.tell(m.Started(tuple(self.disk.records.values())))

    def tell(self, event: m.Event) -> None:
        """One event and all that follows; what the server answers comes by `answer`."""
        events = deque([event])
        while events:
            event = events.popleft()
            failed = False
            for effect in self.core.handle(event, self.now):
                self.steps.append(effect)
                if failed and isinstance(effect, m.LEFT_OUT):
                    continue
                try:
                    result = self._do(effect, event)
                except OSError as error:
                    failed, result = True, m.DiskFailed(str(error))
                if result is not None:
                    events.append(result)

    def _do(self, effect: m.Effect, event: m.Event) -> m.Event | None:
        disk = self.disk
        if disk.full and isinstance(effect, m.Save | m.Begin | m.Write):
            raise OSError("the disk is full")
        match effect:
            case m.Save(record):
                disk.records[record.recording] = record
            case m.Forget(recording):
                del disk.records[recording]
            case m.Begin(recording, segment):
                assert (recording, segment) not in self.server.stored, "a number is never used twice"
                disk.files[recording, segment] = []
                self._growing = (recording, segment)
            case m.Write(skip):
                assert isinstance(event, m.Sound)
                assert self._growing is not None
                disk.files[self._growing] += range(event.position + skip, event.position + event.samples)
                return m.SpaceTold(disk.free)
            case m.Close(recording, segment, _, samples):
                self._growing = None
                there = disk.files.get((recording, segment), [])
                kept = disk.files[recording, segment] = there[:samples]
                if not kept:
                    del disk.files[recording, segment]
                return m.SegmentClosed(recording, segment, len(kept), 2 * len(kept) + 44, digest(kept))
            case m.Delete(recording, segment):
                assert (recording, segment) in self.server.stored, "the server does not have it"
                disk.files.pop((recording, segment), None)
            case m.LookAtSpace():
                return m.SpaceTold(disk.free)
            case m.SendNews(news):
                if self.outbox_full:
                    return m.NewsRefused(news.recording)
                self.news.append(news)
                return m.NewsTaken(news.recording, news.revision)
            case m.SendFloor(recording, told_):
                if self.outbox_full:
                    return m.FloorRefused(recording, told_)
                self.floor.append(told_)
            case m.SendKeptFloor(recording, events):
                taken = () if self.outbox_full else events
                self.floor += taken
                return m.KeptFloorSent(recording, taken, refused=taken != events)
            case m.BeginUpload() | m.SendChunk() | m.AskStored():
                assert not self._asked, "one thing at a time"
                self._asked.append(effect)
            case m.Note():
                self.notes.append(effect)
        return None

    @property
    def asking(self) -> m.Effect | None:
        """What the server was asked and has not answered yet."""
        return self._asked[0] if self._asked else None

    def answer(self) -> bool:
        """Let the server answer what it was asked; False if it was asked nothing."""
        if not self._asked:
            return False
        self.tell(self._reply(self._asked.popleft()))
        return True

    def _reply(self, asked: m.Effect) -> m.Event:
        server = self.server
        if server.away:
            return m.UploadFailed(None, "nobody answers")
        if server.refuse and not isinstance(asked, m.AskStored):
            problem = server.refuse.popleft()
            if problem is not None:
                return m.UploadFailed(problem, problem.value)
        match asked:
            case m.BeginUpload(record, segment):
                if (record.recording, segment.segment) in server.stored:
                    return m.UploadFailed(UploadProblem.STORED, "stored")
                return m.UploadBegun("upload", server.has)
            case m.SendChunk(recording, segment, _, offset, length):
                held = self.core._records[recording].find(segment)
                server.has = offset + length
                if server.has == held.size:
                    server.has = 0
                    server.stored[recording, segment] = list(self.disk.files[recording, segment])
                    return m.ChunkTaken(held.size)
                return m.ChunkTaken(server.has)
            case m.AskStored(recording, segment):
                kept = server.stored.get((recording, segment))
                return m.StoredTold(digest(kept) if kept is not None else "")
        raise AssertionError(asked)

    def settle(self) -> None:
        """Let time and the server work until nothing is left to do by itself."""
        for _ in range(500):
            if self.answer():
                continue
            deadline = self.core.deadline()
            if deadline is None or deadline > self.now + 10_000:
                return
            self.now = max(self.now, deadline)
            self.tell(m.TimePassed())
        raise AssertionError("it does not come to rest")

    def sitting(self, state: str = "open", version: int = 1, session: str = "s1") -> None:
        """The cloud's word, at the present position."""
        self.tell(m.SittingTold(told(state, version, session), self.position, time(self.position)))

    def speak(self, ms: int) -> None:
        """So much sound, in blocks."""
        end = self.position + ms
        while self.position < end:
            samples = min(BLOCK, end - self.position)
            self.tell(m.Sound(self.position, samples))
            self.heard += range(self.position, self.position + samples)
            self.position += samples
            self.now += samples / RATE

    def silence(self, ms: int) -> None:
        """The microphone is away for so long."""
        self.tell(m.MicrophoneLost(self.position))
        self.position += ms
        self.now += ms / RATE

    def crash(self, *, unsynced: int = 0) -> "World":
        """The power goes: the last `unsynced` samples of the growing file with it. The agent starts again."""
        if self._growing in self.disk.files and unsynced:
            del self.disk.files[self._growing][-unsynced:]
        return World(self.disk, self.server)

    def sound_kept(self, recording: str = NAME) -> list[int]:
        """Every sample that is anywhere, on the device or the server."""
        everywhere = self.disk.files | self.server.stored
        return [sample for name in sorted(everywhere) if name[0] == recording for sample in everywhere[name]]
