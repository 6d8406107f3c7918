"""Starts programs that end with us, even when we are killed without a chance to stop them.

A shell holds the reading end of a pipe whose other end only this process has: when that closes, for whatever
reason, the shell kills the program.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_SHELL = """
exec 3<&0
"$@" </dev/null & program=$!
echo "$program" > "$PID_FILE"
{ read -r _ <&3; kill -9 "$program"; } 2>/dev/null &
wait "$program"
"""


class Leashed:
    """A running program in a process group of its own; `pid_file` gets its id."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        pid_file: Path,
        environment: Mapping[str, str] | None = None,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
    ) -> None:
        self._pid_file = pid_file
        pid_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["sh", "-c", _SHELL, "leash", *command],
            env={**os.environ, **(environment or {}), "PID_FILE": str(pid_file)},
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    def ended(self, within_s: float = 0.0) -> bool:
        """Whether the program has ended, or ends in this time."""
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program, not to the shell that holds it."""
        os.kill(int(self._pid_file.read_text(encoding="ascii")), number)

    def kill(self) -> None:
        """End it and whatever it started, at once."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended by itself
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
