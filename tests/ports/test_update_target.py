"""One suite for what an update is put onto: a fake to read in a minute, the agent's slots, the I/O board."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.errors import RefusedError
from edge_agent.updates.agent_target import AgentTarget
from edge_agent.updates.board_smp import BoardTarget
from edge_agent.updates.slots import BASE, Slots, choose
from edge_agent.updates.target import Health, NotYet, Target, Unwell, Well
from tests.edge_agent.updates.bundles import agent_wheel, bundle
from tests.firmware_tools.images import HARDWARE, board_with, firmware

OLD, NEW = "1.0.0", "2.0.0"
DEADLINE_S = 100.0


class MemoryTarget:
    """A component in memory; a restart of whatever runs is an assignment."""

    def __init__(self) -> None:
        self.committed, self.trial, self.staged, self.undone = OLD, "", "", ""
        self.trouble = ""

    async def version(self) -> str:
        return self.trial or self.committed

    async def stage(self, image: Path, version: str) -> None:
        if image.read_bytes()[:2] != b"PK":
            raise RefusedError("no release")
        self.staged = version

    async def activate(self, version: str) -> None:
        if self.staged != version:
            raise RefusedError("it is not staged")
        self.trial, self.undone = version, ""

    async def probe(self, version: str) -> Health:
        if self.undone == version and not self.trial:
            return Unwell("it was given up")
        if (self.trial or self.committed) != version:
            return NotYet("it was not activated")
        return NotYet(self.trouble) if self.trouble else Well()

    async def commit(self, version: str) -> None:
        if self.trial == version:
            self.committed, self.trial = version, ""
        if self.committed != version:
            raise RefusedError(f"version {self.committed} runs, not {version}")

    async def roll_back(self, version: str) -> None:
        if self.trial == version:
            self.trial, self.undone = "", version


def release(folder: Path) -> Path:
    """The agent's version `NEW`."""
    return bundle(folder / "r.zip", NEW, [agent_wheel(folder / "w", NEW)])


