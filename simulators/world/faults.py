"""What goes wrong in a world: each fault is a model with a name, a strength, and chance of its own.

A seed draws a mix: some faults, each at one of its strengths. Every fault draws its chance from a stream of
its own, so that leaving one out leaves the others what they were, and every bite is counted.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """The faults, by name."""

    LOSS = "loss"
    DUPLICATION = "duplication"
    DELAY = "delay"
    REORDERING = "reordering"
    LINK_CUT = "link-cut"
    HALF_OPEN = "half-open"
    DEAF = "deaf"
    DOUBLE = "double"
    PARTITION = "partition"
    POWER_CUT = "power-cut"
    POWER_CUT_AT_WORK = "power-cut-at-work"
    UNSYNCED_TAIL = "unsynced-tail"
    TORN_WRITE = "torn-write"
    CLOCK_STEP = "clock-step"
    COLD_CLOCK = "cold-clock"
    CLOCK_DRIFT = "clock-drift"
    DISK_FULL = "disk-full"
    BROKER_KILL = "broker-kill"
    BROKER_DROPS = "broker-drops"
    CLOUD_KILL = "cloud-kill"
    SLOW_CONSUMER = "slow-consumer"
    HTTP_FAILURE = "http-failure"
    PRINTER_SWALLOW = "printer-swallow"
    PRINTER_SILENT = "printer-silent"
    PRINTER_CYCLE = "printer-cycle"
    PAPER_OUT = "paper-out"
    PAYMENTS_FAILURE = "payments-failure"
    RECOGNISER_DEATH = "recogniser-death"
    MICROPHONE_LOSS = "microphone-loss"
    WRONG_ISSUER = "wrong-issuer"
    BLACKOUT = "blackout"


class Kind(StrEnum):
    """What a strength means."""

    CHANCE = "chance"
    """Between 0 and 1, at each occasion."""
    INTERVAL_S = "mean interval in seconds"
    AMOUNT = "amount"
    """In the unit that the sentence names."""


@dataclass(frozen=True)
class Model:
    """One fault. `rarity`: one seed in so many has it, on average."""

    about: str
    kind: Kind
    strengths: tuple[float, ...]
    rarity: int = 3


MODELS: dict[Fault, Model] = {
    Fault.LOSS: Model("A message is lost on one leg, and nobody is told.", Kind.CHANCE, (0.05, 0.3)),
    Fault.DUPLICATION: Model("A message comes twice.", Kind.CHANCE, (0.3,)),
    Fault.DELAY: Model("Each leg takes so many seconds more on average.", Kind.AMOUNT, (0.2, 3.0), 2),
    Fault.REORDERING: Model("A message is overtaken by later ones.", Kind.CHANCE, (0.05, 0.3)),
    Fault.LINK_CUT: Model("A connection breaks at a message, seen by both sides.", Kind.CHANCE, (0.01, 0.05)),
    Fault.HALF_OPEN: Model(
        "A connection is dead, and each side believes in it for up to 45 s.", Kind.CHANCE, (0.01, 0.05)
    ),
    Fault.DEAF: Model(
        "A connection lives, and the broker has forgotten what it subscribed to.", Kind.CHANCE, (0.01, 0.05)
    ),
    Fault.DOUBLE: Model(
        "Another machine with this device's identity takes its session for minutes.",
        Kind.INTERVAL_S,
        (300.0,),
    ),
    Fault.PARTITION: Model("A device's line is away for minutes.", Kind.INTERVAL_S, (300.0,)),
    Fault.POWER_CUT: Model("The power goes before an effect.", Kind.CHANCE, (0.003, 0.02), 2),
    Fault.POWER_CUT_AT_WORK: Model(
        "The power goes before an effect of a paper, a sitting, an update or a renewal.",
        Kind.CHANCE,
        (0.02, 0.2),
    ),
    Fault.UNSYNCED_TAIL: Model("A power cut takes what was not synced.", Kind.CHANCE, (1.0,), 2),
    Fault.TORN_WRITE: Model("A power cut leaves half of the write in hand.", Kind.CHANCE, (1.0,), 2),
    Fault.CLOCK_STEP: Model("A device's wall clock is a day off for minutes.", Kind.INTERVAL_S, (200.0,)),
    Fault.COLD_CLOCK: Model(
        "After a power cut the wall clock says 1970 until time is told.", Kind.CHANCE, (1.0,)
    ),
    Fault.CLOCK_DRIFT: Model("A device's wall clock runs fast or slow by a share.", Kind.AMOUNT, (0.01,)),
    Fault.DISK_FULL: Model("A disk takes nothing for a while.", Kind.INTERVAL_S, (200.0,)),
    Fault.BROKER_KILL: Model("The broker dies with its sessions and queues.", Kind.INTERVAL_S, (200.0,)),
    Fault.BROKER_DROPS: Model("The broker queues so many messages and drops more.", Kind.AMOUNT, (4.0, 12.0)),
    Fault.CLOUD_KILL: Model(
        "The control plane dies at a transaction, before or after it.", Kind.CHANCE, (0.01, 0.1)
    ),
    Fault.SLOW_CONSUMER: Model("The control plane takes so many seconds a message.", Kind.AMOUNT, (0.2, 1.0)),
    Fault.HTTP_FAILURE: Model("A request by HTTPS fails.", Kind.CHANCE, (0.2,), 2),
    Fault.PRINTER_SWALLOW: Model("The printer takes the bytes and does not answer.", Kind.CHANCE, (0.5,)),
    Fault.PRINTER_SILENT: Model("The printer answers nothing for a while.", Kind.INTERVAL_S, (150.0,)),
    Fault.PRINTER_CYCLE: Model("The printer is switched off and on.", Kind.INTERVAL_S, (40.0, 200.0)),
    Fault.PAPER_OUT: Model("The printer has no paper for a while.", Kind.INTERVAL_S, (60.0, 200.0)),
    Fault.PAYMENTS_FAILURE: Model("The payment service fails once.", Kind.CHANCE, (0.3,)),
    Fault.RECOGNISER_DEATH: Model("The recogniser dies or hangs at a line.", Kind.CHANCE, (0.05,)),
    Fault.MICROPHONE_LOSS: Model("The microphone is gone for a while.", Kind.INTERVAL_S, (150.0,)),
    Fault.WRONG_ISSUER: Model(
        "The control plane signs a certificate with an authority that the broker does not know.",
        Kind.CHANCE,
        (0.5, 1.0),
        2,
    ),
    Fault.BLACKOUT: Model(
        "The power of every device goes in one moment, and comes back in one, minutes later.",
        Kind.INTERVAL_S,
        (300.0,),
        4,
    ),
}

Mix = Mapping[Fault, float]
"""The strength of each fault that a world has."""
CALM: Mix = {}


def draw(rng: random.Random) -> Mix:
    """A mix for one seed: most faults are off, so that those that are on bite."""
    mix: dict[Fault, float] = {}
    for fault, model in MODELS.items():
        chosen, strength = rng.randrange(model.rarity) == 0, rng.choice(model.strengths)
        if chosen:
            mix[fault] = strength
    return mix


def only(faults: Iterable[Fault], rng: random.Random) -> Mix:
    """Exactly these faults, at strengths that `rng` chooses."""
    return {fault: rng.choice(MODELS[fault].strengths) for fault in faults}


class Faults:
    """Chance of one world; after `heal` nothing goes wrong any more. `bites` counts what did."""

    def __init__(self, seed: int | str, mix: Mix) -> None:
        self.rng = random.Random(f"{seed} world")
        self.bites: Counter[Fault] = Counter()
        self._mix = dict(mix)
        self._seed = seed
        self._streams: dict[Fault, random.Random] = {}

    def heal(self) -> None:
        """From now on all is well."""
        self._mix = {}

    def strength(self, fault: Fault) -> float:
        """How strong it is; 0 when this world has it not."""
        return self._mix.get(fault, 0.0)

    def happens(self, fault: Fault, share: float | None = None) -> bool:
        """Whether it strikes at this occasion: by its own chance, or by `share` if the world has it."""
        strength = self._mix.get(fault)
        if strength is None:
            return False
        if self.stream(fault).random() >= (strength if share is None else share):
            return False
        self.bites[fault] += 1
        return True

    def stream(self, fault: Fault) -> random.Random:
        """The chance of one fault; asking it disturbs no other."""
        found = self._streams.get(fault)
        if found is None:
            found = self._streams[fault] = random.Random(f"{self._seed} {fault}")
        return found

    def delay_s(self) -> float:
        """What a leg takes longer than it should."""
        mean_s = self._mix.get(Fault.DELAY)
        if mean_s is None:
            return 0.0
        delay = self.stream(Fault.DELAY).expovariate(1 / mean_s)
        self.bites[Fault.DELAY] += 1
        return delay
