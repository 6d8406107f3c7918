"""Five hundred devices with mutual TLS lose their one broker and come back: ours beside dials in lockstep.

The devices have the link of the real agent (`simulators.load`); they, mosquitto and the ingest share this
machine, and the generator's own processor time is reported apart. In lockstep the same link draws no chance,
so that all devices dial in the same instants, as clients do whose back-off has no jitter.
"""

import asyncio
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simulators.load.__main__ import allow_files, lines, names
from simulators.load.fleet import Speech
from simulators.load.place import laid
from simulators.load.run import Outcome, Plan, Storm, play
from tests.benchmarks.report import Measurement

DEVICES = 500
EVERY_S = 10.0
SECONDS = 30.0
OUTAGE_S = 10.0
DRAINED_S_MAX = 60.0
SEED = 7


@dataclass(frozen=True)
class Played:
    """One run of the load, and its storm."""

    outcome: Outcome
    storm: Storm


def run() -> list[Measurement]:
    """The rows of a broker that ends in order and of one that is killed."""
    allow_files(DEVICES)
    logging.getLogger("edge_agent").setLevel(logging.CRITICAL)
    rows: list[Measurement] = []
    for end, about in (("term", "restart"), ("kill", "kill -9")):
        lockstep, ours = _play(end, jitter=False), _play(end, jitter=True)
        rows += _rows(f"{DEVICES} devices, broker's {about}", ours, lockstep)
    return rows


def _play(end: Literal["term", "kill"], *, jitter: bool) -> Played:
    plan = Plan(Speech(EVERY_S, jitter, SEED), SECONDS, end, OUTAGE_S)

    async def live(folder: Path) -> Outcome:
        async with laid(folder, names(DEVICES)) as place:
            return await play(place, plan, print)

    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(live(Path(folder)))
    print("\n".join(lines(outcome)), flush=True)
    assert outcome.storm is not None
    return Played(outcome, outcome.storm)


def _rows(name: str, ours: Played, lockstep: Played) -> list[Measurement]:
    def row(
        about: str, unit: str, value: float, beside: float, target: str, held: bool | None
    ) -> Measurement:
        ratio = value / beside if beside else None
        return Measurement(f"{name}: {about}", value, unit, "no jitter", beside, ratio, target, held)

    a, b = ours.storm, lockstep.storm
    lost, beside = (each.outcome.lost + each.outcome.duplicated for each in (ours, lockstep))
    return [
        row("lost + doubled", "messages", lost, beside, "value = 0", ours.outcome.whole),
        row("all connected", "s", a.all_connected_s, b.all_connected_s, "", None),
        row(
            "drained",
            "s",
            a.drained_s,
            b.drained_s,
            f"value <= {DRAINED_S_MAX:g}",
            a.drained_s <= DRAINED_S_MAX,
        ),
        row("most dials in a second", "dials", a.dials_peak_per_s, b.dials_peak_per_s, "", None),
        row(
            "most connections in a second",
            "connections",
            a.connects_peak_per_s,
            b.connects_peak_per_s,
            "",
            None,
        ),
        *(
            row(
                f"processor until drained, {who}",
                "% of a core",
                100 * a.cpu_s[who] / a.drained_s,
                100 * b.cpu_s[who] / b.drained_s,
                "",
                None,
            )
            for who in ("broker", "ingest", "generator")
        ),
        row("lag p99 of all messages", "ms", ours.outcome.lag_p99_ms, lockstep.outcome.lag_p99_ms, "", None),
    ]
