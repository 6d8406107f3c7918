"""What a kiosk with an I/O board adds to a device: the real course of its firmware updates, and a board.

The board has two slots as MCUboot has them: what is staged runs on trial after an activation, and what is
not confirmed by the next loss of power is not run again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import msgspec

from contract.jobs import Execution, Status
from contract.messages import Lane
from contract.updates import ApplyUpdate, Component, UpdateCode
from edge_agent.ports import Outcome
from edge_agent.updates import core
from edge_agent.updates import messages as m
from edge_agent.updates.health import Health, NotYet, Unwell, Well
from simulators.world.device import Device
from simulators.world.disk import FullError
from simulators.world.faults import Fault, Faults

FIRST_VERSION = "1.0.0"
FETCH_S = 8.0
FLASH_S = 15.0
REBOOT_S = 3.0
ASK_S = 0.3


def is_bad(version: str) -> bool:
    """Whether this version fails its self-test."""
    return version.endswith(".13")


@dataclass
class Board:
    """`confirmed` lies in the slot that is run after a loss of power; None is half an image."""

    confirmed: str | None = FIRST_VERSION
    running: str = FIRST_VERSION
    staged: str | None = None

    @property
    def bootable(self) -> bool:
        """Whether a board that is switched on now runs something that is well."""
        return self.confirmed is not None and not is_bad(self.confirmed)

    def power_cycle(self) -> None:
        """Off and on: a trial is over."""
        self.running = self.confirmed or ""

    def begin_flash(self, *, in_place: bool) -> None:
        """From here on the slot that is written holds half an image."""
        if in_place:
            self.confirmed = None
        self.staged = None

    def end_flash(self, version: str, *, in_place: bool) -> None:
        """The image is whole."""
        if in_place:
            self.confirmed = version
        self.staged = version

    def activate(self, version: str) -> None:
        """Run what is staged, on trial."""
        if self.staged == version:
            self.running = version

    def commit(self, version: str) -> bool:
        """What runs on trial stays; False when another version runs, as after a loss of power."""
        if self.running == version:
            self.confirmed = version
        return self.running == version

    def roll_back(self, version: str) -> None:
        """Run what ran before `version`."""
        if self.running == version:
            self.running = self.confirmed or ""

    def health(self, version: str) -> Health:
        """How the trial of `version` is."""
        if self.running != version:
            return NotYet(f"version {self.running} runs")
        return Unwell("the self-test failed") if is_bad(version) else Well()


class Updater:
    """Carries out the updates of one kiosk's board; `busy` says why the kiosk may not be interrupted."""

    def __init__(self, device: Device, faults: Faults, busy: Callable[[], str]) -> None:
        self.name = device.name
        self.board = Board()
        self._device = device
        self._faults = faults
        self._busy = busy
        self._task = 0
        self._lives = 0
        self._course = core.Course((), faults.rng, core.Limits())
        device.on_start.append(self._start)
        device.on_link.append(lambda up: self._tell(m.LinkUp() if up else m.LinkDown()))
        device.operations["apply-update"] = self._order

    def _start(self) -> None:
        if self._device.cuts > self._lives:
            self._lives = self._device.cuts
            self.board.power_cycle()
        entries = list(self._device.disk.updates.values())
        self._task += 1
        self._course = core.Course(entries, self._faults.rng, core.Limits())
        self._tell(m.Started())

    def _order(self, device: Device, job: Execution) -> None:
        order = msgspec.convert(job.job_document, ApplyUpdate)

        def act() -> None:
            saved = self._ask(m.Ordered(order))
            device.ended(job, Outcome(Status.SUCCEEDED if saved else Status.FAILED))

        device.later(0.0, act)

    def _tell(self, event: m.Event) -> None:
        self._ask(event)

    def _ask(self, event: m.Event) -> bool:
        """Give the course an event and do what follows, in order; whether all was saved."""
        saved = True
        for effect in self._course.handle(event, self._device.now):
            self._device.effect(effect, at_work=True)
            if isinstance(effect, m.Save) and not self._save(effect.entry):
                saved = False
                self._device.later(0.0, lambda: self._tell(m.NotSaved()))
                break
            self._do(effect)
        self._device.arm("updates", self._course.deadline(), lambda: self._tell(m.TimePassed()))
        return saved

    def _save(self, entry: m.Entry) -> bool:
        disk = self._device.disk
        try:
            disk.put(disk.updates, entry.update, entry)
        except FullError:
            return False
        self._device.sync(at_work=True)
        return True

    def _do(self, effect: m.Effect) -> None:
        board = self.board
        match effect:
            case m.Save() | m.Answer() | m.Release():
                pass
            case m.GiveUp():
                self._task += 1
            case m.Tell(news):
                ids = {"update": news.update}
                key = self._device.send("updates", ids, news, lane=Lane.EVENTS, must=True)
                told = m.NotTold() if key is None else m.Told(news.update, news.revision)
                self._device.later(0.0, lambda: self._tell(told))
            case m.Look(work):
                self._later(ASK_S, lambda: m.Looked(work, board.running))
            case m.Fetch(work, order):
                self._later(FETCH_S, lambda: self._fetched(work, order))
            case m.Stage(work, entry):
                in_place = self._device.plant.flashes_in_place
                board.begin_flash(in_place=in_place)
                self._later(FLASH_S, lambda: self._flashed(work, entry.order.version, in_place))
            case m.Reserve(work):
                self._later(0.0, lambda: m.Reserved(work, self._busy()))
            case m.Activate(work, version):
                board.activate(version)
                self._later(REBOOT_S, lambda: m.Activated(work))
            case m.Probe(work, version):
                self._later(ASK_S, lambda: m.Probed(work, board.health(version)))
            case m.Commit(work, version):
                done = board.commit(version)
                refused = m.Failed(work, "another version runs", again=False)
                self._later(ASK_S, lambda: m.Committed(work) if done else refused)
            case m.RollBack(work, version):
                board.roll_back(version)
                self._later(REBOOT_S, lambda: m.RolledBack(work))
            case _:
                assert_never(effect)

    def _fetched(self, work: int, order: ApplyUpdate) -> m.Answered:
        if self._faults.happens(Fault.HTTP_FAILURE):
            return m.Failed(work, "no answer", again=True, code=UpdateCode.UNREACHABLE)
        return m.Fetched(work, order.path, "")

    def _flashed(self, work: int, version: str, in_place: bool) -> m.Answered:
        self.board.end_flash(version, in_place=in_place)
        return m.Staged(work)

    def _later(self, delay_s: float, answer: Callable[[], m.Answered]) -> None:
        self._task += 1
        task = self._task

        def due() -> None:
            if task == self._task:
                self._tell(answer())

        self._device.later(delay_s, due)


def order_of(number: int, version: str) -> ApplyUpdate:
    """The assignment of a firmware version."""
    return ApplyUpdate(
        update=f"update-{number}",
        component=Component.FIRMWARE,
        path=f"firmware/board-{version}.bin",
        version=version,
    )
