"""A job lived as often as it has effects: each time the power goes before another, and the disk is left.

The device's core with the journal of a real device, against the cloud's core. Each operation has an effect
that must not happen twice; what it did is found again by `resume`, as the printer's ledger does it.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud.jobs import core as cloud
from contract import jobs as shapes
from contract.jobs import BY_DEVICE, EXECUTION, Execution, Status
from edge_agent.jobs import core as c
from edge_agent.jobs.journal import SqliteJournal
from edge_agent.ports import Outcome

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TERMS = cloud.Terms(queued_expiry=timedelta(hours=1), in_progress_timeout=timedelta(minutes=5), retries=1)
STEP_S = 5.0
STEPS_MAX = 600
CUTS_MAX = 80


class CutError(Exception):
    """The power goes."""


@dataclass
class Story:
    """One device and its cloud. `fails` are tries that end badly, `hangs` those that never end.

    Job `a` is cancelled with force at `cancel_at`.
    """

    folder: Path
    cut: int | None
    fails: frozenset[c.Key] = frozenset()
    hangs: frozenset[c.Key] = frozenset()
    cancel_at: float | None = None
    now: float = 0.0
    effects: int = 0
    done: Counter[c.Key] = field(default_factory=Counter)
    """How often each effect happened in the world."""
    begun: list[tuple[str, c.Key]] = field(default_factory=list)
    log: list[c.Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cloud = {name: [cloud.queued(name, number, TERMS, START)] for number, name in enumerate("ab")}
        self.working: tuple[float, Execution] | None = None
        self.life = 0
        self.start()

    @property
    def at(self) -> datetime:
        return START + timedelta(seconds=self.now)

    def start(self) -> None:
        self.life += 1
        self.working = None
        self.journal = SqliteJournal(self.folder / "jobs.db")
        self.core = c.Jobs(f"boot-{self.life}", frozenset({"work"}), self.journal.entries())

    def live(self) -> None:
        """Until everything has ended and the device owes nothing."""
        pending: list[c.Event] = [c.TimePassed(), c.Connected()]
        for _ in range(STEPS_MAX):
            try:
                while pending:
                    pending += self.do(self.core.handle(pending.pop(0), self.now))
                if self.over():
                    return
                self.now += STEP_S
                pending = [*self.time_passes(), c.TimePassed()]
            except CutError:
                self.cut = None
                self.journal.close()
                self.now += 30.0
                self.start()
                pending = [c.TimePassed(), c.Connected()]
        raise AssertionError(f"it never ends: {self.cloud}")

    def over(self) -> bool:
        ended = all(tries[-1].status in EXECUTION.ends for tries in self.cloud.values())
        return ended and all(entry.settled for entry in self.journal.entries())

    def time_passes(self) -> list[c.Event]:
        told: list[c.Event] = []
        if self.cancel_at is not None and self.now >= self.cancel_at:
            self.cancel_at = None
            self.cloud["a"][-1] = cloud.cancel(self.cloud["a"][-1], self.at, force=True)
            told.append(c.Notified())
        for tries in self.cloud.values():
            self.write(tries, cloud.expire(tries[-1], self.at))
        if self.working is not None and self.now >= self.working[0]:
            (_, execution), self.working = self.working, None
            which = c.key(execution)
            outcome = Outcome(Status.FAILED if which in self.fails else Status.SUCCEEDED, {})
            told.append(c.Ended(which, outcome))
        return told

    @staticmethod
    def write(tries: list[cloud.Execution], after: cloud.Execution) -> None:
        if after == tries[-1]:
            return
        tries[-1] = after
        following = (
            cloud.retry(after, after.order, after.updated_at) if after.status in EXECUTION.ends else None
        )
        if following is not None:
            tries.append(following)

    def do(self, effects: list[c.Effect]) -> list[c.Event]:
        told: list[c.Event] = []
        for effect in effects:
            self.effects += 1
            if self.effects == self.cut:
                raise CutError
            self.log.append(effect)
            match effect:
                case c.Begin(execution):
                    self.journal.begin(execution)
                case c.Attempt(which, attempts):
                    self.journal.attempt(which, attempts)
                case c.Conclude(which, outcome):
                    self.journal.conclude(which, outcome)
                case c.Settle(which, _):
                    self.journal.settle(which)
                case c.Perform(execution):
                    self.work("perform", execution)
                case c.Resume(execution):
                    self.work("resume", execution)
                case c.GiveUp():
                    self.working = None
                case c.Ask(token):
                    told.append(c.Handed(token, self.hand()))
                case c.Look((job, number), token):
                    told.append(c.Described(token, self.shape(self.cloud[job][number - 1])))
                case c.Report(job, update):
                    told.append(self.take(job, update))
        return told

    def work(self, how: str, execution: Execution) -> None:
        """`resume` finds out whether the effect happened; only `perform` makes it happen without looking."""
        which = c.key(execution)
        self.begun.append((how, which))
        if how == "perform" or not self.done[which]:
            self.effects += 1
            if self.effects == self.cut:
                raise CutError
            self.done[which] += 1
        self.working = None if which in self.hangs else (self.now + 10.0, execution)

    def hand(self) -> Execution | None:
        head = cloud.next_of(tries[-1] for tries in self.cloud.values())
        if head is None:
            return None
        after = cloud.start(head, shapes.Request(), self.at)
        assert isinstance(after, cloud.Execution)
        self.cloud[head.job][-1] = after
        return self.shape(after)

    def take(self, job: str, update: shapes.Update) -> c.Event:
        assert update.execution_number is not None
        stands = self.cloud[job][update.execution_number - 1]
        after = cloud.update(stands, update, self.at)
        match after:
            case cloud.Refusal(code, _, current):
                state = current and shapes.State(status=current.status, version_number=current.version)
                return c.Rejected(update.client_token, code, state)
            case cloud.Execution():
                self.write(self.cloud[job], after)
        return c.Accepted(update.client_token)

    def shape(self, execution: cloud.Execution) -> Execution:
        return Execution(
            job_id=execution.job,
            thing_name="kiosk-01",
            status=execution.status,
            version_number=execution.version,
            execution_number=execution.number,
            queued_at=1,
            last_updated_at=1,
            job_document={"operation": "work"},
            approximate_seconds_before_timed_out=cloud.seconds_left(execution, self.at),
        )


STORIES: dict[str, dict[str, object]] = {
    "calm": {},
    "a try fails": {"fails": frozenset({("a", 1)})},
    "a try hangs": {"hangs": frozenset({("a", 1)})},
    "cancelled at work": {"hangs": frozenset({("a", 1)}), "cancel_at": 20.0},
}


def lived(folder: Path, name: str, cut: int | None) -> Story:
    folder.mkdir()
    story = Story(folder, cut, **STORIES[name])  # type: ignore[arg-type] # by name
    try:
        story.live()
    finally:
        story.journal.close()
    return story


@pytest.mark.parametrize("name", STORIES)
def test_no_cut_repeats_an_effect_or_leaves_a_job_hanging(name: str, tmp_path: Path) -> None:
    calm = lived(tmp_path / "calm", name, None)
    assert 10 < calm.effects < CUTS_MAX
    for cut in range(1, calm.effects + 1):
        story = lived(tmp_path / str(cut), name, cut)
        assert story.life == 2, f"the power went before effect {cut}"
        assert max(story.done.values(), default=0) <= 1, f"cut {cut}: an effect happened twice: {story.done}"
        performed = [which for how, which in story.begun if how == "perform"]
        assert len(performed) == len(set(performed)), f"cut {cut}: begun twice: {story.begun}"
        for job, tries in story.cloud.items():
            if (name, job) != ("cancelled at work", "a"):
                assert tries[-1].status is Status.SUCCEEDED, f"cut {cut}: {job} is {tries[-1].status}"
            assert all(each.status in EXECUTION.ends for each in tries)


def test_the_stories_have_everything_in_them(tmp_path: Path) -> None:
    seen = set()
    for number, name in enumerate(STORIES):
        seen |= {type(effect) for effect in lived(tmp_path / f"{number}", name, None).log}
        seen |= {type(effect) for effect in lived(tmp_path / f"{number}-cut", name, 5).log}
    assert seen == {
        c.Ask,
        c.Look,
        c.Begin,
        c.Attempt,
        c.Perform,
        c.Resume,
        c.GiveUp,
        c.Conclude,
        c.Report,
        c.Settle,
    }


def test_a_hanging_try_is_ended_by_the_device_before_the_clouds_timer_does_it(tmp_path: Path) -> None:
    story = lived(tmp_path / "hangs", "a try hangs", None)
    assert [each.status for each in story.cloud["a"]] == [Status.FAILED, Status.SUCCEEDED]
    assert BY_DEVICE[Status.FAILED] == "fail"


def test_a_journal_that_is_written_too_late_is_found_out(tmp_path: Path) -> None:
    """The planted bug: what begins is written down after it was done."""

    class Late(Story):
        def do(self, effects: list[c.Effect]) -> list[c.Event]:
            return super().do(sorted(effects, key=lambda effect: isinstance(effect, c.Begin)))

    doubled = 0
    for cut in range(1, CUTS_MAX):
        folder = tmp_path / str(cut)
        folder.mkdir()
        story = Late(folder, cut)
        story.live()
        story.journal.close()
        doubled += max(story.done.values()) > 1
    assert doubled
