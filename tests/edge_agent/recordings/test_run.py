"""The runner with a real disk, a real server and a link that keeps what it is given."""

import asyncio
import hashlib
import resource
import sqlite3
import sys
import wave
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from contract.captions import SetSitting
from contract.messages import Lane
from contract.recordings import (
    FloorAction,
    FloorEvent,
    GapReason,
    RecorderState,
    RecordingNews,
    check_news,
    recording_id,
)
from edge_agent.errors import RefusedError, SettingsError
from edge_agent.link.https import DeviceHttps
from edge_agent.ports import ServerTime
from edge_agent.recordings.core import OPEN_GUARD_MS
from edge_agent.recordings.memory import Memory
from edge_agent.recordings.run import Recordings
from edge_agent.recordings.segment_files import SegmentFiles
from edge_agent.recordings.uploads_tus import TusUploads
from edge_agent.settings import Recorder as Settings
from tests.cloud.recordings.place import Served, lay, open_sitting, serving
from tests.edge_agent.captions.fakes import WAIT_S, FakeLink

RATE = 8_000
BLOCK = RATE // 5
OPENED_AT = 1_790_000_000_000
GUARD = OPEN_GUARD_MS * RATE // 1000


class KeepingLink(FakeLink):
    """A link for news and floor events. `full` refuses them."""

    def __init__(self):
        super().__init__()
        self.news: list[RecordingNews] = []
        self.floor: list[FloorEvent] = []
        self.grew = asyncio.Condition()

    async def send(self, topic_name, ids, body, *, lane, must):
        assert (lane, must) == (Lane.EVENTS, True)
        if self.full:
            raise RefusedError("the outbox is full")
        if topic_name == "recordings":
            assert dict(ids) == {"recording": body.recording}
            check_news(body)
            self.news.append(body)
        else:
            assert (topic_name, dict(ids)) == ("floor", {"session": body.session})
            self.floor.append(body)
        async with self.grew:
            self.grew.notify_all()

    def disk_lost(self):
        return bool(self.news) and any(gap.why is GapReason.DISK for gap in self.news[-1].gaps)

    async def until(self, holds):
        async with asyncio.timeout(WAIT_S), self.grew:
            await self.grew.wait_for(holds)


