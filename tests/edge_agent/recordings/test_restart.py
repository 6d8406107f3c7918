"""A hall after a power cut without a link: microphone, sittings and recordings together, on a real disk."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract.captions import SetSitting
from contract.link import Why
from contract.messages import Lane
from contract.recordings import FloorEvent, GapReason, RecordingNews, check_floor, recording_id
from edge_agent.captions.run import Captions
from edge_agent.captions.sitting_file import SittingFile
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.ports import ServerTime
from edge_agent.recordings.core import OPEN_GUARD_MS
from edge_agent.recordings.floor_command import Turn
from edge_agent.recordings.memory import Memory
from edge_agent.recordings.records import Record, Segment
from edge_agent.recordings.run import Recordings
from edge_agent.recordings.segment_files import SegmentFiles
from edge_agent.settings import Recorder as Settings
from tests.edge_agent.captions.fakes import WAIT_S, FakeChild, FakeMicrophone

RATE = 8_000
BLOCK = bytes(RATE // 5 * 2)
BLOCK_MS = 200
OPENED_AT = 1_790_000_000_000
AN_HOUR_LATER = ServerTime(OPENED_AT + 3_600_000, OPENED_AT + 3_601_200)


def told(state: str, version: int) -> SetSitting:
    return SetSitting(
        session="s1", channel="floor", state=state, version=version, lang="sq", opened_at=OPENED_AT
    )


class Nobody:
    """Uploads to a server that is not there."""

    async def begin(self, record: Record, segment: Segment) -> tuple[str, int]:
        raise UnavailableError("nobody is there")

    async def send(self, recording: str, segment: int, upload: str, offset: int, length: int) -> int:
        raise UnavailableError("nobody is there")

    async def stored(self, recording: str, segment: int) -> str:
        raise UnavailableError("nobody is there")

    def close(self) -> None:
        """There is nothing to break off."""


class Outbox:
    """Keeps the news, the floor and what is declared; `full` takes nothing."""

    def __init__(self) -> None:
        self.news: list[RecordingNews] = []
        self.floor: list[FloorEvent] = []
        self.declared: list[tuple[Lane, Why]] = []
        self.full = False

    async def send(self, topic_name, ids, body, *, lane, must):
        assert (lane, must) == (Lane.EVENTS, True)
        if self.full:
            raise RefusedError("the outbox is full")
        if topic_name == "floor":
            assert dict(ids) == {"session": body.session}
            check_floor(body)
            self.floor.append(body)
        else:
            assert topic_name == "recordings"
            self.news.append(body)

    def left_out(self, lane, why):
        self.declared.append((lane, why))


class Seats:
    """The hall's microphone system."""

    def __init__(self) -> None:
        self.turns: asyncio.Queue[Turn] = asyncio.Queue()

    async def read(self) -> Turn:
        return await self.turns.get()

    async def close(self) -> None:
        """There is nothing to stop."""


