"""Puts a world together, lets it go wrong, heals it, and holds it against the checkers."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from contract.jobs import Execution, Status
from contract.messages import Lane
from contract.telemetry import Sample, TelemetryBatch
from contract.twin import Section
from edge_agent.link.outbox import Bounds
from edge_agent.ports import Outcome
from simulators.world import checkers
from simulators.world.broker import QUEUED_MAX, Broker
from simulators.world.certificates import Certificates
from simulators.world.clock import Action, Clock
from simulators.world.cloud import Cloud
from simulators.world.cloud_certificates import AGE_AT_LAST, Row
from simulators.world.device import Device, Power, restart_agent
from simulators.world.double import Double
from simulators.world.faults import CALM, Fault, Faults, Mix, draw
from simulators.world.kiosk import RECONSIDER_S, Kiosk
from simulators.world.plants import Plant
from simulators.world.printer import Printer
from simulators.world.recorder import Recorder
from simulators.world.scene import Checker, Scene
from simulators.world.trace import Trace
from simulators.world.twin import DeviceTwin
from simulators.world.updates import Updater, order_of

HEALS_S = 900.0
DECIDED_S = 2400.0
"""By then every deadline of a document has passed; people decide what is in doubt."""
ENDS_S = 7200.0
SAMPLE_S = 20.0
LAST_SAMPLE_S = 10.0
"""After all has healed: who has something to send notices a connection on which nobody answers."""
AWAY_MIN_S, AWAY_MAX_S = 2.0, 60.0
HALL = "hall-1"


class WorldError(AssertionError):
    """Something that must hold does not."""


@dataclass(frozen=True)
class Story:
    """What happens in a world beside what goes wrong, each with the second at which it does.

    `sitting` are the clerk's events in the one hall; without any there is no hall. `updates` are versions of
    the firmware of the kiosks' boards. `wishes` are what is desired of one device after the other, None that
    its twin is deleted; without any there are no twins. `life_s` is how long certificates live, 0 that there
    are none.
    """

    kiosks: int
    documents: tuple[float, ...]
    jobs: tuple[tuple[float, str], ...]
    sitting: tuple[tuple[float, str], ...] = ()
    updates: tuple[tuple[float, str], ...] = ()
    wishes: tuple[tuple[float, Section | None], ...] = ()
    life_s: float = 0.0
    samples: int = 45
    rows_max: int = 1000


@dataclass
class World:
    """One history. Everything in it follows from its arguments."""

    seed: int | str
    mix: Mix
    story: Story
    plant: Plant = field(default_factory=Plant)
    cut_after: int | None = None
    traced: bool = False

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed} story")
        self.clock = Clock()
        self.trace = Trace(self.clock, on=self.traced)
        self.faults = Faults(self.seed, self.mix)
        self.power = Power(self.faults, self.cut_after)
        self.broker = Broker(self.clock, self.faults, self.trace)
        self.cloud = Cloud(self.clock, self.faults, self.broker, self.plant, self.trace)
        self.broker.consumer = self.cloud
        self.devices: list[Device] = []
        self.printers: list[Printer] = []
        self.kiosks: list[Kiosk] = []
        self.recorders: list[Recorder] = []
        self.updaters: list[Updater] = []
        self.doubles: list[Double] = []
        self.certificates: list[Certificates] = []
        self.twins: list[DeviceTwin] = []
        self.unlucky: list[str] = []
        """Devices whose last usable certificate was revoked, and when."""
        self._begin_certificates()
        for number in range(self.story.kiosks):
            self._add_kiosk(f"kiosk-{number + 1}")
        if self.story.sitting:
            self.recorders.append(Recorder(self._add_device(HALL), self.faults))

    def run(self) -> None:
        """Live through it all; raises WorldError at the first thing that must not be."""
        self._tell_story()
        self._break_things()
        for device in self.devices:
            device.switch_on()
        self.clock.run(HEALS_S)
        self.effects_before_healing = self.power.effects
        self._hold(checkers.ALWAYS)
        self._heal()
        self.clock.run(DECIDED_S)
        self._decide()
        self.clock.run(ENDS_S)
        self._hold(checkers.ALWAYS + checkers.HEALED)

    def _add_device(self, name: str) -> Device:
        bounds = Bounds(rows_max=self.story.rows_max, bytes_max=10**6, window=8, ack_timeout_s=20.0)
        device = Device(
            name, self.clock, self.faults, self.broker, self.power, bounds, self.plant, self.trace
        )
        device.operations |= {"restart-agent": restart_agent, "collect-diagnostics": self._diagnose}
        self.devices.append(device)
        double = Double(name, self.clock, self.faults, self.broker)
        self.doubles.append(double)
        if self.story.wishes:
            self.twins.append(DeviceTwin(device))
        if self.story.life_s:
            first = self.cloud.certificates.enrolled(name, f"key 1 of {name}")
            chance = random.Random(f"{self.seed} certificates of {name}")
            mine = Certificates(device, self.cloud, first, chance)
            self.certificates.append(mine)
            double.copy = lambda: mine.current
        return device

    def _begin_certificates(self) -> None:
        if self.story.life_s:
            life = timedelta(seconds=self.story.life_s)
            self.cloud.certificates.age = self.cloud.certificates.pace = life
            self.cloud.certificates.on_revoked = self._look_after
            self.broker.admits = self.cloud.certificates.admits

    def _look_after(self, revoked: Row) -> None:
        """A certificate has been revoked: its device must have another one, on its disk."""
        mine = next(each for each in self.certificates if each.name == revoked.device)
        if not any(self.cloud.certificates.usable(each.serial) for each in mine.held):
            self.unlucky.append(f"{revoked.certificate.serial} at {self.clock.now:.1f} s")

    def _add_kiosk(self, name: str) -> None:
        device = self._add_device(name)
        printer = Printer(self.clock, self.faults)
        kiosk = Kiosk(device, printer, self.cloud)
        device.operations["print-document"] = kiosk.perform
        self.printers.append(printer)
        self.kiosks.append(kiosk)
        self.updaters.append(
            Updater(device, self.faults, lambda: "a paper is being printed" if kiosk.busy else "")
        )
        self._every(RECONSIDER_S, lambda: device.run(kiosk.reconsider))

    def _diagnose(self, device: Device, job: Execution) -> None:
        failed = not self.cloud.up or self.faults.happens(Fault.HTTP_FAILURE)
        outcome = Outcome(Status.FAILED) if failed else Outcome(Status.SUCCEEDED)
        device.later(1.0, lambda: device.ended(job, outcome))

    # --- what happens ---

    def _tell_story(self) -> None:
        kiosks = self.devices[: self.story.kiosks]
        for number, at in enumerate(self.story.documents):
            name = kiosks[number % len(kiosks)].name
            self.clock.later(at, lambda n=number, d=name: self.cloud.request(f"doc-{n}", d))  # type: ignore[misc]  # mypy types no defaults of lambdas
        for number, (at, operation) in enumerate(self.story.jobs):
            name = self.devices[number % len(self.devices)].name
            self.clock.later(
                at,
                lambda n=number, d=name, o=operation: self.cloud.create_job(f"job-{n}", d, o),  # type: ignore[misc]  # the same
            )
        for number, (at, version) in enumerate(self.story.updates):
            name, order = kiosks[number % len(kiosks)].name, order_of(number, version)
            self.clock.later(
                at,
                lambda n=number, d=name, o=order: self.cloud.assign(f"update-{n}", d, o),  # type: ignore[misc]  # the same
            )
        for number, (at, wish) in enumerate(self.story.wishes):
            name = self.devices[number // BURST % len(self.devices)].name
            self.clock.later(at, lambda d=name, w=wish: self.cloud.desire(d, w))  # type: ignore[misc]  # the same
        for at, event in self.story.sitting:
            self.clock.later(at, lambda e=event: self.cloud.change_sitting("sitting-1", HALL, e))  # type: ignore[misc]  # the same
        for device in self.devices:
            for number in range(self.story.samples):
                at = (number + self.rng.random()) * SAMPLE_S
                self.clock.later(at, lambda d=device: d.run(lambda: self._sample(d)))  # type: ignore[misc]  # the same

    @staticmethod
    def _sample(device: Device) -> None:
        at = device.plant.moment(device.stamp_ms(), device.wall.ms())
        sample = Sample(at=at, values={"outbox_waiting": device.outbox.rows})
        device.send("telemetry", {}, TelemetryBatch(samples=[sample]), lane=Lane.TELEMETRY, must=False)

    # --- what goes wrong ---

    def _break_things(self) -> None:
        self._sometimes(Fault.BROKER_KILL, self.broker.kill)
        self._sometimes(Fault.BLACKOUT, self._black_out)
        for device in self.devices:
            self._sometimes(Fault.PARTITION, lambda name=device.name: self._part(name))  # type: ignore[misc]  # mypy types no defaults of lambdas
            self._sometimes(Fault.CLOCK_STEP, lambda wall=device.wall: wall.step())  # type: ignore[misc]  # the same
            self._for_a_while(Fault.DISK_FULL, device.disk, "full")
        for double in self.doubles:
            self._sometimes(Fault.DOUBLE, double.come)
        for printer in self.printers:
            self._sometimes(Fault.PRINTER_CYCLE, printer.cycle)
            self._for_a_while(Fault.PRINTER_SILENT, printer, "silent")
            self._sometimes(Fault.PAPER_OUT, lambda printer=printer: self._without_paper(printer))  # type: ignore[misc]  # the same
        for recorder in self.recorders:
            self._sometimes(Fault.MICROPHONE_LOSS, recorder.unplug)

    def _sometimes(self, fault: Fault, action: Action) -> None:
        mean_s = self.faults.strength(fault)
        if mean_s == 0:
            return

        def happen() -> None:
            if self.clock.now < HEALS_S:
                self.trace("world", fault)
                self.faults.bites[fault] += 1
                action()
                self._sometimes(fault, action)

        self.clock.later(self.faults.stream(fault).expovariate(1 / mean_s), happen)

    def _for_a_while(self, fault: Fault, thing: object, name: str) -> None:
        def begin() -> None:
            setattr(thing, name, True)
            self.clock.later(self._away_s(fault), lambda: setattr(thing, name, False))

        self._sometimes(fault, begin)

    def _away_s(self, fault: Fault) -> float:
        return self.faults.stream(fault).uniform(AWAY_MIN_S, AWAY_MAX_S)

    def _black_out(self) -> None:
        back_s = self.faults.stream(Fault.BLACKOUT).uniform(60, 400)
        for device in self.devices:
            device.lose_power(back_s)

    def _part(self, device: str) -> None:
        self.broker.cut_off(device)
        back_s = self.faults.stream(Fault.PARTITION).uniform(60, 500)
        self.clock.later(back_s, lambda: self.broker.unreachable_for.discard(device))

    def _without_paper(self, printer: Printer) -> None:
        printer.set_paper(False)
        self.clock.later(self._away_s(Fault.PAPER_OUT), lambda: printer.set_paper(True))

    def _heal(self) -> None:
        self.trace("world", "HEALED: from now on nothing goes wrong any more")
        self.faults.heal()
        self.cloud.certificates.age = AGE_AT_LAST
        self.broker.unreachable_for.clear()
        self.broker.queue_max = QUEUED_MAX
        self.broker.consumer_is_back()  # what waited for a slow consumer is given to a quick one
        for double in self.doubles:
            double.go()
        for device in self.devices:
            device.wall.heal()
            device.disk.full = False
            self.clock.later(LAST_SAMPLE_S, lambda d=device: d.run(lambda: self._sample(d)))  # type: ignore[misc]  # mypy types no defaults of lambdas

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

    # --- what must hold ---

    def _hold(self, asked: Iterable[Checker]) -> None:
        scene = Scene(
            devices=self.devices,
            printers=self.printers,
            kiosks=self.kiosks,
            recorders=self.recorders,
            updaters=self.updaters,
            certificates=self.certificates,
            unlucky=self.unlucky,
            twins=self.twins,
            broker=self.broker,
            cloud=self.cloud,
            healed_ms=int(HEALS_S * 1000),
            now_s=self.clock.now,
        )
        for checker in asked:
            for violation in checker(scene):
                raise WorldError(f"{checker.__name__}: {violation}")


def story_of(seed: int) -> Story:
    """What happens in the world of a seed."""
    rng = random.Random(f"{seed} what happens")
    documents = tuple(sorted(round(rng.uniform(5, 700), 1) for _ in range(rng.randint(1, 5))))
    jobs = tuple(
        (round(rng.uniform(5, 800), 1), rng.choice(("restart-agent", "collect-diagnostics")))
        for _ in range(rng.randint(0, 4))
    )
    return Story(
        kiosks=rng.randint(1, 2),
        documents=documents,
        jobs=jobs,
        sitting=_sitting(rng) if rng.random() < 0.6 else (),
        rows_max=rng.choice((1000, 1000, 12)),
        updates=tuple(
            (round(rng.uniform(20, 700), 1), rng.choice(("1.1.0", "1.2.0", "1.1.13", "0.9.0")))
            for _ in range(rng.choice((0, 1, 2)))
        ),
        wishes=_wishes(random.Random(f"{seed} what is desired")),
        life_s=random.Random(f"{seed} certificates").choice((0.0, 0.0, 300.0, 700.0)),
    )


BURST, BURST_S = 3, 12.0
LAST_WISH_S = ENDS_S - 100.0
WISHES: tuple[Section | None, ...] = (
    {"telemetry": {"interval_s": 10}},
    {"telemetry": {"interval_s": 60}},
    {"log": {"level": "debug"}, "telemetry": {"interval_s": 30}},
    {"log": {"level": "warning"}},
    {"log": {"level": "loud"}},
    {"telemetry": {"interval_s": None}},
    {"fan": {"speed": 3}},
    {"log": None},
    None,
)
"""What is desired: what a device can do, what it cannot, what it does not know, and nothing any more."""


def _wishes(rng: random.Random) -> tuple[tuple[float, Section | None], ...]:
    """In every other world none; staff who change something change it more than once, and once at the end."""
    times = [rng.uniform(5, 850) for _ in range(rng.choice((0, 0, 1, 3)))]
    burst = sorted(at + rng.uniform(0, BURST_S) for at in times for _ in range(BURST))
    found = tuple((round(at, 1), rng.choice(WISHES)) for at in burst)
    return (*found, (LAST_WISH_S, rng.choice(WISHES))) if found else ()


def _sitting(rng: random.Random) -> tuple[tuple[float, str], ...]:
    """A sitting that is opened, paused and closed to the public, and open again long after all has healed."""
    at = rng.uniform(5, 120)
    events = [(at, "open")]
    for _ in range(rng.randint(0, 3)):
        at += rng.uniform(20, 200)
        events.append((at, rng.choice(("pause", "close-to-public", "close-to-public"))))
        at += rng.uniform(5, 150)
        events.append((at, "open"))
    return tuple((round(when, 1), event) for when, event in [*events, (1500.0, "end")])


def from_seed(
    seed: int, plant: Plant | None = None, *, mix: Mix | None = None, traced: bool = False
) -> World:
    """The world of a seed, with its own mix of faults or another."""
    if mix is None:
        mix = draw(random.Random(f"{seed} mix"))
    return World(seed, mix, story_of(seed), plant or Plant(), traced=traced)


CALM_STORY = Story(
    kiosks=1,
    documents=(5.0,),
    jobs=((40.0, "restart-agent"), (80.0, "collect-diagnostics")),
    updates=((15.0, "1.1.0"), (110.0, "1.2.13")),
    sitting=((6.0, "open"), (40.0, "close-to-public"), (70.0, "open"), (100.0, "end")),
    wishes=((20.0, WISHES[0]), (60.0, WISHES[4]), (130.0, WISHES[2])),
    life_s=1000.0,
    samples=6,
)


def calm(cut_after: int | None, plant: Plant | None = None, *, traced: bool = False) -> World:
    """One quiet hour of a kiosk and a hall, in which the power is cut once, after so many effects.

    What was not synced is lost, and the write in hand is torn.
    """
    mix: Mix = CALM if cut_after is None else {Fault.UNSYNCED_TAIL: 1.0, Fault.TORN_WRITE: 0.5}
    return World(7, mix, CALM_STORY, plant or Plant(), cut_after=cut_after, traced=traced)
