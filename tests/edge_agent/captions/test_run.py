"""The runner between a fake link, a fake microphone and a fake child."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract.captions import CaptionState, SetSitting
from edge_agent.captions.child_protocol import Audio, Gap, Guess, Ready, Said
from edge_agent.captions.run import Captions
from edge_agent.captions.sitting_file import SittingFile
from edge_agent.errors import MalformedError, RefusedError, SettingsError, UnavailableError
from edge_agent.ports import ServerTime
from edge_agent.settings import Recorder
from tests.edge_agent.captions.fakes import WAIT_S, FakeChild, FakeLink, FakeMicrophone, tone

RATE = 48_000
BLOCK = tone(0.1, RATE)
SAMPLES = RATE // 10
SERVER_TIME = ServerTime(1_790_000_000_000, 1_790_000_001_000)


def told(state: str = "open", version: int = 1, lang: str = "en", session: str = "s1") -> SetSitting:
    return SetSitting(
        session=session, channel="floor", state=state, version=version, lang=lang, opened_at=1_790_000_000_000
    )


class Hall:
    """A recorder whose microphones and children are in the test's hands."""

    def __init__(self, folder: Path) -> None:
        self.link = FakeLink()
        self.microphones: asyncio.Queue[FakeMicrophone] = asyncio.Queue()
        self.children: asyncio.Queue[FakeChild] = asyncio.Queue()
        settings = Recorder(
            microphone_command=["none"], microphone_rate_hz=RATE, model_dir=folder, vad_model=folder
        )
        self.file = SittingFile(folder / "sittings.json")
        self.captions = Captions(
            self.link,
            settings,
            self.file,
            open_microphone=self._open_microphone,
            start_recogniser=self._start_recogniser,
        )
        self.captions.time_told(SERVER_TIME)

    async def microphone(self) -> FakeMicrophone:
        return await asyncio.wait_for(self.microphones.get(), WAIT_S)

    async def child(self) -> FakeChild:
        return await asyncio.wait_for(self.children.get(), WAIT_S)

    async def _open_microphone(self, settings: Recorder) -> FakeMicrophone:
        microphone = FakeMicrophone()
        self.microphones.put_nowait(microphone)
        return microphone

    async def _start_recogniser(self, settings: Recorder, language: str) -> FakeChild:
        child = FakeChild(language)
        self.children.put_nowait(child)
        return child


@asynccontextmanager
async def running(hall: Hall) -> AsyncIterator[Hall]:
    task = asyncio.create_task(hall.captions.run())
    try:
        yield hall
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def test_sound_goes_to_the_child_and_lines_go_out(tmp_path):
    async with running(Hall(tmp_path)) as hall:
        microphone = await hall.microphone()
        for _ in range(10):
            microphone.blocks.put_nowait(BLOCK)  # before the sitting is open: it is not for the child
        async with asyncio.timeout(WAIT_S):
            while hall.captions.microphone_level_dbfs is None:
                await asyncio.sleep(0)
        assert await hall.captions.set_sitting(told()) == "recognising en"
        child = await hall.child()
        microphone.blocks.put_nowait(BLOCK)
        frame = await child.frame()
        assert isinstance(frame, Audio)
        assert frame.pcm == BLOCK
        child.messages.put_nowait(Ready(engine="fake"))
        start = frame.position
        child.messages.put_nowait(Guess(start=start, end=start + 1, text="Good", stable=0))
        child.messages.put_nowait(Said(start=start, end=start + 2, text="Good day.", confidence=0.9))
        partial, final = await hall.link.partial(), await hall.link.final()
        assert (partial.text, partial.state) == ("Good", CaptionState.PARTIAL)
        assert (final.segment, final.revision, final.text) == (1, 2, "Good day.")


async def test_a_number_is_on_the_disk_before_it_is_sent(tmp_path):
    async with running(Hall(tmp_path)) as hall:
        await hall.captions.set_sitting(told())
        child = await hall.child()
        child.messages.put_nowait(Guess(start=0, end=1, text="Good", stable=0))
        await hall.link.partial()
        assert SittingFile(tmp_path / "sittings.json").load().sittings[-1].last_segment == 1


