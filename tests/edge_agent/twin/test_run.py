"""The twin's runner with a link that fits on a page, real knobs and a real file."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from contract.errors import MalformedError
from contract.messages import Lane, encode, read
from contract.twin import (
    TELEMETRY_INTERVAL,
    Answer,
    Delta,
    ErrorCode,
    Metadata,
    Rejection,
    Request,
    Section,
    State,
    Update,
)
from edge_agent.errors import UnavailableError
from edge_agent.ports import Handler
from edge_agent.telemetry.run import Telemetry
from edge_agent.twin.memory import Memory, MemoryFile
from edge_agent.twin.run import Knob, Twin

DEADLINE_S = 10.0
INTERVAL = TELEMETRY_INTERVAL.path


class FakeLink:
    """Keeps what is published, and calls handlers when a test says so."""

    boot = "b1"
    connected = True
    full = False

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.up: list[Callable[[], None]] = []
        self.down: list[Callable[[], None]] = []
        self.published: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.sent: asyncio.Queue[msgspec.Struct] = asyncio.Queue()

    async def send(
        self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct, *, lane: Lane, must: bool
    ) -> None:
        self.sent.put_nowait(body)

    def stamp(self) -> int:
        return 1_795_423_200_000

    def publish(
        self, topic_name: str, ids: Mapping[str, str], payload: bytes, qos: Literal[0, 1] = 1
    ) -> None:
        self.published.put_nowait((topic_name, payload))

    def publish_live(self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct) -> None:
        raise AssertionError("the twin is not live")

    def subscribe(self, topic_name: str, handler: Handler) -> None:
        self.handlers[topic_name] = handler

    def on_connected(self, handler: Callable[[], None]) -> None:
        self.up.append(handler)

    def on_disconnected(self, handler: Callable[[], None]) -> None:
        self.down.append(handler)

    def connect(self) -> None:
        for handler in self.up:
            handler()

    def hear(self, name: str, body: msgspec.Struct | bytes) -> None:
        self.handlers[name]({}, body if isinstance(body, bytes) else encode(body))

    async def next(self, name: str) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            topic, payload = await self.published.get()
        assert topic == name
        return payload

    async def answer(self, desired: Section, reported: Section | None = None, version: int = 1) -> None:
        """Answer the question that comes next."""
        token = read(await self.next("twin-get"), Request).client_token
        state = State(desired=desired, reported=reported or {})
        self.hear(
            "twin-get-accepted",
            Answer(state=state, metadata=Metadata(), version=version, timestamp=1, client_token=token),
        )

    async def report(self) -> Update:
        """The report that comes next; not answered yet."""
        return read(await self.next("twin-update"), Update)


class Agent:
    """A link, a beat of telemetry and its twin."""

    def __init__(self, memory: Memory) -> None:
        self.link = FakeLink()
        self.telemetry = Telemetry(link=self.link, period_s=15.0, readings=[lambda: {"cpu_pct": 1.0}])
        knobs = {INTERVAL: Knob(lambda: int(self.telemetry.period_s), self.telemetry.pace)}
        self.twin = Twin(link=self.link, memory=memory, knobs=knobs, facts={"agent": "1.0"})


def live(agent: Agent, story: Callable[[FakeLink], Any]) -> None:
    """Run the agent's twin and beat while `story` goes on."""

    async def both() -> None:
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            running = [group.create_task(agent.twin.run()), group.create_task(agent.telemetry.run())]
            await story(agent.link)
            for task in running:
                task.cancel()

    asyncio.run(both())


@pytest.fixture
def memory(tmp_path: Path) -> MemoryFile:
    return MemoryFile(tmp_path / "desired.json")


def test_a_desired_interval_is_kept_done_at_once_and_reported(memory: MemoryFile) -> None:
    agent = Agent(memory)

    async def story(link: FakeLink) -> None:
        await link.sent.get()  # the first sample; the next would come in 15 s
        link.connect()
        await link.answer({"telemetry": {"interval_s": 1800}}, version=4)
        report = await link.report()
        assert report.state.reported == {"agent": "1.0", "boot": "b1", "telemetry": {"interval_s": 1800}}
        assert report.version == 4
        assert memory.load() == {INTERVAL: 1800}
        await link.sent.get()  # the new beat begins now

    live(agent, story)
    assert agent.telemetry.period_s == 1800


def test_a_restart_without_a_link_keeps_to_it(memory: MemoryFile) -> None:
    memory.save({INTERVAL: 1200})
    agent = Agent(memory)

    async def story(link: FakeLink) -> None:
        while agent.telemetry.period_s != 1200:
            await link.sent.get()
        assert link.published.empty()

    live(agent, story)


def test_without_a_twin_it_reports_and_news_makes_it_ask(memory: MemoryFile) -> None:
    async def story(link: FakeLink) -> None:
        link.connect()
        token = read(await link.next("twin-get"), Request).client_token
        link.hear(
            "twin-get-rejected",
            Rejection(code=ErrorCode.NOT_FOUND, message="none", timestamp=1, client_token=token),
        )
        report = await link.report()
        accepted = Answer(
            state=State(), metadata=Metadata(), version=1, timestamp=1, client_token=report.client_token
        )
        link.hear("twin-update-accepted", accepted)
        assert isinstance(report.state.reported, dict)
        await link.answer({}, report.state.reported, version=1)
        link.hear("twin-delta", Delta(state={"x": 1}, metadata={}, version=2, timestamp=1))
        await link.answer({"x": 1}, report.state.reported, version=2)
        refusal = await link.report()
        assert refusal.state.reported == {"refused": {"x": "this agent does not know this setting"}}

    live(Agent(memory), story)


def test_a_rejected_report_is_looked_at_again(memory: MemoryFile) -> None:
    async def story(link: FakeLink) -> None:
        link.connect()
        await link.answer({}, version=1)
        report = await link.report()
        conflict = Rejection(
            code=ErrorCode.CONFLICT, message="Version conflict", timestamp=1, client_token=report.client_token
        )
        link.hear("twin-update-rejected", conflict)
        await link.answer({}, version=2)
        assert (await link.report()).version == 2

    live(Agent(memory), story)


def test_a_full_disk_does_not_keep_a_setting_from_being_done(caplog: pytest.LogCaptureFixture) -> None:
    class Full:
        def load(self) -> dict[Any, Any]:
            return {}

        def save(self, values: Mapping[Any, Any]) -> None:
            raise UnavailableError("desired.json cannot be written: No space left on device")

    agent = Agent(Full())

    async def story(link: FakeLink) -> None:
        link.connect()
        await link.answer({"telemetry": {"interval_s": 1800}})
        await link.report()

    live(agent, story)
    assert agent.telemetry.period_s == 1800
    assert "desired_settings_not_kept" in caplog.messages


@pytest.mark.parametrize(
    "name",
    ["twin-get-accepted", "twin-get-rejected", "twin-update-accepted", "twin-update-rejected", "twin-delta"],
)
def test_garbage_is_refused_before_it_reaches_the_core(memory: MemoryFile, name: str) -> None:
    agent = Agent(memory)
    for payload in (b"", b"{", b"[]", b'{"version": "x"}', b"\xff"):
        with pytest.raises(MalformedError):
            agent.link.hear(name, payload)
