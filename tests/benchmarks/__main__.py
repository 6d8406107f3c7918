"""`python -m tests.benchmarks [--only NAME]`: run the benchmarks, print a table, write `build/bench.json`."""

import argparse
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.report import Measurement

BENCHMARKS = (
    "ingest",
    "documents",
    "captions",
    "captions_vosk",
    "uploads",
    "transcription",
    "agent_memory",
    "agent_wire",
    "storm",
    "firmware",
    "dashboards",
)
OUT = Path("build/bench.json")
COLUMNS = ("name", "value", "unit", "baseline", "baseline_value", "ratio", "target", "held")


def table(rows: list[Measurement]) -> str:
    """The rows as text, numbers with three significant digits."""

    def cell(value: object) -> str:
        if value is None:
            return "-"
        if isinstance(value, bool):
            return "yes" if value else "NO"
        return (
            f"{value:.3g}"
            if isinstance(value, float) and abs(value) < 1000
            else f"{value:.0f}"
            if isinstance(value, float)
            else str(value)
        )

    lines = [COLUMNS, *(tuple(cell(getattr(row, column)) for column in COLUMNS) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines
    )


def main() -> int:
    """Run what is asked for; a benchmark that cannot run does not hide the others, the exit code tells."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", choices=BENCHMARKS, help="run this one")
    chosen = parser.parse_args().only
    rows: list[Measurement] = []
    failed = False
    for name in (chosen,) if chosen else BENCHMARKS:
        print(f"bench: {name}", flush=True)
        module = importlib.import_module(f"tests.benchmarks.{name}")
        try:
            rows += module.run()
        except Exception as error:  # noqa: BLE001 - the other benchmarks still run, the exit code tells
            failed = True
            print(f"bench: {name} did not run: {type(error).__name__}: {error}", file=sys.stderr)
    print(table(rows))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
