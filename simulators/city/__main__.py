"""`python -m simulators city`: starts the city, prints the address of its start page, and lives until Ctrl-C.

With `--once --report FILE` it plays the story alone and exits 0 only if every step held.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from simulators.city.city import City, CityError
from simulators.city.desk import CityDesk
from simulators.city.folder import Folder, FolderTakenError
from simulators.city.plan import HALLS, KIOSKS, Plan
from simulators.city.report import Report
from simulators.city.servers import serve
from simulators.city.story import play
from simulators.start_page.app import start_page_app

EXIT_FAILED = 1
EXIT_USAGE = 64
MARK = "lock"
"""A folder that has this file, or nothing, is a city's, and may be emptied."""


def main(words: Sequence[str]) -> int:
    """Run the city; the exit code."""
    asked = _parser().parse_args(words)
    if asked.once != (asked.report is not None):
        print("city: --once and --report FILE go together", file=sys.stderr)
        return EXIT_USAGE
    data = asked.data or asked.cache / ("city-once" if asked.once else "city")
    plan = Plan(
        data=data.resolve(),
        cache=asked.cache.resolve(),
        kiosks=asked.kiosks,
        halls=asked.halls,
        broker=asked.broker,
        printers=asked.printers,
        after_debate="silence" if asked.once else "loop",
    )
    if asked.once and asked.data is None:
        _empty(plan.data)
    try:
        with Folder(plan.data) as folder:
            return asyncio.run(_live(plan, folder, asked.report))
    except FolderTakenError as error:
        print(f"city: {error}", file=sys.stderr)
        return EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m simulators city", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the city (default: build/city)")
    parser.add_argument("--cache", type=Path, default=Path("build"), help="models, debate (default: build)")
    parser.add_argument("--once", action="store_true", help="play the story alone, then stop")
    parser.add_argument("--report", type=Path, help="with --once: the JSON file to write")
    parser.add_argument("--kiosks", type=int, default=KIOSKS)
    parser.add_argument("--halls", type=int, default=HALLS)
    parser.add_argument("--broker", choices=("auto", "mosquitto", "embedded"), default="auto")
    parser.add_argument("--printers", choices=("auto", "cups", "own"), default="auto")
    return parser


def _empty(folder: Path) -> None:
    """Begin anew: the story counts what happens in it."""
    if folder.is_dir() and (folder / MARK).exists():
        with Folder(folder):
            pass  # ends what a killed city left running
        shutil.rmtree(folder)


def tell(line: str) -> None:
    """Say something to the person at the terminal."""
    print(line, flush=True)


async def _live(plan: Plan, folder: Folder, report_file: Path | None) -> int:
    began = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    city = City(plan, folder, tell)
    report = Report(broker=city.broker_name, mtls=city.tls)
    life = asyncio.create_task(_play(city, report) if report_file else _stay(city))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({life, stopped}, return_when=asyncio.FIRST_COMPLETED)
    life.cancel()
    stopped.cancel()
    outcome = (await asyncio.gather(life, return_exceptions=True))[0]
    tell("city: stopping everything")
    left = await city.stop()
    for line in left:
        tell(f"city: still there: {line}")
    if isinstance(outcome, CityError):
        tell(f"city: {outcome}")
    elif isinstance(outcome, Exception):
        raise outcome
    tell(f"city: stopped, {len(left)} processes left")
    if report_file is not None:
        report.processes_left = len(left)
        report.seconds = round(time.monotonic() - began, 1)
        report.write(report_file)
        tell(f"city: {'every step held' if report.ok else 'NOT every step held'}; {report_file}")
        return 0 if report.ok else EXIT_FAILED
    return EXIT_FAILED if left or isinstance(outcome, CityError) else 0


async def _play(city: City, report: Report) -> None:
    await play(city, report)


async def _stay(city: City) -> None:
    await city.start()
    served = await serve(start_page_app(CityDesk(city)))
    city.keep_speaking()
    city.write_addresses(served.url)
    tell("")
    tell(f"  The city is open:  {served.url}/")
    if city.password is not None and city.password.one_time:
        tell(f"  Administrator:     admin, one-time password {city.password.text}")
    tell(f"  Broker:            {city.broker_name}{', mutual TLS' if city.tls else ', WITHOUT certificates'}")
    tell("  Ctrl-C stops everything.")
    tell("")
    try:
        await asyncio.Event().wait()
    finally:
        await served.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
