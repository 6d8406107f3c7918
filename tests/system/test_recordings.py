"""A real hall and a real control plane, both killed in the middle of uploads: every sound arrives, once.

The sitting is in a language without a model: it is recorded all the same, and no recogniser takes part.
"""

import asyncio
import hashlib
import json
import secrets
import sqlite3
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from simulators.city.city import City, Password
from simulators.city.folder import Folder
from simulators.city.plan import Plan
from simulators.city.story_recordings import Kept, floor, look, object_of
from simulators.city.visitor import Visitor
from simulators.debate.lines import Debate
from tests.system.conftest import ROOT

HALL = "hall-01"
WAIT_S = 90.0
LOOK_S = 0.02
SEGMENT_S = 5.0
RATE = 48_000
CLOSED_S = 2.5
UNDATED_S = 2.0
TURNS_HEARD = 4
"""One of them is compared with the sound, though others may be at the edge of a segment."""
EDGE_MS = 500
IN_STEP_MS = 1500
"""How far a floor event may be from the sound, on a machine that does other things too."""


class Sitting:
    """One city with one hall, and a clerk who has signed in."""

    def __init__(self, city: City, clerk: Visitor) -> None:
        self.city = city
        self.clerk = clerk
        self.session = ""
        self.secret = range(0)
        """Milliseconds of the closed part, when the recorder had been told of it."""
        self.dark = range(0)
        """Milliseconds from the loss of power and link to the moment at which the recorder heard the time."""

    async def sign_in(self) -> None:
        assert self.city.password is not None
        one_time, chosen = self.city.password.text, secrets.token_urlsafe(18)
        page = await self.clerk.open(f"{self.city.ports.pages_url}/sittings")
        page = await self.clerk.send(page, "/sign-in", {"name": "admin", "password": one_time})
        await self.clerk.send(page, "/password", {"old": one_time, "new": chosen, "again": chosen})
        self.city.set_password(Password(chosen, one_time=False))

    async def open(self) -> None:
        page = await self.clerk.open(f"{self.city.ports.pages_url}/sittings")
        page = await self.clerk.send(page, "/sittings", {"title": "Kuvendi", "device": HALL, "lang": "sq"})
        self.session = next(
            form.action.split("/")[-2] for form in page.forms if form.action.endswith("/open")
        )
        await self.do("open", page)

    async def do(self, event: str, page: Any = None, **values: str) -> None:
        """Change the sitting; returns once the recorder has taken it."""
        page = page or await self.clerk.open(f"{self.city.ports.pages_url}/sittings")
        await self.clerk.send(page, f"/{self.session}/{event}", values or None)
        done = "SELECT count(*) FROM job_executions WHERE job LIKE ? AND status NOT IN ('SUCCEEDED')"
        await self.until(lambda: self.rows(done, f"set-sitting-{self.session}%") == [(0,)], event)

    async def until(self, holds: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if found := await asyncio.to_thread(holds):
                return found
            await asyncio.sleep(LOOK_S)
        raise AssertionError(f"not within {WAIT_S:g} s: {what}; {self.tail()}")

    def tail(self) -> str:
        return "\n".join(self.city.children[name].log.tail(5) for name in (HALL, "control-plane"))

    def rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.city.folder.cloud / "fleet.db", timeout=10)) as database:
            return database.execute(statement, values).fetchall()

    def halfway(self) -> list[tuple[str, int, int, int]]:
        """Uploads that are in the middle: id, segment, bytes on the server, bytes in all."""
        return [
            row
            for row in self.rows("SELECT upload, segment, received, size FROM recording_uploads")
            if 0 < row[2] < row[3]
        ]

    def now_ms(self) -> int:
        """Where the sitting is, on the clock of its positions."""
        opened = self.rows("SELECT opened_at FROM sittings WHERE session = ?", self.session)[0][0]
        began = datetime.fromisoformat(opened).replace(tzinfo=UTC)
        return int((datetime.now(UTC) - began).total_seconds() * 1000)

    def log(self, name: str, event: str) -> list[dict[str, Any]]:
        lines = (self.city.folder.logs / f"{name}.log").read_text(errors="replace").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and f'"{event}"' in line]
        return [line for line in found if line["event"] == event]


@contextmanager
def place(path: Path) -> Iterator[City]:
    plan = Plan(
        data=path / "city",
        cache=ROOT / "build",
        kiosks=0,
        halls=1,
        broker="mosquitto",
        segment_s=SEGMENT_S,
        upload_bytes_per_s=230_000,  # a segment takes two requests, two seconds apart
    )
    with Folder(plan.data) as folder:
        yield City(plan, folder, lambda line: None)