class Hall:
    """A recorder that is told what it hears."""

    def __init__(self, folder: Path, served: Served, **settings) -> None:
        self.link = KeepingLink()
        self.session = served.session
        self.folder = folder
        self.files = SegmentFiles(folder / "recordings", RATE * 2)
        self.memory = Memory(folder / "recordings.db")
        uploads = TusUploads(DeviceHttps(served.url, served.identity(), WAIT_S), self.files)
        chosen = Settings(
            microphone_command=["none"],
            microphone_rate_hz=RATE,
            model_dir=folder,
            vad_model=folder,
            free_bytes_min=1,
            **settings,
        )
        self.recordings = Recordings(self.link, chosen, self.memory, self.files, uploads)
        self.position = 0
        self.version = 0
        self.said: dict[int, bytes] = {}

    def sitting(self, state: str, at_ms: int | None = None, *, timed: bool = True) -> None:
        self.version += 1
        told = SetSitting(
            session=self.session,
            channel="floor",
            state=state,
            version=self.version,
            lang="sq",
            opened_at=OPENED_AT,
        )
        at = OPENED_AT + (self.position * 1000 // RATE if at_ms is None else at_ms)
        self.recordings.sitting_told(told, self.position, ServerTime(at, at) if timed else None)

    def speak(self, blocks: int) -> None:
        for _ in range(blocks):
            pcm = hashlib.shake_128(str(self.position).encode()).digest(BLOCK * 2)
            self.said[self.position] = pcm
            self.recordings.heard(self.position, pcm)
            self.position += BLOCK

    def sound(self, start: int, end: int) -> bytes:
        """What was said between two positions."""
        everything = b"".join(self.said[position] for position in sorted(self.said))
        return everything[start * 2 : end * 2]

    async def finished(self) -> RecordingNews:
        await self.link.until(
            lambda: bool(self.link.news) and self.link.news[-1].state is RecorderState.FINISHED
        )
        return self.link.news[-1]

    async def kept(self) -> None:
        """All that was said is on the disk, and nothing else waits there for the server."""
        async with asyncio.timeout(WAIT_S):
            while self.recordings.waiting_bytes < (self.position - GUARD) * 2:
                await asyncio.sleep(0.02)

    async def uploaded(self) -> None:
        async with asyncio.timeout(WAIT_S):
            while list((self.folder / "recordings").rglob("*.wav")):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(hall):
    task = asyncio.create_task(hall.recordings.run())
    try:
        yield hall
    finally:
        task.cancel()
        await asyncio.wait([task])
        hall.memory.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


@pytest.fixture(scope="module")
def plane(tmp_path_factory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("plane")
    lay(folder)
    with serving(folder) as served:
        yield served


@pytest.fixture
def served(plane: Served, request: pytest.FixtureRequest) -> Served:
    """The server, with a sitting of this test's own."""
    name = f"s{abs(hash(request.node.name))}"
    open_sitting(plane.folder, name)
    return replace(plane, session=name)


def stored(served: Served) -> list[bytes]:
    """The sound of each segment in the object store."""
    found = []
    folder = served.folder / "objects" / "recordings" / recording_id(served.session, "floor")
    for path in sorted(folder.glob("*.wav")):
        with wave.open(str(path)) as file:
            assert file.getframerate() == RATE
            found.append(file.readframes(file.getnframes()))
    return found


async def test_what_was_said_is_on_the_server_and_nothing_of_a_closed_part(tmp_path, served):
    async with running(Hall(tmp_path, served, segment_s=2.0)) as hall:
        hall.speak(3)
        hall.sitting("open")
        opened = hall.position
        hall.speak(15)
        hall.sitting("closed_to_public")
        closed = hall.position
        hall.speak(20)
        hall.sitting("open")
        again = hall.position
        hall.speak(5)
        hall.sitting("ended")
        news = await hall.finished()
        await hall.uploaded()
    assert b"".join(stored(served)) == hall.sound(opened + GUARD, closed) + hall.sound(
        again + GUARD, hall.position
    )
    assert [entry.why for entry in news.segments] == [GapReason.LATE, GapReason.NONE, GapReason.PAUSED]
    assert hall.recordings.waiting_bytes == 0


async def test_an_end_in_order_closes_what_is_open_and_the_next_start_goes_on(tmp_path, served):
    async with running(Hall(tmp_path, served)) as hall:
        hall.sitting("open")
        hall.speak(10)
        await hall.link.until(lambda: bool(hall.link.news))
    assert hall.link.news[-1].gaps[-1].why is GapReason.RESTART
    async with running(Hall(tmp_path, served)) as later:
        later.sitting("open", at_ms=9000)
        later.speak(5)
        later.sitting("ended", at_ms=10_000)
        news = await later.finished()
        await later.uploaded()
    assert [(entry.segment, entry.why) for entry in news.segments] == [
        (1, GapReason.LATE),
        (2, GapReason.RESTART),
    ]
    assert len(stored(served)) == 2


async def test_what_is_heard_after_a_restart_without_a_link_arrives_with_its_date(tmp_path, served):
    async with running(Hall(tmp_path, served)) as hall:
        hall.sitting("open")
        hall.speak(10)
        await hall.kept()
    async with running(Hall(tmp_path, served)) as undated:  # it ends before anybody has told it the time
        await undated.uploaded()
        undated.sitting("open", timed=False)
        undated.speak(10)
        await undated.kept()
    async with running(Hall(tmp_path, served)) as later:
        later.sitting("open", timed=False)
        later.speak(10)
        told = ServerTime(OPENED_AT + 100_000, OPENED_AT + 101_000)
        later.recordings.time_told(later.position, told)
        later.speak(5)
        later.sitting("ended", at_ms=101_000)
        news = await later.finished()
        await later.uploaded()
    for message in (*hall.link.news, *undated.link.news, *later.link.news):
        check_news(message)
    _, between, last = news.segments
    assert stored(served) == [
        hall.sound(GUARD, hall.position),
        undated.sound(GUARD, undated.position),
        later.sound(GUARD, later.position),
    ]
    assert (last.start_ms, last.duration_ms, last.late_ms) == (98_250, 2750, 1000 + last.early_ms)
    assert (between.start_ms, between.late_ms) == (2000, 98_001 + 1000 - 2000 - between.duration_ms)
    assert [gap.why for gap in news.gaps] == [GapReason.RESTART, GapReason.RESTART]
    assert [gap.lost_ms for gap in news.gaps] == [None, 98_250 - 2000 - between.duration_ms]
    with sqlite3.connect(served.folder / "fleet.db") as database:
        kept = database.execute(
            "SELECT early_ms, late_ms FROM recording_segments WHERE recording = ? ORDER BY segment",
            [recording_id(served.session, "floor")],
        ).fetchall()
    assert kept == [(each.early_ms, each.late_ms) for each in news.segments]


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """The system refuses to let any file grow larger: a disk that is full at this byte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_that_is_full_is_told_and_what_it_took_arrives(tmp_path, served):
    async with running(Hall(tmp_path, served)) as hall:
        hall.sitting("open")
        hall.speak(2)
        await hall.link.until(lambda: bool(hall.link.news))
        with files_at_most(150_001):  # the database is smaller than that
            hall.speak(60)
            await hall.link.until(hall.link.disk_lost)
            assert hall.recordings.full
        hall.sitting("ended")
        news = await hall.finished()
        await hall.uploaded()
    (kept,) = stored(served)
    assert kept == hall.sound(GUARD, GUARD + (150_001 - 44) // 2)
    assert news.segments[0].duration_ms == len(kept) // 2 * 1000 // RATE


async def test_sound_that_the_disk_cannot_follow_is_dropped_and_told(tmp_path, served, monkeypatch):
    monkeypatch.setattr("edge_agent.recordings.run.WAITING_S_MAX", 2)
    async with running(Hall(tmp_path, served)) as hall:
        hall.sitting("open")
        hall.speak(30)  # at once: nothing of it can be written meanwhile
        await hall.link.until(hall.link.disk_lost)
        hall.speak(3)
        hall.sitting("ended")
        news = await hall.finished()
        await hall.uploaded()
    assert [gap.why for gap in news.gaps] == [GapReason.DISK]
    assert b"".join(stored(served)) == hall.sound(GUARD, 2 * RATE) + hall.sound(30 * BLOCK, 33 * BLOCK)


async def test_a_real_floor_command_is_followed(tmp_path, served):
    script = (
        "import time\n"
        'for line in (\'{"seat": "7", "on": true}\', "nonsense", \'{"seat": "7", "on": false}\'):\n'
        "    print(line, flush=True)\n"
        "time.sleep(600)\n"
    )
    async with running(Hall(tmp_path, served, floor_command=[sys.executable, "-c", script])) as hall:
        hall.sitting("open")
        await hall.link.until(lambda: len(hall.link.floor) >= 2)
        assert [(event.seat, event.action) for event in hall.link.floor] == [
            ("7", FloorAction.TAKEN),
            ("7", FloorAction.RELEASED),
        ]


async def test_a_floor_command_that_cannot_be_run_harms_nothing(tmp_path, served):
    async with running(Hall(tmp_path, served, floor_command=["/nowhere/conference"])) as hall:
        hall.sitting("open")
        hall.speak(5)
        hall.sitting("ended")
        assert (await hall.finished()).segment_count == 1


async def test_a_damaged_record_takes_no_sound_with_it(tmp_path, served):
    hall = Hall(tmp_path, served)
    name = recording_id(served.session, "floor")
    hall.files.begin(name, 1, RATE)
    hall.files.write(b"kept")
    hall.memory._db.execute("INSERT INTO recordings (recording, record) VALUES (?, '{')", (name,))
    async with running(hall):
        hall.sitting("open")
        hall.speak(5)
        hall.sitting("ended")
        assert (await hall.finished()).segment_count == 1
    assert (tmp_path / "recordings" / f"{name}.damaged" / "0001.wav").read_bytes()[44:] == b"kept"


async def test_news_wait_while_the_outbox_is_full(tmp_path, served, monkeypatch):
    monkeypatch.setattr("edge_agent.recordings.core.RESEND_S", 0.05)
    async with running(Hall(tmp_path, served)) as hall:
        hall.link.full = True
        hall.sitting("open")
        hall.speak(5)
        hall.sitting("ended")
        await hall.uploaded()
        hall.link.full = False
        assert (await hall.finished()).segment_count == 1


def test_a_segment_that_the_server_would_not_take_is_a_wrong_setting(tmp_path):
    settings = Settings(
        microphone_command=["x"],
        microphone_rate_hz=192_000,
        segment_s=7200,
        model_dir=tmp_path,
        vad_model=tmp_path,
    )
    files, memory = SegmentFiles(tmp_path, 1), Memory(tmp_path / "recordings.db")
    with pytest.raises(SettingsError, match="segment_s"):
        Recordings(FakeLink(), settings, memory, files, TusUploads(None, files))
