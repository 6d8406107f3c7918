"""Carries out what the cores decide: journal, news, repository, targets; one task for each component."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, assert_never

from contract.messages import Lane
from contract.updates import ApplyUpdate, Component, UpdateCode, UpdateNews
from edge_agent.errors import AgentError, RefusedError, UnavailableError
from edge_agent.ports import Link, Occupancy
from edge_agent.updates import core
from edge_agent.updates import messages as m
from edge_agent.updates.journal import Journal
from edge_agent.updates.target import Target

log = logging.getLogger(__name__)

WORK_MAX_S: Mapping[type[m.Work], float] = {
    m.Look: 30.0,
    m.Fetch: 3600.0,
    m.Stage: 1800.0,
    m.Reserve: 5.0,
    m.Activate: 120.0,
    m.Probe: 60.0,
    m.Commit: 60.0,
    m.RollBack: 120.0,
}
"""What takes longer is stopped and counts as unavailable."""
HASH_BLOCK_BYTES = 1 << 20


class FetchRefusedError(RefusedError):
    """The repository's word or bytes are not to be trusted; `code` says in what way."""

    def __init__(self, code: UpdateCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Image:
    """Verified bytes on the disk."""

    path: Path
    sha256: str


class Repository(Protocol):
    """Where signed bytes come from."""

    async def fetch(self, order: ApplyUpdate) -> Image:
        """The target's bytes, checked against the repository's keys; from the disk where they are there.

        Raises:
            FetchRefusedError: what came is not to be trusted, or there is no such target.
            UnavailableError: the repository is not reached, or the disk is full.
        """


class OpenPremises:
    """The occupancy of a device that nobody uses by hand."""

    def busy(self) -> str:
        return ""

    def close(self) -> None:
        """Nobody comes."""

    def open(self) -> None:
        """The same."""


class Updates:
    """The updates of one device.

    Made before anything else of the device runs: a device in the middle of a trial is closed from its first
    moment. `network` says whether the device has a network at all.
    """

    def __init__(
        self,
        *,
        link: Link,
        journal: Journal,
        targets: Mapping[Component, Target],
        repository: Repository,
        occupancy: Occupancy,
        network: Callable[[], bool],
        chance: core.Chance,
        limits: core.Limits,
    ) -> None:
        self._link = link
        self._occupancy = occupancy
        self._holder: Component | None = None
        disk, download = asyncio.Lock(), asyncio.Lock()
        self._courses = {
            component: _Course(
                owner=self,
                component=component,
                course=core.Course(journal.entries(component), chance, limits),
                target=target,
                tools=_Tools(link, journal, repository, network, disk, download),
            )
            for component, target in targets.items()
        }
        for component, course in self._courses.items():
            if course.course.holding:
                self._holder = component
                occupancy.close()

    @property
    def components(self) -> tuple[Component, ...]:
        """What of this device can be updated."""
        return tuple(self._courses)

    async def run(self) -> None:
        """Go on with what is under way until cancelled; what is cut off is gone on with at the next start."""
        async with asyncio.TaskGroup() as group:
            for component, course in self._courses.items():
                group.create_task(course.run(), name=f"update {component}")

    async def order(self, order: ApplyUpdate) -> None:
        """Take an assignment; it is on the disk when this returns.

        Raises:
            RefusedError: this device has no such component.
            UnavailableError: the disk does not take it.
        """
        course = self._courses.get(order.component)
        if course is None:
            raise RefusedError(f"this device has no {order.component} that can be updated")
        await course.ask(m.Ordered(order), order.update)

    async def cancel(self, update: str) -> None:
        """Take an assignment back; one that this device does not know is taken back already.

        Raises:
            RefusedError: it has been activated.
            UnavailableError: the disk does not take it.
        """
        for course in self._courses.values():
            await course.ask(m.Cancelled(update), update)

    def busy(self) -> str:
        """Why the device may not be interrupted now, though it was reserved: a hall takes every sitting."""
        return self._occupancy.busy()

    def reserve(self, component: Component) -> str:
        """Close the device for one component's activation; or why not."""
        if self._holder not in (None, component):
            return f"the {self._holder} is being updated"
        busy = self._occupancy.busy()
        if busy:
            return busy
        self._occupancy.close()
        self._holder = component
        log.info("device_closed_for_update", extra={"component": component})
        return ""

    def release(self, component: Component) -> None:
        """Open the device again, if this component has closed it."""
        if self._holder is component:
            self._holder = None
            self._occupancy.open()
            log.info("device_opened_after_update", extra={"component": component})


@dataclass(frozen=True)
class _Tools:
    link: Link
    journal: Journal
    repository: Repository
    network: Callable[[], bool]
    disk: asyncio.Lock
    """The journal has one caller at a time."""
    download: asyncio.Lock
    """One download at a time, for the sake of the line."""


class _Course:
    """One component's core, and the task that carries out what it says."""

    def __init__(
        self, *, owner: Updates, component: Component, course: core.Course, target: Target, tools: _Tools
    ) -> None:
        self.course = course
        self._owner = owner
        self._component = component
        self._target = target
        self._tools = tools
        self._events: asyncio.Queue[m.Event] = asyncio.Queue()
        self._asking: dict[str, asyncio.Future[None]] = {}
        self._working: asyncio.Task[None] | None = None
        tools.link.on_connected(lambda: self._events.put_nowait(m.LinkUp()))
        tools.link.on_disconnected(lambda: self._events.put_nowait(m.LinkDown()))

    async def ask(self, event: m.Ordered | m.Cancelled, update: str) -> None:
        """Give the core an order of the cloud and wait for its answer."""
        while update in self._asking:  # a job is given up and resumed: the earlier question is answered first
            await asyncio.wait([self._asking[update]])
        answer = self._asking[update] = asyncio.get_running_loop().create_future()
        try:
            self._events.put_nowait(event)
            await asyncio.shield(answer)
        finally:
            self._asking.pop(update, None)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            event: m.Event = m.Started()
            while True:
                await self._carry_out(self.course.handle(event, time.monotonic()), group)
                event = await self._next()

    async def _next(self) -> m.Event:
        deadline = self.course.deadline()
        try:
            async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.monotonic())):
                return await self._events.get()
        except TimeoutError:
            return m.TimePassed()

    async def _carry_out(self, effects: Sequence[m.Effect], group: asyncio.TaskGroup) -> None:
        for effect in effects:
            match effect:
                case m.GiveUp():
                    self._give_up()
                case m.Save(entry):
                    if not await self._saved(entry, effects):
                        return
                case m.Answer(update, refused):
                    self._answer(update, RefusedError(refused) if refused else None)
                case m.Tell(news):
                    await self._tell(news)
                case m.Release():
                    self._owner.release(self._component)
                case m.Look() | m.Fetch() | m.Stage() | m.Reserve() | m.Activate() | m.Probe():
                    self._begin(effect, group)
                case m.Commit() | m.RollBack():
                    self._begin(effect, group)
                case _:
                    assert_never(effect)

    async def _saved(self, entry: m.Entry, effects: Sequence[m.Effect]) -> bool:
        try:
            async with self._tools.disk:
                await asyncio.to_thread(self._tools.journal.save, entry)
        except UnavailableError as error:
            log.warning("update_not_saved", extra={"update": entry.update, "sentence": str(error)})
            for effect in effects:
                if isinstance(effect, m.Answer):
                    self._answer(effect.update, UnavailableError(str(error)))
            self._events.put_nowait(m.NotSaved())
            return False
        return True

    def _answer(self, update: str, error: AgentError | None) -> None:
        asked = self._asking.get(update)
        if asked is None or asked.done():
            return
        if error is None:
            asked.set_result(None)
        else:
            asked.set_exception(error)

    async def _tell(self, news: UpdateNews) -> None:
        extra = {"update": news.update, "component": news.component, "version": news.version}
        log.info(
            "update_moved", extra={**extra, "state": news.state, "code": news.code, "sentence": news.detail}
        )
        try:
            await self._tools.link.send("updates", {"update": news.update}, news, lane=Lane.EVENTS, must=True)
        except RefusedError as error:
            log.warning("update_not_told", extra={"update": news.update, "sentence": str(error)})
            self._events.put_nowait(m.NotTold())
        else:
            self._events.put_nowait(m.Told(news.update, news.revision))

    def _give_up(self) -> None:
        if self._working is not None:
            self._working.cancel()
            self._working = None

    def _begin(self, effect: m.Work, group: asyncio.TaskGroup) -> None:
        self._give_up()
        work = self._work(effect)
        self._working = group.create_task(work, name=f"{self._component} {type(effect).__name__}")

    async def _work(self, effect: m.Work) -> None:
        limit_s = WORK_MAX_S[type(effect)]
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._perform(effect)
        except TimeoutError:
            what = type(effect).__name__.lower()
            answer = m.Failed(effect.work, f"{what} did not end within {limit_s:.0f} s", again=True)
        except FetchRefusedError as error:
            answer = m.Failed(effect.work, str(error), again=False, code=error.code)
        except RefusedError as error:
            answer = m.Failed(effect.work, str(error), again=False, code=UpdateCode.IMAGE_REFUSED)
        except AgentError as error:
            code = UpdateCode.UNREACHABLE if isinstance(effect, m.Fetch) else UpdateCode.UNAVAILABLE
            answer = m.Failed(effect.work, str(error), again=True, code=code)
        self._events.put_nowait(answer)

    async def _perform(self, effect: m.Work) -> m.Answered:
        work, target = effect.work, self._target
        match effect:
            case m.Look():
                return m.Looked(work, await target.version())
            case m.Fetch(_, order):
                async with self._tools.download:
                    image = await self._tools.repository.fetch(order)
                return m.Fetched(work, str(image.path), image.sha256)
            case m.Stage(_, entry):
                if not await asyncio.to_thread(_whole, Path(entry.image), entry.sha256):
                    return m.Lost(work)
                await target.stage(Path(entry.image), entry.order.version)
                return m.Staged(work)
            case m.Reserve():
                return m.Reserved(work, self._owner.reserve(self._component))
            case m.Activate(_, version):
                await target.activate(version)
                return m.Activated(work)
            case m.Probe(_, version):
                health = await target.probe(version)
                return m.Probed(work, health, self._tools.network(), self._owner.busy())
            case m.Commit(_, version):
                await target.commit(version)
                return m.Committed(work)
            case m.RollBack(_, version):
                await target.roll_back(version)
                return m.RolledBack(work)
        assert_never(effect)


def _whole(image: Path, sha256: str) -> bool:
    """Whether the verified bytes are still there, unchanged."""
    digest = hashlib.sha256()
    try:
        with image.open("rb") as file:
            while block := file.read(HASH_BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return False
    return digest.hexdigest() == sha256