async def test_nothing_is_kept_before_a_sitting_is_open(tmp_path):
    async with running(Hall(tmp_path)) as hall:
        microphone = await hall.microphone()
        microphone.blocks.put_nowait(tone(1.0, RATE))
        microphone.blocks.put_nowait(BLOCK)
        await hall.captions.set_sitting(told("paused"))
        await hall.captions.set_sitting(told("open", version=2))
        child = await hall.child()
        microphone.blocks.put_nowait(BLOCK)
        frame = await child.frame()
        assert isinstance(frame, Audio)
        assert frame.position >= RATE + SAMPLES
        assert child.frames.empty()


async def test_a_hot_microphone_says_nothing_after_closing(tmp_path):
    async with running(Hall(tmp_path)) as hall:
        microphone = await hall.microphone()
        await hall.captions.set_sitting(told())
        child = await hall.child()
        microphone.blocks.put_nowait(BLOCK)
        await child.frame()
        child.messages.put_nowait(Said(start=0, end=1, text="In public."))
        await hall.link.final()
        closing = asyncio.create_task(hall.captions.set_sitting(told("closed_to_public", version=2)))
        await asyncio.wait_for(child.killed.wait(), WAIT_S)
        child.messages.put_nowait(Said(start=1, end=2, text="In secret."))
        microphone.blocks.put_nowait(BLOCK)
        assert await closing == "nothing is recognised while the sitting is closed_to_public"
        # What was said in secret is not heard by the next child either.
        await hall.captions.set_sitting(told("open", version=3))
        again = await hall.child()
        assert again.frames.empty()
        again.messages.put_nowait(Said(start=9_999_999, end=9_999_999, text="In public again."))
        assert (await hall.link.final()).text == "In public again."
        assert hall.link.partials.empty()


async def test_a_child_that_dies_hears_what_was_not_settled_again(tmp_path):
    async with running(Hall(tmp_path)) as hall:
        microphone = await hall.microphone()
        await hall.captions.set_sitting(told())
        child = await hall.child()
        child.messages.put_nowait(Ready(engine="fake"))
        for _ in range(10):
            microphone.blocks.put_nowait(BLOCK)
        heard = [await child.frame() for _ in range(10)]
        assert isinstance(heard[3], Audio)
        settled = heard[3].position + 100
        child.messages.put_nowait(Said(start=heard[0].position, end=settled, text="One."))
        await hall.link.final()
        child.messages.put_nowait(UnavailableError("killed"))
        again = await hall.child()
        assert child.killed.is_set()
        replayed = [await again.frame() for _ in range(7)]
        assert replayed[0] == Audio(settled, BLOCK[200:])
        assert replayed[1:] == heard[4:]
        again.messages.put_nowait(Said(start=settled, end=settled + RATE, text="Two."))
        assert (await hall.link.final()).segment == 2


async def test_a_child_that_talks_nonsense_is_replaced(tmp_path):
    async with running(Hall(tmp_path)) as hall:
        await hall.captions.set_sitting(told())
        child = await hall.child()
        child.messages.put_nowait(MalformedError("nonsense"))
        await hall.child()
        assert child.killed.is_set()


async def test_a_microphone_that_is_plugged_in_again_goes_on_after_a_gap(tmp_path):
    async with running(Hall(tmp_path)) as hall:
        microphone = await hall.microphone()
        await hall.captions.set_sitting(told())
        child = await hall.child()
        microphone.blocks.put_nowait(BLOCK)
        first = await child.frame()
        microphone.blocks.put_nowait(None)
        assert await child.frame() == Gap()
        assert microphone.closed.is_set()
        again = await hall.microphone()
        again.blocks.put_nowait(BLOCK)
        second = await child.frame()
        assert isinstance(first, Audio)
        assert isinstance(second, Audio)
        # The backoff was half a second, and the position tells so.
        assert second.position - first.position > SAMPLES * 2


