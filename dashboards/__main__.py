"""`python -m dashboards generate` writes the committed JSON anew; `provision` brings it into a Grafana."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dashboards.generate import FOLDER, write


def main(words: Sequence[str] | None = None) -> int:
    """Do what is asked; 1 and a sentence on stderr if it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    generate = commands.add_parser("generate", help="write dashboards and rules from the typed panels")
    generate.add_argument("--out", type=Path, default=FOLDER, help="another folder than the committed one")
    given = parser.parse_args(words)
    changed = write(given.out)
    for name in changed:
        print(f"{name} written")
    if not changed:
        print("nothing changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
