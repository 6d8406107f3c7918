"""`python -m simulators.debate --out DIR`: make the debate's sound and lines, if they are not there yet."""

import argparse
import sys
from pathlib import Path

from simulators.debate.synthesis import SEED_DEFAULT, make


def main() -> int:
    """Print where the sound is and how long it lasts."""
    parser = argparse.ArgumentParser(prog="python -m simulators.debate", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=SEED_DEFAULT)
    asked = parser.parse_args()
    sound, debate = make(asked.out, asked.seed)
    speakers = len({line.speaker for line in debate.lines})
    print(f"{sound}: {debate.duration_ms / 1000:.0f} s, {speakers} voices, {len(debate.text.split())} words")
    return 0


if __name__ == "__main__":
    sys.exit(main())