async def test_the_microphones_level_is_told_while_there_is_one(tmp_path):
    async with running(Hall(tmp_path)) as hall:
        microphone = await hall.microphone()
        assert hall.captions.microphone_level_dbfs is None
        await hall.captions.set_sitting(told())
        child = await hall.child()
        for _ in range(10):
            microphone.blocks.put_nowait(BLOCK)
        for _ in range(10):
            await child.frame()
        # A sine with an amplitude of 8000 of 32768.
        assert hall.captions.microphone_level_dbfs == pytest.approx(-15.3, abs=0.1)
        microphone.blocks.put_nowait(None)
        assert await child.frame() == Gap()
        assert hall.captions.microphone_level_dbfs is None


async def test_a_full_outbox_delays_a_final(tmp_path, monkeypatch):
    monkeypatch.setattr("edge_agent.captions.core.RESEND_S", 0.05)
    async with running(Hall(tmp_path)) as hall:
        hall.link.full = True
        await hall.captions.set_sitting(told())
        child = await hall.child()
        child.messages.put_nowait(Said(start=0, end=1, text="One."))
        child.messages.put_nowait(Guess(start=1, end=2, text="Two", stable=0))
        await hall.link.partial()
        hall.link.full = False
        assert (await hall.link.final()).text == "One."


async def test_no_line_goes_out_under_a_number_that_the_disk_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("edge_agent.captions.core.RESEND_S", 0.05)
    async with running(Hall(tmp_path)) as hall:
        await hall.captions.set_sitting(told())
        child = await hall.child()
        save, refused = hall.file.save, asyncio.Event()

        def refuse(memory: object) -> None:
            loop.call_soon_threadsafe(refused.set)
            raise UnavailableError("no space left")

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(hall.file, "save", refuse)
        child.messages.put_nowait(Said(start=0, end=1, text="One."))
        for _ in range(3):  # it is tried again and again, and the line waits
            refused.clear()
            await asyncio.wait_for(refused.wait(), WAIT_S)
            assert hall.link.finals.empty()
        monkeypatch.setattr(hall.file, "save", save)
        assert (await hall.link.final()).text == "One."
        assert hall.file.load().sittings[-1].last_segment == 1


async def test_after_a_restart_an_open_sitting_goes_on(tmp_path):
    async with running(Hall(tmp_path)) as hall:
        await hall.captions.set_sitting(told())
        child = await hall.child()
        child.messages.put_nowait(Said(start=0, end=1, text="One."))
        await hall.link.final()
    async with running(Hall(tmp_path)) as hall:
        child = await hall.child()
        child.messages.put_nowait(Said(start=0, end=1, text="Two."))
        assert (await hall.link.final()).segment == 2


async def test_a_recorder_is_busy_from_the_opening_to_the_end_of_a_sitting(tmp_path):
    async with running(Hall(tmp_path)) as hall:
        microphone = await hall.microphone()
        assert hall.captions.busy() == ""
        for version, state in enumerate(("open", "paused", "closed_to_public"), 1):
            await hall.captions.set_sitting(told(state, version=version))
            assert hall.captions.busy() == "a sitting is being held"
        await hall.captions.set_sitting(told("ended", version=4))
        assert hall.captions.busy() == ""
        assert await hall.captions.microphone_trouble() == "the microphone gives no sound"
        for _ in range(10):
            microphone.blocks.put_nowait(BLOCK)
        while await hall.captions.microphone_trouble():
            await asyncio.sleep(0)


async def test_a_damaged_memory_opens_no_microphone(tmp_path, caplog):
    (tmp_path / "sittings.json").write_text('{"sittings": [')
    async with running(Hall(tmp_path)) as hall:
        assert await hall.captions.set_sitting(told("paused")) == (
            "nothing is recognised while the sitting is paused"
        )
        assert hall.children.empty()
    assert (tmp_path / "sittings.damaged").exists()
    assert "sittings_damaged" in [record.message for record in caplog.records]


