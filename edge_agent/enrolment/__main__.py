"""`python -m edge_agent.enrolment --settings FILE`: enrols this device and ends."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from edge_agent import logs
from edge_agent.enrolment.run import attempt, enrol
from edge_agent.errors import AgentError, SettingsError, UnavailableError
from edge_agent.settings import load


def main() -> int:
    """0 enrolled; 78 wrong settings. With --once also: 69 nobody answers, 77 refused."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.enrolment", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="the agent's TOML file")
    parser.add_argument("--once", action="store_true", help="do not try again")
    arguments = parser.parse_args()
    logs.configure()
    try:
        settings = load(arguments.settings, os.environ)
        if arguments.once:
            attempt(settings)
        else:
            asyncio.run(enrol(settings))
    except AgentError as error:
        print(f"edge_agent.enrolment: {error}", file=sys.stderr)
        if isinstance(error, SettingsError):
            return os.EX_CONFIG
        return os.EX_UNAVAILABLE if isinstance(error, UnavailableError) else os.EX_NOPERM
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