def pcm_of(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        return file.readframes(file.getnframes())


def debate_of(city: City) -> tuple[Debate, bytes]:
    """What the microphone says, twice over, because it is said again and again."""
    folder = city.plan.cache / "debate"
    lines = msgspec.json.decode((folder / "debate.json").read_bytes(), type=Debate)
    return lines, pcm_of(folder / "debate.wav") * 2


def test_killed_at_any_moment_a_recording_arrives_whole_and_once(tmp_path: Path) -> None:
    asyncio.run(live(tmp_path))


async def live(folder: Path) -> None:
    with place(folder) as city:
        async with Visitor("en") as clerk:
            try:
                await city.start()
                hall = Sitting(city, clerk)
                await hall.sign_in()
                await play(hall)
                await asyncio.to_thread(hold, hall)
            finally:
                assert await city.stop() == []


async def play(hall: Sitting) -> None:
    """Open, kill the agent and then the control plane in mid-upload, then both; a closed part, end."""
    city = hall.city
    city.begin_debate(HALL)
    await hall.open()
    for victim in (HALL, "control-plane"):
        (upload, segment, received, _), *_ = await hall.until(
            hall.halfway, f"an upload is halfway for {victim}"
        )
        city.children[victim].kill()
        stored = "SELECT 1 FROM recording_segments WHERE segment = ? AND stored_at IS NOT NULL"
        await hall.until(
            lambda segment=segment, stored=stored: hall.rows(stored, segment), f"segment {segment} is stored"
        )
        begun = [line for line in hall.log("control-plane", "upload_begun") if line["segment"] == segment]
        assert len(begun) == 1, f"segment {segment} was begun anew after {received} bytes, upload {upload}"
    await lose_power_and_link(hall)
    await hall.do("close-to-public", reason="court-proceedings", note="")
    closed_ms = hall.now_ms()
    await asyncio.sleep(CLOSED_S)  # people speak in secret meanwhile
    reopened_ms = hall.now_ms()
    await hall.do("open")
    hall.secret = range(closed_ms, reopened_ms)
    folder, session = city.folder, hall.session
    await hall.until(
        lambda: sum(taken and at > reopened_ms for at, _, taken in floor(folder, session)) >= TURNS_HEARD,
        "some take the floor in sound that nobody has disturbed",
    )
    before = len(kept(hall).segments)
    await hall.until(lambda: len(kept(hall).segments) >= before + 2, "their sound is a whole segment")
    await hall.do("end")
    await hall.until(lambda: kept(hall).state == "uploaded", "it is whole")
    recordings = city.folder.device(HALL) / "data" / "recordings"
    await hall.until(lambda: not list(recordings.rglob("*.wav")), "the recorder's copies are gone")


async def lose_power_and_link(hall: Sitting) -> None:
    """The agent starts again while nobody can tell it the time: it records, and dates that when it can."""
    cloud, agent = hall.city.children["control-plane"], hall.city.children[HALL]
    waits, dates = agent.log.count("time_awaited"), len(hall.log(HALL, "recording_dated"))
    cloud.hold()
    cloud.kill()
    killed_ms = hall.now_ms()
    agent.kill()
    await agent.log.wait("time_awaited", waits + 1)
    files = hall.city.folder.device(HALL) / "data" / "recordings"
    before = set(files.rglob("*.wav"))
    undated = UNDATED_S * RATE * 2
    await hall.until(
        lambda: any(path.stat().st_size > undated for path in set(files.rglob("*.wav")) - before),
        "sound is kept without a date",
    )
    assert len(hall.log(HALL, "recording_dated")) == dates
    cloud.release()
    await hall.until(lambda: len(hall.log(HALL, "recording_dated")) > dates, "it is dated")
    hall.dark = range(killed_ms, hall.now_ms())


def kept(hall: Sitting) -> Kept:
    found = look(hall.city.folder, hall.session)
    assert found is not None, "nothing was told of the recording"
    return found


def hold(hall: Sitting) -> None:
    """What arrived is what was said, byte for byte, and the floor is in step with it."""
    folder, session = hall.city.folder, hall.session
    whole = kept(hall)
    assert whole.expected == len(whole.segments) >= 4
    stored = list((folder.cloud / "objects" / "recordings").rglob("*.wav"))
    assert len(stored) == whole.expected
    assert not list((folder.cloud / "objects" / "uploads").iterdir())
    lines, said = debate_of(hall.city)
    rows = hall.rows(
        "SELECT segment, start_ms, duration_ms, gap_before_ms, why, sha256, object_key "
        "FROM recording_segments ORDER BY segment"
    )
    told = floor(folder, session)
    end, compared = 0, 0
    for segment, start_ms, duration_ms, gap_ms, why, sha256, key in rows:
        content = object_of(folder, key).read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256
        assert start_ms == end + gap_ms, f"segment {segment} after {end} ms"
        assert gap_ms == 0 or why, f"nobody says why {gap_ms} ms are missing before segment {segment}"
        end = start_ms + duration_ms
        assert not set(range(start_ms, end)) & set(hall.secret), "sound of the closed part"
        pcm = pcm_of(object_of(folder, key))
        found = said.find(pcm)
        if found < 0 or segment == 1:
            continue  # it has the quiet before the first word, or sound that a killed reader had missed
        at_ms = found // 2 * 1000 // RATE % lines.duration_ms
        compared += in_step(lines, told, at_ms, start_ms, duration_ms)
    assert compared, "the floor was compared with too little sound"
    gaps = hall.rows("SELECT why FROM recording_gaps")
    assert ("power",) in gaps, "the kill of the agent is told"
    (lost_ms,) = hall.rows("SELECT lost_ms FROM recording_gaps WHERE why = 'power' ORDER BY at_ms DESC")[0]
    assert lost_ms < len(hall.dark) - UNDATED_S * 1000, "what was heard without a link is there"


def in_step(
    lines: Debate, told: list[tuple[int, str, bool]], at_ms: int, start_ms: int, duration_ms: int
) -> int:
    """Hold the floor against one segment, which begins at `at_ms` of the debate; how many were compared."""
    compared = 0
    for turn in lines.turns:
        said_ms = start_ms + turn.start_ms - at_ms
        if start_ms + EDGE_MS < said_ms < start_ms + duration_ms - EDGE_MS:
            near = [abs(at - said_ms) for at, seat, taken in told if seat == turn.seat and taken]
            assert near, f"seat {turn.seat} never took the floor"
            assert min(near) < IN_STEP_MS, f"seat {turn.seat} at {said_ms} ms"
            compared += 1
    return compared