class Bench:
    """A target as the launcher would leave it: after each end of the process a new one is made.

    `image` makes the file of version `NEW` in a folder; `close` puts the hardware away.
    """

    def __init__(
        self,
        make: Callable[[], Target],
        trouble: Callable[[str], None],
        image: Callable[[Path], Path] = release,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._make = make
        self.trouble = trouble
        self.image = image
        self.close = close
        self.target = make()

    def restart(self) -> None:
        self.target = self._make()

    def do(self, name: str, *words: object) -> None:
        """Call it; for the agent some calls end the process and never return."""

        async def bounded() -> None:
            await asyncio.wait_for(getattr(self.target, name)(*words), DEADLINE_S)

        try:
            asyncio.run(bounded())
        except _EndedError:
            pass
        self.restart()

    def probe(self, version: str) -> Health:
        return asyncio.run(self.target.probe(version))

    @property
    def runs(self) -> str:
        return asyncio.run(self.target.version())


class _EndedError(Exception):
    """The process ends here."""


def memory(_folder: Path) -> Bench:
    one = MemoryTarget()
    return Bench(lambda: one, lambda said: setattr(one, "trouble", said))


def slots(folder: Path) -> Bench:
    place = Slots(folder / "slots")
    answers = {"printer": ""}

    def end() -> None:
        raise _EndedError

    async def printer() -> str:
        return answers["printer"]

    def make() -> Target:
        usable = frozenset(slot for slot in ("a", "b") if place.version(slot))  # type: ignore[arg-type]
        slot, state = choose(place.load(), usable, 3)
        place.save(state)
        (folder / "base" / "edge_agent").mkdir(parents=True, exist_ok=True)
        (folder / "base" / "edge_agent" / "kiosk.lock").write_text("kiosk")
        return AgentTarget(
            place,
            running=OLD if slot == BASE else place.version(slot),
            launched=True,
            kind="kiosk",
            base=folder / "base",
            self_test={"printer": printer},
            end=end,
        )

    return Bench(make, lambda said: answers.update(printer=said))


def board(folder: Path) -> Bench:
    """A board whose self-test is over at once; the agent's process ends and goes, the board stays."""
    on = board_with(folder, firmware(OLD), replace(HARDWARE, self_test_s=0.0))

    def image(folder: Path) -> Path:
        path = folder / "new.bin"
        path.write_bytes(firmware(NEW))
        return path

    return Bench(lambda: BoardTarget(on.port), pytest.fail, image, on.close)


@pytest.fixture(params=[memory, slots, board])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made: Bench = request.param(tmp_path)
    yield made
    made.close()


@pytest.fixture
def image(bench: Bench, tmp_path: Path) -> Path:
    return bench.image(tmp_path)


def tried(bench: Bench, image: Path) -> None:
    bench.do("stage", image, NEW)
    bench.do("activate", NEW)


def test_staging_changes_nothing_that_runs(bench: Bench, image: Path) -> None:
    bench.do("stage", image, NEW)
    bench.do("stage", image, NEW)
    assert bench.runs == OLD
    assert isinstance(bench.probe(NEW), NotYet)


def test_a_trial_runs_and_is_committed_for_good(bench: Bench, image: Path) -> None:
    tried(bench, image)
    assert bench.runs == NEW
    assert bench.probe(NEW) == Well()
    bench.do("commit", NEW)
    bench.do("commit", NEW)
    for _ in range(5):
        bench.restart()
    assert bench.runs == NEW
    assert bench.probe(NEW) == Well()


def test_a_trial_is_rolled_back_and_stays_so(bench: Bench, image: Path) -> None:
    tried(bench, image)
    bench.do("roll_back", NEW)
    bench.do("roll_back", NEW)
    assert bench.runs == OLD
    assert isinstance(bench.probe(NEW), Unwell)


def test_what_was_given_up_is_not_told_as_committed(bench: Bench, image: Path) -> None:
    tried(bench, image)
    bench.do("roll_back", NEW)
    with pytest.raises(RefusedError, match=OLD):
        bench.do("commit", NEW)
    assert bench.runs == OLD


def test_what_was_never_tried_is_not_told_as_committed(bench: Bench, image: Path) -> None:
    bench.do("stage", image, NEW)
    with pytest.raises(RefusedError, match=OLD):
        bench.do("commit", NEW)
    assert bench.runs == OLD


def test_what_was_rolled_back_can_be_tried_again(bench: Bench, image: Path) -> None:
    tried(bench, image)
    bench.do("roll_back", NEW)
    tried(bench, image)
    assert bench.runs == NEW
    assert bench.probe(NEW) == Well()


@pytest.mark.parametrize("bench", [memory, slots], indirect=True)
def test_hardware_that_no_longer_answers_is_said(bench: Bench, image: Path) -> None:
    tried(bench, image)
    bench.trouble("the printer does not answer")
    assert bench.probe(NEW) == NotYet("the printer does not answer")


def test_what_is_not_staged_is_not_activated(bench: Bench) -> None:
    with pytest.raises(RefusedError):
        bench.do("activate", NEW)


def test_what_is_no_release_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"what is this")
    with pytest.raises(RefusedError):
        bench.do("stage", tmp_path / "bad", NEW)
    assert bench.runs == OLD


@pytest.mark.parametrize("bench", [slots], indirect=True)
def test_hardware_that_was_broken_before_is_not_the_releases_fault(bench: Bench, image: Path) -> None:
    bench.trouble("the printer does not answer")
    tried(bench, image)
    assert bench.probe(NEW) == Well()


@pytest.mark.parametrize("bench", [slots], indirect=True)
def test_a_trial_that_is_started_too_often_is_found_undone(bench: Bench, image: Path) -> None:
    tried(bench, image)
    for _ in range(3):
        bench.restart()
    assert bench.runs == OLD
    health = bench.probe(NEW)
    assert isinstance(health, Unwell)
    assert "3 times" in health.sentence
    with pytest.raises(RefusedError, match="3 times"):
        bench.do("commit", NEW)


@pytest.mark.parametrize("bench", [slots], indirect=True)
def test_without_a_launcher_nothing_is_staged(bench: Bench, tmp_path: Path, image: Path) -> None:
    target = AgentTarget(
        Slots(tmp_path / "slots"),
        running=OLD,
        launched=False,
        kind="kiosk",
        base=tmp_path,
        self_test={},
        end=lambda: None,
    )
    with pytest.raises(RefusedError, match="launcher"):
        asyncio.run(target.stage(image, NEW))
