"""`python -m simulators load`: many devices on one broker and one ingest, all of them started here.

Every device has a certificate of its own and the link of the real agent. Nothing leaves this machine.
"""

import argparse
import asyncio
import json
import logging
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulators.load.fleet import Speech
from simulators.load.place import PlaceError, laid
from simulators.load.run import Outcome, Plan, play

DEVICES_MAX = 2000
SECONDS_MAX = 3600.0
FILES_BESIDE = 200
"""Open files beside one connection for each device."""
EXIT_LOST = 1
EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69


def main(words: Sequence[str]) -> int:
    """Run the load; 0 if nothing was lost, doubled or dropped."""
    asked = _parser().parse_args(words)
    if not 1 <= asked.devices <= DEVICES_MAX or not 0 < asked.seconds <= SECONDS_MAX or asked.every_s < 0.05:
        print(
            f"load: 1 to {DEVICES_MAX} devices, up to {SECONDS_MAX:g} seconds, every 0.05 s or less often",
            file=sys.stderr,
        )
        return EXIT_USAGE
    plan = Plan(
        Speech(
            every_s=asked.every_s,
            jitter=asked.jitter == "full",
            seed=asked.seed,
            ack_timeout_s=asked.ack_timeout_s,
        ),
        seconds=asked.seconds,
        end=asked.storm,
        outage_s=asked.outage_s,
    )
    logging.getLogger("edge_agent").setLevel(logging.CRITICAL)  # hundreds of lines for each loss
    try:
        allow_files(asked.devices)
        with tempfile.TemporaryDirectory(prefix="fleet-load-") as folder:
            outcome = asyncio.run(_live(Path(folder), asked.devices, plan))
    except (PlaceError, TimeoutError) as error:
        print(f"load: {error}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    print("\n".join(lines(outcome)))
    if asked.report is not None:
        asked.report.write_text(json.dumps(outcome.shown(), indent=2) + "\n", encoding="utf-8")
    return 0 if outcome.whole else EXIT_LOST


def allow_files(devices: int) -> None:
    """Let this process open a connection for each device.

    Raises:
        PlaceError: the system does not allow so many.
    """
    wanted = devices + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY,) and hard < wanted:
        raise PlaceError(f"{wanted} open files are needed, {hard} are allowed: raise `ulimit -Hn`")
    if soft not in (resource.RLIM_INFINITY,) and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def names(devices: int) -> list[str]:
    """What the devices are called."""
    return [f"load-{number:04d}" for number in range(1, devices + 1)]


def lines(outcome: Outcome) -> list[str]:
    """The outcome for a person at the terminal."""
    o = outcome
    told = [
        f"load: {o.devices} devices for {o.seconds:.1f} s",
        f"load: recorded {o.recorded}, acknowledged {o.acknowledged}, sent again {o.again}",
        f"load: by the cloud's ledger {o.counted}, lost {o.lost}, duplicated {o.duplicated}, "
        f"dropped by policy {o.dropped}, gaps {o.gaps}",
        f"load: from sample to acknowledgement p50 {o.lag_p50_ms:.0f} ms, p95 {o.lag_p95_ms:.0f} ms, "
        f"p99 {o.lag_p99_ms:.0f} ms",
    ]
    if o.storm is not None:
        s = o.storm
        cpu = ", ".join(f"{name} {used:.1f} s" for name, used in s.cpu_s.items())
        told += [
            f"load: after the broker was back, with {s.waiting} messages waiting: all connected in "
            f"{s.all_connected_s:.1f} s, drained in {s.drained_s:.1f} s",
            f"load: most in one second: {s.dials_peak_per_s} dials and {s.connects_peak_per_s} connections; "
            f"processor: {cpu}",
        ]
    return told


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m simulators load", description=__doc__)

    def option(name: str, **about: Any) -> None:
        parser.add_argument(f"--{name}", **about)

    option("devices", type=int, default=100)
    option("seconds", type=float, default=30.0, help="of speech, before the storm if there is one")
    option("every-s", type=float, default=10.0, help="each device samples so often")
    option("storm", choices=("none", "term", "kill"), default="none", help="how the broker ends")
    option("outage-s", type=float, default=5.0, help="how long it stays away")
    option("jitter", choices=("full", "none"), default="full", help="none: all dial in lockstep")
    option("ack-timeout-s", type=float, default=20.0, help="a device sends again what waited so long")
    option("seed", type=int, default=1, help="of the devices' chance")
    option("report", type=Path, metavar="FILE", help="write the figures as JSON")
    return parser


async def _live(folder: Path, devices: int, plan: Plan) -> Outcome:
    def tell(line: str) -> None:
        print(line, flush=True)

    async with laid(folder, names(devices)) as place:
        return await play(place, plan, tell)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
