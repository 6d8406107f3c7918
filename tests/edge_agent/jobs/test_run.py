"""The jobs' runner with a link that fits on a page."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
import pytest

from contract.errors import MalformedError
from contract.jobs import (
    ErrorCode,
    Execution,
    ExecutionAnswer,
    Rejection,
    Request,
    Status,
    Update,
    UpdateAnswer,
)
from contract.messages import Lane, encode, read
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.jobs.journal import MemoryJournal
from edge_agent.jobs.run import Jobs
from edge_agent.ports import Handler, Outcome

DEADLINE_S = 10.0
AT = 1_763_900_000


class FakeLink:
    """Keeps what is published, and calls handlers when a test says so."""

    boot = "b1"
    connected = True
    full = False

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.up: list[Callable[[], None]] = []
        self.down: list[Callable[[], None]] = []
        self.published: asyncio.Queue[tuple[str, dict[str, str], bytes]] = asyncio.Queue()

    def stamp(self) -> int:
        raise AssertionError("jobs measure nothing")

    async def send(
        self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct, *, lane: Lane, must: bool
    ) -> None:
        raise AssertionError("jobs travel without envelope")

    def publish(
        self, topic_name: str, ids: Mapping[str, str], payload: bytes, qos: Literal[0, 1] = 1
    ) -> None:
        self.published.put_nowait((topic_name, dict(ids), payload))

    def publish_live(self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct) -> None:
        raise AssertionError("jobs are not live")

    def subscribe(self, topic_name: str, handler: Handler) -> None:
        self.handlers[topic_name] = handler

    def on_connected(self, handler: Callable[[], None]) -> None:
        self.up.append(handler)

    def on_disconnected(self, handler: Callable[[], None]) -> None:
        self.down.append(handler)

    def connect(self) -> None:
        for handler in self.up:
            handler()

    async def next(self, name: str) -> tuple[dict[str, str], bytes]:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                topic, ids, payload = await self.published.get()
                if topic == name:
                    return ids, payload

    async def hand(self, job: str = "job-1", operation: str = "work") -> None:
        """Answer the request for the next execution."""
        _, payload = await self.next("job-start-next")
        token = read(payload, Request).client_token
        answer = ExecutionAnswer(execution=execution(job, operation), timestamp=AT, client_token=token)
        self.handlers["job-start-next-accepted"]({}, encode(answer))

    async def report(self) -> Update:
        """The next report; not answered yet."""
        ids, payload = await self.next("job-update")
        assert ids == {"job": "job-1"}
        return read(payload, Update)


class Work:
    """An operation that a test fills in."""

    def __init__(self, act: Callable[[], Awaitable[Outcome]]) -> None:
        self._act = act
        self.calls: list[str] = []

    async def perform(self, job: Execution) -> Outcome:
        self.calls.append(f"perform {job.job_id}")
        return await self._act()

    async def resume(self, job: Execution) -> Outcome:
        self.calls.append(f"resume {job.job_id}")
        return await self._act()


async def done() -> Outcome:
    return Outcome(Status.SUCCEEDED, {"pages": "2"})


async def never() -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")


def execution(job: str, operation: str) -> Execution:
    return Execution(
        job_id=job,
        thing_name="kiosk-001",
        status=Status.IN_PROGRESS,
        version_number=2,
        queued_at=AT,
        last_updated_at=AT,
        job_document={"operation": operation},
    )


@asynccontextmanager
async def running(link: FakeLink, journal: MemoryJournal, work: Work) -> AsyncIterator[None]:
    task = asyncio.create_task(Jobs(link=link, journal=journal, operations={"work": work}).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_job_is_asked_for_done_and_reported() -> None:
    link, journal, work = FakeLink(), MemoryJournal(), Work(done)
    async with running(link, journal, work):
        link.connect()
        await link.hand()
        update = await link.report()
        assert (update.status, update.status_details) == (Status.SUCCEEDED, {"pages": "2"})
        assert (update.expected_version, update.execution_number) == (2, 1)
        link.handlers["job-update-accepted"](
            {"job": "job-1"}, encode(UpdateAnswer(timestamp=AT, client_token=update.client_token))
        )
        await link.next("job-start-next")
    assert work.calls == ["perform job-1"]
    assert [entry.settled for entry in journal.entries()] == [True]


async def test_what_was_begun_is_resumed_by_the_next_start() -> None:
    link, journal = FakeLink(), MemoryJournal()
    first = Work(never)
    async with running(link, journal, first):
        link.connect()
        await link.hand()
        async with asyncio.timeout(DEADLINE_S):
            while not first.calls:
                await asyncio.sleep(0)
    link, second = FakeLink(), Work(done)
    async with running(link, journal, second):
        link.connect()
        assert (await link.report()).status is Status.SUCCEEDED
    assert second.calls == ["resume job-1"]
    assert journal.entries()[0].attempts == 2


@pytest.mark.parametrize(
    "error", [RefusedError("the drawer is locked"), UnavailableError("the drawer is away")]
)
async def test_what_goes_wrong_on_purpose_is_a_failure_with_its_sentence(error: Exception) -> None:
    async def fail() -> Outcome:
        raise error

    link = FakeLink()
    async with running(link, MemoryJournal(), Work(fail)):
        link.connect()
        await link.hand()
        update = await link.report()
        assert (update.status, update.status_details) == (Status.FAILED, {"reason": str(error)})


async def test_an_operation_that_breaks_an_invariant_ends_the_agent() -> None:
    async def fail() -> Outcome:
        raise AssertionError("no such paper")

    link = FakeLink()
    jobs = Jobs(link=link, journal=MemoryJournal(), operations={"work": Work(fail)})
    task = asyncio.create_task(jobs.run())
    link.connect()
    await link.hand()
    with pytest.raises(ExceptionGroup) as ended:
        async with asyncio.timeout(DEADLINE_S):
            await task
    assert isinstance(ended.value.exceptions[0], AssertionError)


async def test_a_full_disk_begins_nothing() -> None:
    class Full(MemoryJournal):
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()

        def begin(self, execution: Execution) -> None:
            self.loop.call_soon_threadsafe(self.asked.set)
            raise UnavailableError("jobs.db: the disk is full; free some space")

    link, work, journal = FakeLink(), Work(done), Full()
    async with running(link, journal, work):
        link.connect()
        await link.hand()
        async with asyncio.timeout(DEADLINE_S):
            await journal.asked.wait()
            while link.published.empty():  # it asks again when it is told to, once it has given up
                link.handlers["job-notify-next"]({}, b"{}")
                await asyncio.sleep(0)
    assert work.calls == []


async def test_a_rejected_report_settles_by_the_clouds_word() -> None:
    link, journal = FakeLink(), MemoryJournal()
    async with running(link, journal, Work(done)):
        link.connect()
        await link.hand()
        update = await link.report()
        rejection = Rejection(
            code=ErrorCode.INVALID_STATE_TRANSITION,
            message="CANCELED cannot become SUCCEEDED",
            timestamp=AT,
            client_token=update.client_token,
        )
        link.handlers["job-update-rejected"]({"job": "job-1"}, encode(rejection))
        await link.next("job-start-next")
    assert [entry.settled for entry in journal.entries()] == [True]


async def test_the_servers_time_is_told_before_the_job_that_came_with_it_begins() -> None:
    link, told = FakeLink(), []

    async def act() -> Outcome:
        told.append("begun")
        return Outcome(Status.SUCCEEDED)

    jobs = Jobs(link=link, journal=MemoryJournal(), operations={"work": Work(act)})
    jobs.on_server_time(told.append)
    task = asyncio.create_task(jobs.run())
    try:
        link.connect()
        await link.hand()
        await link.report()
        strange = ExecutionAnswer(timestamp=AT + 9, client_token="nobody asked")
        link.handlers["job-start-next-accepted"]({}, encode(strange))
    finally:
        task.cancel()
        await asyncio.wait([task])
    time, begun = told
    assert begun == "begun"
    assert time.earliest_ms == AT * 1000
    assert time.latest_ms >= AT * 1000 + 1000


async def test_garbage_from_the_cloud_is_malformed_and_harms_nothing() -> None:
    link = FakeLink()
    async with running(link, MemoryJournal(), Work(done)):
        link.connect()
        for topic in ("job-start-next-accepted", "job-start-next-rejected", "job-update-rejected"):
            with pytest.raises(MalformedError):
                link.handlers[topic]({"job": "job-1"}, b"\xff")
        strange = ExecutionAnswer(execution=execution("no/job", "work"), timestamp=AT)
        with pytest.raises(MalformedError, match="cannot stand in a topic"):
            link.handlers["job-start-next-accepted"]({}, encode(strange))
        await link.hand()
        assert (await link.report()).status is Status.SUCCEEDED


async def test_a_cancel_reaches_an_operation_that_is_running() -> None:
    link, journal, stopped = FakeLink(), MemoryJournal(), asyncio.Event()

    async def endless() -> Outcome:
        try:
            return await never()
        finally:
            stopped.set()

    async with running(link, journal, Work(endless)):
        link.connect()
        await link.hand()
        link.handlers["job-notify-next"]({}, b"{}")
        ids, payload = await link.next("job-describe")
        asked = read(payload, Request)
        assert (ids, asked.execution_number, asked.include_job_document) == ({"job": "job-1"}, 1, False)
        ended = msgspec.structs.replace(execution("job-1", "work"), status=Status.CANCELED)
        answer = ExecutionAnswer(execution=ended, timestamp=AT, client_token=asked.client_token)
        link.handlers["job-describe-accepted"]({"job": "job-1"}, encode(answer))
        update = await link.report()
        async with asyncio.timeout(DEADLINE_S):
            await stopped.wait()
    assert update.status is Status.FAILED
    assert "CANCELED" in update.status_details["reason"]
    assert journal.entries()[0].outcome == Outcome(Status.FAILED, update.status_details)


async def test_what_the_cloud_does_not_know_is_stopped_and_other_trouble_waits() -> None:
    link = FakeLink()
    async with running(link, MemoryJournal(), Work(never)):
        link.connect()
        await link.hand()
        for code in (ErrorCode.INTERNAL_ERROR, ErrorCode.RESOURCE_NOT_FOUND):
            link.handlers["job-notify-next"]({}, b"{}")
            _, payload = await link.next("job-describe")
            token = read(payload, Request).client_token
            rejection = Rejection(code=code, message="no", timestamp=AT, client_token=token)
            link.handlers["job-describe-rejected"]({"job": "job-1"}, encode(rejection))
        assert "unknown" in (await link.report()).status_details["reason"]
