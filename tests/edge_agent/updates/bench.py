"""A device for the core of an update: target, repository and disk, and power that can go after any effect."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from contract.updates import UPDATE, ApplyUpdate, Component, UpdateCode, UpdateNews
from edge_agent.updates import core
from edge_agent.updates import messages as m
from edge_agent.updates.health import Health, NotYet, Unwell, Well
from edge_agent.updates.journal import MemoryJournal
from edge_agent.updates.messages import Entry

OLD, NEW = "1.0.0", "2.0.0"
LIMITS = core.Limits(self_test_s=60.0, link_s=300.0, trial_s=3600.0)
STEPS_MAX = 20_000
STARTS_MAX = 3


class PowerCutError(Exception):
    """The power went."""


def order(update: str = "u-1", version: str = NEW, *, downgrade: bool = False) -> ApplyUpdate:
    return ApplyUpdate(
        update=update,
        component=Component.AGENT,
        path=f"agent/agent-{version}.zip",
        version=version,
        downgrade=downgrade,
    )


@dataclass
class Slots:
    """What survives the power: the version that was committed, one on trial, one in the spare slot."""

    committed: str = OLD
    trial: str = ""
    staged: str = ""
    undone: str = ""
    starts: int = 0

    @property
    def runs(self) -> str:
        return self.trial or self.committed

    def start(self) -> None:
        """As the launcher: a trial that was started too often is over."""
        if self.trial and self.starts >= STARTS_MAX:
            self.trial, self.undone = "", self.trial
        self.starts += 1


@dataclass
class Device:
    """The device around a core. With `ends` activation and rolling back end the process, as for the agent."""

    ends: bool = True
    health: Callable[[str], Health] = lambda _version: Well()
    busy: str = ""
    linked: bool = True
    network: bool = True
    image_lost: bool = False
    activates: bool = True
    """Otherwise the power goes each time before the target has been told."""
    fetch: Callable[[int], m.Answered | None] = lambda _work: None
    silent: tuple[type[m.Work], ...] = ()
    """What the target gives no answer to."""
    cut_after: int | None = None
    slots: Slots = field(default_factory=Slots)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    cloud: dict[str, UpdateNews] = field(default_factory=dict)
    answers: list[tuple[str, str]] = field(default_factory=list)
    closed: bool = False
    now: float = 0.0
    effects: int = 0
    boots: int = 0
    seen: list[str] = field(default_factory=list)
    refuse_saves: int = 0
    refuse_news: int = 0
    interrupted: int = 0
    """How often a version was taken back while the device was in use."""

    def boot(self) -> None:
        """The process starts; what was not saved is gone."""
        self.boots += 1
        if self.ends:
            self.slots.start()
        assert self.boots < 50, "the device starts again and again"
        self.course = core.Course(self.journal.entries(Component.AGENT), random.Random(7), LIMITS)
        self.closed = self.course.holding
        self._inbox: list[m.Event] = [m.Started()]
        if self.linked:
            self._inbox.append(m.LinkUp())

    def take(self, event: m.Event) -> None:
        self._inbox.append(event)

    def order(self, given: ApplyUpdate) -> None:
        self.take(m.Ordered(given))
        self.run()

    def run(self, until_s: float = 1e9) -> None:
        """Until nothing happens any more, or until a moment; a process that ends is started again."""
        for _ in range(STEPS_MAX):
            if not self._inbox:
                due = self.course.deadline()
                if due is None or due > until_s:
                    return
                self.now = max(self.now, due)
                self._inbox.append(m.TimePassed())
            try:
                self._handle(self._inbox.pop(0))
            except PowerCutError:
                self.boot()
        raise AssertionError(f"it does not come to rest: {self.seen[-10:]}")

    def _handle(self, event: m.Event) -> None:
        for effect in self.course.handle(event, self.now):
            if not self._do(effect):
                return
            self.effects += 1
            if self.cut_after is not None and self.effects == self.cut_after:
                raise PowerCutError

    def _do(self, effect: m.Effect) -> bool:
        self.seen.append(type(effect).__name__)
        match effect:
            case m.Save(entry):
                return self._save(entry)
            case m.Answer(update, refused):
                self.answers.append((update, refused))
            case m.Tell() if self.refuse_news:
                self.refuse_news -= 1
                self.take(m.NotTold())
            case m.Tell(news):
                known = self.cloud.get(news.update)
                if known is None or news.revision > known.revision:
                    self.cloud[news.update] = news
                self.take(m.Told(news.update, news.revision))
            case m.Release():
                self.closed = False
            case m.GiveUp():
                pass
            case _:
                self._work(effect)
        return True

    def _save(self, entry: Entry) -> bool:
        if self.refuse_saves:
            self.refuse_saves -= 1
            self.take(m.NotSaved())
            return False
        known = {each.update: each for each in self.journal.entries(Component.AGENT)}.get(entry.update)
        if known is not None and known.state in UPDATE.states and known.state != entry.state:
            assert entry.state in UPDATE.edges[known.state].values(), f"{known.state} -> {entry.state}"
            assert entry.revision > known.revision
        self.journal.save(entry)
        return True

    def _work(self, effect: m.Work) -> None:
        work, slots = effect.work, self.slots
        self._saved_before(effect)
        if isinstance(effect, self.silent):
            self.take(m.Failed(work, "no answer", again=True))
            return
        match effect:
            case m.Look():
                self.take(m.Looked(work, slots.runs))
            case m.Fetch():
                self.take(self.fetch(work) or m.Fetched(work, "/image", "0" * 64))
            case m.Stage(_, entry):
                if self.image_lost:
                    self.image_lost = False
                    self.take(m.Lost(work))
                    return
                slots.staged = entry.order.version
                self.take(m.Staged(work))
            case m.Reserve():
                self.closed = self.closed or not self.busy
                self.take(m.Reserved(work, self.busy))
            case m.Activate(_, version):
                assert slots.staged == version, "only what is staged can be activated"
                assert self.closed, "nobody can begin anything while it is activated"
                if not self.activates:
                    raise PowerCutError
                slots.trial, slots.undone, slots.starts = version, "", 0
                self._end_or(m.Activated(work))
            case m.Probe(_, version):
                self.take(m.Probed(work, self._probe(version), self.network, self.busy))
            case m.Commit(_, version):
                if slots.trial == version:
                    slots.committed, slots.trial = version, ""
                there = slots.committed == version
                refused = m.Failed(work, f"{slots.runs} runs", again=False, code=UpdateCode.IMAGE_REFUSED)
                self.take(m.Committed(work) if there else refused)
            case m.RollBack(_, version):
                if slots.trial == version:
                    self.interrupted += bool(self.busy)
                    slots.trial, slots.undone = "", version
                    self._end_or(m.RolledBack(work))
                else:
                    self.take(m.RolledBack(work))

    def _saved_before(self, effect: m.Work) -> None:
        """The rule of the core: what is done stands in the journal first."""
        states = [e.state for e in self.journal.entries(Component.AGENT) if e.state not in UPDATE.ends]
        if isinstance(effect, m.Activate):
            assert states[0] == "activating"
        if isinstance(effect, m.Commit | m.RollBack):
            assert self.journal.entries(Component.AGENT)[-len(states)].verdict

    def _probe(self, version: str) -> Health:
        if self.slots.undone == version and not self.slots.trial:
            return Unwell("it was given up")
        if self.slots.runs != version:
            return NotYet("it was not activated")
        return self.health(version)

    def _end_or(self, answer: m.Answered) -> None:
        if self.ends:
            raise PowerCutError  # the process ends; the launcher starts what the slots say
        self.take(answer)

    @property
    def told(self) -> UpdateNews:
        """What the cloud knows of the update that was assigned last."""
        return list(self.cloud.values())[-1]


def device(**how: object) -> Device:
    made = Device(**how)  # type: ignore[arg-type]
    made.boot()
    made.run()
    return made
