"""Carries out what the recorder decides: files, memory, link, uploads and the floor.

Everything is an event, taken one at a time; the disk is used in a thread of its own, one thing after the
other. Sound waits in memory while the disk is busy, within a bound.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar, assert_never

from contract.captions import SetSitting
from contract.messages import Lane
from contract.recordings import SEGMENT_BYTES_MAX, FloorEvent, RecordingNews
from edge_agent.errors import MalformedError, RefusedError, SettingsError, UnavailableError
from edge_agent.ports import Link, ServerTime
from edge_agent.recordings import messages as m
from edge_agent.recordings.core import SAMPLE_BYTES, Limits, Recorder
from edge_agent.recordings.floor_command import FloorCommand, Turn
from edge_agent.recordings.memory import Memory
from edge_agent.recordings.records import Record, Segment
from edge_agent.recordings.segment_files import SegmentFiles
from edge_agent.recordings.uploads_tus import UploadRefusedError
from edge_agent.settings import Recorder as Settings

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

WAITING_S_MAX = 30
"""Sound that waits for a slow disk; 2.9 MB at 48 kHz."""
LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class FloorSource(Protocol):
    """One run of what knows who has the floor."""

    async def read(self) -> Turn:
        """What happens next.

        Raises:
            MalformedError: something that is not understood; the next may be.
            UnavailableError: it is gone.
        """

    async def close(self) -> None:
        """Stop it."""


class Uploads(Protocol):
    """The server's side of uploads; `uploads_tus.TusUploads` is the real one, and says what is raised."""

    async def begin(self, record: Record, segment: Segment) -> tuple[str, int]:
        """Where the upload goes on, and at which byte."""

    async def send(self, recording: str, segment: int, upload: str, offset: int, length: int) -> int:
        """Send a part; gives how far it is then."""

    async def stored(self, recording: str, segment: int) -> str:
        """The digest of what is stored; '' while nothing is."""

    def close(self) -> None:
        """Break off."""


OpenFloor = Callable[[list[str]], Awaitable[FloorSource]]


async def open_floor(command: list[str]) -> FloorSource:
    """The floor command of the settings.

    Raises:
        UnavailableError: it cannot be run.
    """
    return await FloorCommand.start(command)