class Hall:
    """One start of the agent, in a folder that outlives it."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(
            microphone_command=["none"],
            microphone_rate_hz=RATE,
            model_dir=folder,
            model_languages=["sq"],
            vad_model=folder,
            free_bytes_min=1,
            floor_command=["hall"],
        )
        self.outbox = Outbox()
        self.seats = Seats()
        self.memory = Memory(folder / "recordings.db")
        files = SegmentFiles(folder / "recordings", RATE * 2)
        self.recordings = Recordings(
            self.outbox, settings, self.memory, files, Nobody(), open_floor=self._open_floor
        )
        self.microphone = FakeMicrophone()
        self.captions = Captions(
            self.outbox,
            settings,
            SittingFile(folder / "sittings.json"),
            open_microphone=self._open,
            start_recogniser=self._nobody,
            sink=self.recordings,
        )

    async def _open_floor(self, command: list[str]) -> Seats:
        return self.seats

    async def _nobody(self, settings: Settings, language: str) -> FakeChild:
        return FakeChild(language)

    async def floor(self, events: int) -> list[FloorEvent]:
        async with asyncio.timeout(WAIT_S):
            while len(self.outbox.floor) < events:
                await asyncio.sleep(0.01)
        return self.outbox.floor

    async def waiting(self, events: int) -> Record:
        """The record on the disk, once it has so many undated events of the floor in its last start."""
        async with asyncio.timeout(WAIT_S):
            while True:
                ((record,), _) = self.memory.load()
                if record.undated and len(record.undated[-1].floor) == events:
                    return record
                await asyncio.sleep(0.01)

    async def _open(self, settings: Settings) -> FakeMicrophone:
        return self.microphone

    async def speak(self, blocks: int) -> None:
        """Returns when all of it has been handed on."""
        for _ in range(blocks):
            self.microphone.blocks.put_nowait(BLOCK)
        async with asyncio.timeout(WAIT_S):
            while not (self.microphone.blocks.empty() and self.recordings._inbox.empty()):
                await asyncio.sleep(0.01)

    async def kept(self, size: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.recordings.waiting_bytes < size:
                await asyncio.sleep(0.01)

    async def told(self, segments: int) -> RecordingNews:
        async with asyncio.timeout(WAIT_S):
            while not self.outbox.news or self.outbox.news[-1].segment_count < segments:
                await asyncio.sleep(0.01)
        return self.outbox.news[-1]


@asynccontextmanager
async def living(folder: Path) -> AsyncIterator[Hall]:
    hall = Hall(folder)
    tasks = [asyncio.create_task(each.run()) for each in (hall.recordings, hall.captions)]
    try:
        yield hall
    finally:
        for task in reversed(tasks):
            task.cancel()
            await asyncio.wait([task])
        hall.memory.close()


async def first_life(folder: Path, last_word: str) -> int:
    """A sitting is opened and spoken in; then `last_word`; gives the bytes that were kept."""
    async with living(folder) as hall:
        hall.captions.time_told(ServerTime(OPENED_AT, OPENED_AT + 1000))
        await hall.captions.set_sitting(told("open", 1))
        await hall.speak(10)
        await hall.kept((10 * BLOCK_MS - OPEN_GUARD_MS - BLOCK_MS) * RATE * 2 // 1000)
        if last_word != "open":
            await hall.captions.set_sitting(told(last_word, 2))
            await hall.told(1)
    return hall.recordings.waiting_bytes


async def test_an_open_sitting_goes_on_being_recorded_and_is_dated_when_the_link_is_back(tmp_path):
    before = await first_life(tmp_path, "open")
    async with living(tmp_path) as hall:
        await hall.speak(10)
        await hall.kept(before + (10 * BLOCK_MS - OPEN_GUARD_MS) * RATE * 2 // 1000)
        assert all(news.segment_count == 1 for news in hall.outbox.news), "nothing is told without its date"
        hall.captions.time_told(AN_HOUR_LATER)
        await hall.captions.set_sitting(told("closed_to_public", 2))
        news = await hall.told(2)
    assert news.recording == recording_id("s1", "floor")
    last = news.segments[-1]
    assert last.why is GapReason.RESTART
    assert last.duration_ms == 10 * BLOCK_MS - OPEN_GUARD_MS
    # The two seconds lie before the moment that was told; the microphone's blocks came faster than time.
    end_ms = last.start_ms + last.duration_ms
    assert end_ms - last.early_ms <= 3_601_200
    assert end_ms + last.late_ms >= 3_600_000 - 5_000
    assert last.late_ms - last.early_ms >= 1_200


@pytest.mark.parametrize("last_word", ["paused", "closed_to_public", "ended"])
async def test_a_hall_that_was_not_open_at_the_last_word_stays_deaf(tmp_path, last_word):
    before = await first_life(tmp_path, last_word)
    async with living(tmp_path) as hall:
        await hall.speak(10)
        hall.captions.time_told(AN_HOUR_LATER)
        await hall.speak(10)
        assert hall.recordings.waiting_bytes == before
        assert not hall.recordings._core.recording


async def test_the_floor_of_a_start_without_the_time_outlives_two_restarts_and_a_full_outbox(tmp_path):
    await first_life(tmp_path, "open")
    async with living(tmp_path) as hall:
        await hall.speak(10)
        hall.seats.turns.put_nowait(Turn("A1", on=True))
        hall.seats.turns.put_nowait(Turn("A1", on=False))
        record = await hall.waiting(2)
        assert hall.outbox.floor == []
        assert hall.outbox.declared == [(Lane.LIVE, Why.CLOCK)], "that nobody reads along is told"
    took, gave_back = record.undated[-1].floor
    async with living(tmp_path) as hall:
        hall.outbox.full = True
        hall.seats.turns.put_nowait(Turn("B2", on=True))
        await hall.waiting(1)
        hall.captions.time_told(AN_HOUR_LATER)
        async with asyncio.timeout(WAIT_S):
            while hall.memory.load()[0][0].undated:
                await asyncio.sleep(0.01)
    async with living(tmp_path) as hall:
        first, second, last = await hall.floor(3)
        assert [(each.seat, each.action.value) for each in (first, second, last)] == [
            ("A1", "taken"),
            ("A1", "released"),
            ("B2", "taken"),
        ]
        assert (first.at_ms, second.at_ms) == (took.at_ms, gave_back.at_ms), "where its sound lies"
        assert 3_590_000 < last.at_ms <= 3_600_000, "an hour later"
        async with asyncio.timeout(WAIT_S):
            while hall.memory.load()[0][0].floor:
                await asyncio.sleep(0.01)
