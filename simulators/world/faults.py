"""What goes wrong in a world, and how often; each seed draws a mix of its own."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Mix:
    """Chances between 0 and 1 and mean intervals in seconds (0: never)."""

    loss: float = 0.0
    """Of one message on one leg: a broker drops what is beyond its queue, and tells nobody."""
    duplicate: float = 0.0
    delay_s: float = 0.05
    """Mean delay of one leg; longer ones overtake each other."""
    link_cut: float = 0.0
    """Of a connection, at each message."""
    power_cut: float = 0.0
    """Of a device, before each effect."""
    power_cut_printing: float = 0.0
    """The same before each effect of a print job, where it hurts most."""
    outage_s: float = 0.0
    """Of a device's line, for minutes."""
    broker_kill_s: float = 0.0
    cloud_kill: float = 0.0
    """Of the control plane, at each transaction: as often before the commit as after it."""
    http_failure: float = 0.0
    printer_swallow: float = 0.0
    """Of the printer taking a paper and not answering."""
    printer_silent_s: float = 0.0
    printer_cycle_s: float = 0.0
    """Switched off and on: it knows no jobs any more."""
    paper_out_s: float = 0.0
    payments_failure: float = 0.0
    disk_full_s: float = 0.0


CALM = Mix()


def draw(rng: random.Random) -> Mix:
    """A mix for one seed: most faults are off, so that those that are on bite."""
    return Mix(
        loss=rng.choice((0.0, 0.0, 0.05, 0.3)),
        duplicate=rng.choice((0.0, 0.0, 0.3)),
        delay_s=rng.choice((0.02, 0.2, 3.0)),
        link_cut=rng.choice((0.0, 0.01, 0.05)),
        power_cut=rng.choice((0.0, 0.003, 0.02)),
        power_cut_printing=rng.choice((0.0, 0.02, 0.2)),
        outage_s=rng.choice((0.0, 0.0, 300.0)),
        broker_kill_s=rng.choice((0.0, 0.0, 200.0)),
        cloud_kill=rng.choice((0.0, 0.01, 0.05)),
        http_failure=rng.choice((0.0, 0.2)),
        printer_swallow=rng.choice((0.0, 0.0, 0.5)),
        printer_silent_s=rng.choice((0.0, 0.0, 150.0)),
        printer_cycle_s=rng.choice((0.0, 0.0, 200.0)),
        paper_out_s=rng.choice((0.0, 0.0, 200.0)),
        payments_failure=rng.choice((0.0, 0.0, 0.3)),
        disk_full_s=rng.choice((0.0, 0.0, 200.0)),
    )


class Faults:
    """Chance of one world; after `heal` nothing goes wrong any more."""

    def __init__(self, rng: random.Random, mix: Mix) -> None:
        self.rng = rng
        self.mix = mix

    def heal(self) -> None:
        """From now on all is well."""
        self.mix = CALM

    def happens(self, chance: float) -> bool:
        """Whether something of this chance happens now."""
        return chance > 0 and self.rng.random() < chance

    def delay_s(self) -> float:
        """How long a message takes on one leg."""
        return 0.001 + self.rng.expovariate(1 / self.mix.delay_s)

    def interval_s(self, mean_s: float) -> float:
        """How long until something that comes every `mean_s` seconds on average."""
        return self.rng.expovariate(1 / mean_s)