class Recordings:
    """The recordings of one recorder; it follows a microphone as a `ports.SoundSink`. `run` it once."""

    def __init__(
        self,
        link: Link,
        settings: Settings,
        memory: Memory,
        files: SegmentFiles,
        uploads: Uploads,
        *,
        open_floor: OpenFloor = open_floor,
        chance: random.Random | None = None,
    ) -> None:
        """Be ready to follow; sound that comes before `run` waits.

        Raises:
            SettingsError: a segment would be larger than the server takes.
        """
        self._rate = settings.microphone_rate_hz
        if settings.segment_s * self._rate * SAMPLE_BYTES > SEGMENT_BYTES_MAX // 2:
            raise SettingsError(f"recorder.segment_s is {settings.segment_s:g}: a segment would be too large")
        self._link = link
        self._settings = settings
        self._memory = memory
        self._files = files
        self._uploads = uploads
        self._open_floor = open_floor
        limits = Limits(
            rate_hz=self._rate,
            segment_s=settings.segment_s,
            bytes_max=settings.recordings_bytes_max,
            free_bytes_min=settings.free_bytes_min,
            upload_bytes_per_s=settings.upload_bytes_per_s,
        )
        jitter = chance or random.Random()  # noqa: S311 jitter, not a secret
        self._core = Recorder(limits, jitter, floor=bool(settings.floor_command))
        self._inbox: asyncio.Queue[tuple[m.Event, bytes]] = asyncio.Queue()
        self._waiting_bytes = 0
        self._heard_to = (0, time.monotonic())
        self._looked_at = time.monotonic()
        self._tasks: asyncio.TaskGroup | None = None
        self._disk = ThreadPoolExecutor(1, "recordings")

    @property
    def waiting_bytes(self) -> int:
        """Sound on the disk that the server does not have."""
        return self._core.waiting_bytes

    @property
    def full(self) -> bool:
        """Whether recording waits for room on the disk."""
        return self._core.full

    # What the microphone's way tells

    def sitting_told(self, told: SetSitting, position: int, at: ServerTime | None) -> None:
        """See `ports.SoundSink`."""
        self._tell(m.SittingTold(told, position, at))

    def time_told(self, position: int, at: ServerTime) -> None:
        """See `ports.SoundSink`."""
        self._tell(m.TimeTold(position, at))

    def heard(self, position: int, pcm: bytes) -> None:
        """See `ports.SoundSink`."""
        samples = len(pcm) // SAMPLE_BYTES
        self._heard_to = (position + samples, time.monotonic())
        if self._waiting_bytes + len(pcm) > WAITING_S_MAX * self._rate * SAMPLE_BYTES:
            self._tell(m.SoundDropped(position))
            return
        self._waiting_bytes += len(pcm)
        self._inbox.put_nowait((m.Sound(position, samples), pcm))

    def microphone_lost(self, position: int) -> None:
        """See `ports.SoundSink`."""
        self._tell(m.MicrophoneLost(position))

    # The loop

    async def run(self) -> None:
        """Record until cancelled; what is open is closed when this returns."""
        records = self._load()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._take(m.Started(records), b"")
                while True:
                    event, pcm = await self._next_event()
                    self._waiting_bytes -= len(pcm)
                    await self._take(event, pcm)
        finally:
            self._tasks = None
            self._uploads.close()
            await self._take(m.Stopping(), b"")
            self._disk.shutdown()

    async def _next_event(self) -> tuple[m.Event, bytes]:
        deadline = self._core.deadline()
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(wait):
                return await self._inbox.get()
        except TimeoutError:
            return m.TimePassed(), b""

    def _tell(self, event: m.Event) -> None:
        self._inbox.put_nowait((event, b""))

    def _load(self) -> tuple[Record, ...]:
        records, damaged = self._memory.load()
        for recording in damaged:
            kept_as = self._files.set_aside(recording)
            log.error("record_damaged", extra={"recording": recording, "kept_as": str(kept_as)})
        return records

    async def _take(self, event: m.Event, pcm: bytes) -> None:
        """One event, and what its effects give, before any other."""
        events = deque([event])
        while events:
            failed = False
            for effect in self._core.handle(events.popleft(), time.monotonic()):
                if failed and isinstance(effect, m.LEFT_OUT):
                    continue
                try:
                    result = await self._carry_out(effect, pcm)
                except UnavailableError as error:
                    if isinstance(effect, m.Close):
                        result = m.CloseFailed(effect.recording, effect.segment, str(error))
                    else:
                        failed, result = True, m.DiskFailed(str(error))
                if result is not None:
                    events.append(result)

    async def _carry_out(self, effect: m.Effect, pcm: bytes) -> m.Event | None:
        files = self._files
        match effect:
            case m.Save(record):
                await self._on_disk(self._memory.save, record)
            case m.Forget(recording):
                await self._on_disk(self._memory.forget, recording)
            case m.Begin(recording, segment, rate_hz):
                await self._on_disk(files.begin, recording, segment, rate_hz)
            case m.Write(skip):
                await self._on_disk(files.write, memoryview(pcm)[skip * SAMPLE_BYTES :])
                return self._look_at_space()
            case m.Close(recording, segment, rate_hz, samples):
                whole = await self._on_disk(files.close, recording, segment, rate_hz, samples)
                return m.SegmentClosed(recording, segment, whole.samples, whole.size, whole.sha256)
            case m.Delete(recording, segment):
                await self._on_disk(files.delete, recording, segment)
            case m.LookAtSpace():
                return m.SpaceTold(files.free_bytes())
            case m.SendNews(news):
                return await self._send_news(news)
            case m.SendFloor(recording, event):
                return None if await self._send_floor(event) else m.FloorRefused(recording, event)
            case m.SendKeptFloor():
                return await self._send_kept_floor(effect)
            case m.BeginUpload() | m.SendChunk() | m.AskStored():
                self._spawn(self._upload(effect), "upload")
            case m.StartFloor():
                self._spawn(self._follow_floor(), "floor")
            case m.Note(name, details, level):
                log.log(LEVELS[level], name, extra=details)
            case _:
                assert_never(effect)
        return None

    async def _on_disk(self, do: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, partial(do, *args, **named))

    def _look_at_space(self) -> m.Event | None:
        """Once a second of sound is often enough."""
        now = time.monotonic()
        if now - self._looked_at < self._settings.audio_sync_s:
            return None
        self._looked_at = now
        return m.SpaceTold(self._files.free_bytes())

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._tasks is None:
            work.close()
            return
        self._tasks.create_task(work, name=name)

    async def _send_news(self, news: RecordingNews) -> m.Event:
        ids = {"recording": news.recording}
        try:
            await self._link.send("recordings", ids, news, lane=Lane.EVENTS, must=True)
        except RefusedError as error:
            log.warning("news_refused", extra=ids | {"reason": str(error)})
            return m.NewsRefused(news.recording)
        return m.NewsTaken(news.recording, news.revision)

    async def _send_kept_floor(self, effect: m.SendKeptFloor) -> m.Event:
        for number, event in enumerate(effect.events):
            if not await self._send_floor(event):
                return m.KeptFloorSent(effect.recording, effect.events[:number], refused=True)
        return m.KeptFloorSent(effect.recording, effect.events, refused=False)

    async def _send_floor(self, event: FloorEvent) -> bool:
        """Whether the link has taken it."""
        try:
            await self._link.send("floor", {"session": event.session}, event, lane=Lane.EVENTS, must=True)
        except RefusedError:
            return False
        return True

    # Uploads and the floor

    async def _upload(self, effect: m.BeginUpload | m.SendChunk | m.AskStored) -> None:
        try:
            match effect:
                case m.BeginUpload(record, segment):
                    told: m.Event = m.UploadBegun(*await self._uploads.begin(record, segment))
                case m.SendChunk(recording, number, upload, offset, length):
                    sent = await self._uploads.send(recording, number, upload, offset, length)
                    told = m.ChunkTaken(sent)
                case m.AskStored(recording, number):
                    told = m.StoredTold(await self._uploads.stored(recording, number))
        except UploadRefusedError as error:
            told = m.UploadFailed(error.problem, str(error))
        except (UnavailableError, MalformedError) as error:
            told = m.UploadFailed(None, str(error))
        self._tell(told)

    async def _follow_floor(self) -> None:
        try:
            source = await self._open_floor(self._settings.floor_command)
            try:
                while True:
                    await self._hear_floor(source)
            finally:
                await source.close()
        except UnavailableError as error:
            self._tell(m.FloorLost(str(error), self._position_now()))

    async def _hear_floor(self, source: FloorSource) -> None:
        try:
            turn = await source.read()
        except MalformedError as error:
            self._tell(m.FloorNonsense(str(error)))
            return
        self._tell(m.FloorTold(turn.seat, turn.on, self._position_now()))

    def _position_now(self) -> int:
        """Where the microphone is at this moment; its last block is a little older."""
        position, at = self._heard_to
        return position + int((time.monotonic() - at) * self._rate)