async def test_a_disk_that_refuses_is_told_and_the_sitting_is_closed_anyway(tmp_path, monkeypatch):
    async with running(Hall(tmp_path)) as hall:
        await hall.captions.set_sitting(told())
        child = await hall.child()

        def refuse(memory: object) -> None:
            raise UnavailableError("no space left")

        monkeypatch.setattr(hall.file, "save", refuse)
        with pytest.raises(UnavailableError, match="no space left"):
            await hall.captions.set_sitting(told("paused", version=2))
        assert child.killed.is_set()


@pytest.mark.parametrize("session", ["a/b", "#", ""])
async def test_a_sitting_whose_name_fits_no_topic_is_refused(tmp_path, session):
    async with running(Hall(tmp_path)) as hall:
        with pytest.raises(RefusedError, match="cannot stand in a topic"):
            await hall.captions.set_sitting(told(session=session))


async def test_a_sitting_that_ended_is_not_opened_again(tmp_path):
    async with running(Hall(tmp_path)) as hall:
        await hall.captions.set_sitting(told("ended"))
        with pytest.raises(RefusedError, match="cannot become open"):
            await hall.captions.set_sitting(told("open", version=2))


async def test_words_never_reach_the_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with running(Hall(tmp_path)) as hall:
        await hall.captions.set_sitting(told())
        child = await hall.child()
        child.messages.put_nowait(Said(start=0, end=1, text="Zebra."))
        await hall.link.final()
        child.messages.put_nowait(UnavailableError("killed"))
        await hall.child()
    assert "Zebra" not in "".join(str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(
    ("command", "rate", "sentence"),
    [(["arecord"], 0, "microphone_rate_hz is 0"), ([], RATE, "microphone_command is empty")],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, command, rate, sentence):
    settings = Recorder(
        microphone_command=command, microphone_rate_hz=rate, model_dir=tmp_path, vad_model=tmp_path
    )
    with pytest.raises(SettingsError, match=sentence):
        Captions(FakeLink(), settings, SittingFile(tmp_path / "sittings.json"))


def test_the_agents_process_loads_no_numeric_library():
    """The recogniser's libraries cost 150 MB and belong into the child."""
    program = (
        "import sys, edge_agent.captions.run, edge_agent.captions.operation\n"
        "print({'numpy', 'onnxruntime', 'soxr', 'ctranslate2', 'vosk'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class Following:
    """A sink that writes down what it is told."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[object, ...]] = asyncio.Queue()

    def sitting_told(self, told: SetSitting, position: int, at: ServerTime | None) -> None:
        self.told.put_nowait(("sitting", told.state, told.version))

    def time_told(self, position: int, at: ServerTime) -> None:
        self.told.put_nowait(("time", at))

    def heard(self, position: int, pcm: bytes) -> None:
        self.told.put_nowait(("heard", len(pcm)))

    def microphone_lost(self, position: int) -> None:
        self.told.put_nowait(("lost",))

    async def next(self) -> tuple[object, ...]:
        return await asyncio.wait_for(self.told.get(), WAIT_S)


async def test_those_who_follow_the_microphone_hear_all_of_it_whatever_the_recogniser_does(tmp_path):
    hall, sink = Hall(tmp_path), Following()
    hall.captions._sink = sink
    async with running(hall):
        microphone = await hall.microphone()
        await hall.captions.set_sitting(told(lang="sq"))  # there is no model for it
        assert (await sink.next())[0] == "time"
        assert await sink.next() == ("sitting", "open", 1)
        microphone.blocks.put_nowait(BLOCK)
        assert await sink.next() == ("heard", len(BLOCK))
        await hall.captions.set_sitting(told(version=2))
        child = await hall.child()
        assert await sink.next() == ("sitting", "open", 2)
        child.messages.put_nowait(UnavailableError("killed"))
        microphone.blocks.put_nowait(BLOCK)
        assert await sink.next() == ("heard", len(BLOCK))
        microphone.blocks.put_nowait(None)
        assert await sink.next() == ("lost",)
        await hall.captions.set_sitting(told("closed_to_public", version=3))
        assert await sink.next() == ("sitting", "closed_to_public", 3)
