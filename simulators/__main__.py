"""`python -m simulators city …`: a whole city on this machine; `… load …`: many devices on one broker."""

import sys

from simulators.city.__main__ import main as city
from simulators.load.__main__ import main as load


def main(words: list[str]) -> int:
    """Do what the command line says; gives the exit code."""
    commands = {"city": city, "load": load}
    if not words or words[0] not in commands:
        print(f"usage: python -m simulators {{{','.join(commands)}}} …", file=sys.stderr)
        return 64
    return commands[words[0]](words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
