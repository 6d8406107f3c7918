"""A simulated conference system: says which seat's microphone is on, in step with the simulated microphone.

`python -m simulators.devices.conference --debate debate.json --cue FILE [--after silence|loop]`

It writes a line of JSON to stdout for each switch, `{"seat": "12", "on": true}`, and when it begins it names
the seat whose microphone is on already. Speech begins when the cue is touched, as for the microphone.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec

from simulators.debate.lines import Debate, Turn
from simulators.devices.microphone import touched_at

LOOK_S = 0.02
"""A switch is told within so much of its time."""


@dataclass
class Conference:
    """Follows the turns. `begun_at` tells the moment at which speech began, None if not yet."""

    turns: Sequence[Turn]
    duration_ms: int
    after: str
    begun_at: Callable[[], float | None]
    clock: Callable[[], float] = time.time
    wait: Callable[[float], None] = time.sleep

    def on(self) -> str | None:
        """The seat whose microphone is on now."""
        begun_at = self.begun_at()
        if begun_at is None:
            return None
        since_ms = (self.clock() - begun_at) * 1000
        if self.after == "loop":
            since_ms %= self.duration_ms
        return next((turn.seat for turn in self.turns if turn.start_ms <= since_ms < turn.end_ms), None)

    def tell(self, out: TextIO) -> None:
        """Until nobody listens any more.

        Raises:
            BrokenPipeError: nobody does.
        """
        told: str | None = None
        while True:
            seat = self.on()
            if seat != told:
                for each, is_on in ((told, False), (seat, True)):
                    if each is not None:
                        out.write(json.dumps({"seat": each, "on": is_on}) + "\n")
                out.flush()
                told = seat
            self.wait(LOOK_S)


def main() -> int:
    """Tell; 0 when nobody listens any more."""
    parser = argparse.ArgumentParser(prog="conference")
    parser.add_argument("--debate", type=Path, required=True, help="the lines beside the debate's sound")
    parser.add_argument("--cue", type=Path, required=True, help="speech begins when this file is touched")
    parser.add_argument("--after", choices=("silence", "loop"), default="silence")
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    debate = msgspec.json.decode(asked.debate.read_bytes(), type=Debate)
    conference = Conference(debate.turns, debate.duration_ms, asked.after, lambda: touched_at(asked.cue))
    try:
        conference.tell(sys.stdout)
    except BrokenPipeError:
        # Nobody listens any more; the interpreter must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
