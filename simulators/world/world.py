"""Puts a world together, lets it go wrong, heals it, and holds it against the checkers."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from contract.jobs import Execution, Status
from contract.messages import Lane
from edge_agent.link.outbox import Bounds
from edge_agent.ports import Outcome
from simulators.world import checkers
from simulators.world.broker import Broker
from simulators.world.clock import Action, Clock
from simulators.world.cloud import Cloud
from simulators.world.device import Device, Power, restart_agent
from simulators.world.faults import CALM, Faults, Mix, draw
from simulators.world.kiosk import RECONSIDER_S, Kiosk
from simulators.world.plants import Plant
from simulators.world.printer import Printer

HEALS_S = 900.0
DECIDED_S = 2400.0
"""By then every deadline of a document has passed; people decide what is in doubt."""
ENDS_S = 7200.0
SAMPLE_S = 20.0
AWAY_MIN_S, AWAY_MAX_S = 2.0, 60.0


class WorldError(AssertionError):
    """Something that must hold does not."""


@dataclass(frozen=True)
class Story:
    """What happens in a world beside what goes wrong: when each document is wanted and each job created."""

    documents: tuple[float, ...]
    jobs: tuple[tuple[float, str], ...]
    samples: int


@dataclass
class World:
    """One history. Everything in it follows from its arguments."""

    rng: random.Random
    mix: Mix
    story: Story
    devices_count: int = 2
    plant: Plant = field(default_factory=Plant)
    rows_max: int = 1000
    cut_after: int | None = None
    log: list[str] | None = None

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.faults = Faults(self.rng, self.mix)
        self.power = Power(self.faults, self.cut_after)
        self.broker = Broker(self.clock, self.faults)
        self.cloud = Cloud(self.clock, self.faults, self.broker, self.plant)
        self.broker.consumer = self.cloud
        self.devices: list[Device] = []
        self.printers: list[Printer] = []
        self.kiosks: list[Kiosk] = []
        for number in range(self.devices_count):
            self._add_device(f"kiosk-{number + 1}")

    def run(self) -> None:
        """Live through it all; raises WorldError at the first thing that must not be."""
        self._tell_story()
        self._break_things()
        for device in self.devices:
            device.switch_on()
        self.clock.run(HEALS_S)
        self.effects_before_healing = self.power.effects
        self._hold(checkers.always(self.devices, self.printers, self.cloud))
        self.faults.heal()
        self.clock.run(DECIDED_S)
        self._decide()
        self.clock.run(ENDS_S)
        self._hold(checkers.always(self.devices, self.printers, self.cloud))
        self._hold(checkers.healed(self.devices, self.printers, self.cloud))

    def _add_device(self, name: str) -> None:
        bounds = Bounds(rows_max=self.rows_max, bytes_max=10**9, window=8, ack_timeout_s=20.0)
        trace = self.log.append if self.log is not None else None
        device = Device(name, self.clock, self.faults, self.broker, self.power, bounds, self.plant, {}, trace)
        printer = Printer(self.clock, self.faults)
        kiosk = Kiosk(device, printer, self.cloud)
        device.operations |= {
            "print-document": kiosk.perform,
            "restart-agent": restart_agent,
            "collect-diagnostics": self._diagnose,
        }
        self.devices.append(device)
        self.printers.append(printer)
        self.kiosks.append(kiosk)
        self._every(RECONSIDER_S, lambda: device.run(kiosk.reconsider))

    def _diagnose(self, device: Device, job: Execution) -> None:
        failed = not self.cloud.up or self.faults.happens(self.mix.http_failure)
        outcome = Outcome(Status.FAILED) if failed else Outcome(Status.SUCCEEDED)
        device.later(1.0, lambda: device.ended(job, outcome))

    # --- what happens ---

    def _tell_story(self) -> None:
        for number, at in enumerate(self.story.documents):
            device = self.devices[number % len(self.devices)].name
            self.clock.later(at, lambda n=number, d=device: self.cloud.request(f"doc-{n}", d))  # type: ignore[misc]  # mypy types no defaults of lambdas
        for number, (at, operation) in enumerate(self.story.jobs):
            device = self.devices[number % len(self.devices)].name
            self.clock.later(
                at,
                lambda n=number, d=device, o=operation: self.cloud.create_job(f"job-{n}", d, o),  # type: ignore[misc]  # the same
            )
        for device_ in self.devices:
            for number in range(self.story.samples):
                at = (number + self.rng.random()) * SAMPLE_S
                self.clock.later(at, lambda d=device_, n=number: d.run(lambda: self._sample(d, n)))  # type: ignore[misc]  # the same

    def _sample(self, device: Device, number: int) -> None:
        device.send("telemetry", {}, number, lane=Lane.TELEMETRY, must=False)

    # --- what goes wrong ---

    def _break_things(self) -> None:
        self._sometimes(self.mix.broker_kill_s, self.broker.kill)
        for device in self.devices:
            self._sometimes(self.mix.outage_s, lambda name=device.name: self._outage(name))  # type: ignore[misc]  # mypy types no defaults of lambdas
        for printer, device in zip(self.printers, self.devices, strict=True):
            self._sometimes(self.mix.printer_cycle_s, printer.cycle)
            self._for_a_while(self.mix.printer_silent_s, printer, "silent")
            self._for_a_while(self.mix.disk_full_s, device.disk, "full")
            self._without_paper(printer)

    def _sometimes(self, mean_s: float, action: Action) -> None:
        if mean_s == 0:
            return

        def happen() -> None:
            if self.clock.now < HEALS_S:
                action()
                self._sometimes(mean_s, action)

        self.clock.later(self.faults.interval_s(mean_s), happen)

    def _for_a_while(self, mean_s: float, thing: object, name: str) -> None:
        def begin() -> None:
            setattr(thing, name, True)
            self.clock.later(self.rng.uniform(AWAY_MIN_S, AWAY_MAX_S), lambda: setattr(thing, name, False))

        self._sometimes(mean_s, begin)

    def _outage(self, device: str) -> None:
        self.broker.cut_off(device)
        back_s = self.rng.uniform(60, 500)
        self.clock.later(back_s, lambda: self.broker.unreachable_for.discard(device))

    def _without_paper(self, printer: Printer) -> None:
        def begin() -> None:
            printer.set_paper(False)
            self.clock.later(self.rng.uniform(AWAY_MIN_S, AWAY_MAX_S), lambda: printer.set_paper(True))

        self._sometimes(self.mix.paper_out_s, begin)

    def _decide(self) -> None:
        """A person looks at each document in doubt, and at the tray of its printer."""
        for document, facts in self.cloud.db.facts.items():
            if facts.state == "in_doubt":
                out = any(printer.sheets.get(document) for printer in self.printers)
                self.cloud.decide(document, out)

    def _every(self, period_s: float, action: Action) -> None:
        def happen() -> None:
            action()
            self.clock.later(period_s, happen)

        self.clock.later(period_s, happen)

    def _hold(self, violations: Iterable[str]) -> None:
        for violation in violations:
            raise WorldError(violation)


def from_seed(seed: int, plant: Plant | None = None, log: list[str] | None = None) -> World:
    """The world of a seed."""
    rng = random.Random(seed)
    mix = draw(rng)
    story = Story(
        documents=tuple(sorted(rng.uniform(5, 700) for _ in range(rng.randint(1, 5)))),
        jobs=tuple(
            (rng.uniform(5, 800), rng.choice(("restart-agent", "collect-diagnostics")))
            for _ in range(rng.randint(0, 4))
        ),
        samples=45,
    )
    return World(
        rng=rng,
        mix=mix,
        story=story,
        devices_count=rng.randint(1, 3),
        plant=plant or Plant(),
        rows_max=rng.choice((1000, 1000, 12)),
        log=log,
    )


CALM_STORY = Story(documents=(5.0,), jobs=((40.0, "restart-agent"), (80.0, "collect-diagnostics")), samples=6)


def calm(cut_after: int | None, plant: Plant | None = None, log: list[str] | None = None) -> World:
    """One quiet hour of one kiosk, in which the power is cut once, after so many effects."""
    return World(
        rng=random.Random(7),
        mix=CALM,
        story=CALM_STORY,
        devices_count=1,
        plant=plant or Plant(),
        cut_after=cut_after,
        log=log,
    )
