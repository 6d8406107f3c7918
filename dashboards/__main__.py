"""`python -m dashboards` writes `fleet.json` anew from the typed panels; commit what changed."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dashboards.grafana import fleet, text

FILE = Path(__file__).with_name("fleet.json")


def main(words: Sequence[str] | None = None) -> int:
    """Write the dashboard; 0."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description=__doc__)
    parser.add_argument("--out", type=Path, default=FILE, help="another file than the committed one")
    given = parser.parse_args(words)
    given.out.write_text(text(fleet()), encoding="utf-8")
    print(f"{given.out.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
