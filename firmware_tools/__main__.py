"""`python -m firmware_tools COMMAND …`: images, boards, releases, repository. `--help` lists them.

Exit status by sysexits.h: 0 done; 64 wrong words; 65 a file or the board said no; 66 a file cannot be read;
69 the board does not answer; 73 a file cannot be written. What went wrong is one sentence on stderr; with
`--json` it is the member `refused` of the object on stdout.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from edge_agent.errors import AgentError, UnavailableError
from firmware_tools import board_commands, image_commands, publishing
from firmware_tools.errors import ToolError

COMMANDS = (image_commands, board_commands)
"""Each adds its commands to the line; a command is a function of the words that were given."""


class Parser(argparse.ArgumentParser):
    """argparse with the exit status of sysexits.h for wrong words."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the line, and how it goes."""
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {message}\n")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit status as the module says."""
    parser: argparse.ArgumentParser = Parser(prog="python -m firmware_tools", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for each in COMMANDS:
        each.add(commands)
    publishing.add_commands(commands)
    given = parser.parse_args(words)
    try:
        if given.command in publishing.COMMANDS:
            print(publishing.as_json(publishing.run(given)))
        else:
            given.run(given)
    except (ToolError, AgentError) as error:
        file = getattr(given, "file", None)
        if getattr(given, "json", False):
            print(json.dumps({"file": file and file.name, "valid": False, "refused": str(error)}))
        else:
            print(f"{file.name if file else given.command}: {error}", file=sys.stderr)
        return _code(error)
    return os.EX_OK


def _code(error: ToolError | AgentError) -> int:
    if isinstance(error, ToolError):
        return error.code
    return os.EX_UNAVAILABLE if isinstance(error, UnavailableError) else os.EX_DATAERR


if __name__ == "__main__":
    sys.exit(main())
