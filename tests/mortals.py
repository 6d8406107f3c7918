"""Programs that are killed, each in a process of its own, forked from an interpreter that has them loaded.

To load the control plane takes three seconds of a processor, and a test of kills starts it dozens of times; a
fork takes none. What lives and dies is a process like any other: `kill -9` hits it alone, nothing that it
knew outlives it, and the next one knows what was loaded and nothing else. The one that is forked from has run
nothing: it has no thread (each child makes sure of that), no connection and no open database.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

PRELOADED = [
    "tests.cloud.documents.mortal",
    "tests.cloud.jobs.mortal",
    "tests.cloud.recordings.mortal",
]
"""Another program may be run as well: its process loads it for itself."""
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True)
class Life:
    """A running process; what it prints goes into files."""

    process: ForkServerProcess
    out: Path
    err: Path

    def wait(self, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """How it ended: its exit status (negative: by a signal) and its words.

        Raises:
            subprocess.TimeoutExpired: it lives still.
        """
        self.process.join(timeout_s)
        status = self.process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(self.process.name, timeout_s, self.said(), self.err.read_text())
        return subprocess.CompletedProcess(self.process.name, status, self.said(), self.err.read_text())

    def said(self) -> str:
        """What it has printed so far."""
        return self.out.read_text()


@contextmanager
def living(program: Callable[..., None], *words: str) -> Iterator[Life]:
    """`program(*words)` in a process of its own, which is killed at the latest when the block is left."""
    with tempfile.TemporaryDirectory(prefix="fleet-life-") as name:
        folder = Path(name)
        out, err = folder / "out", folder / "err"
        out.touch()
        err.touch()
        process = _forks.Process(target=_live, args=(program, words, out, err), name=program.__module__)
        process.start()
        try:
            yield Life(process, out, err)
        finally:
            process.kill()
            process.join()
            process.close()


def live(
    program: Callable[..., None], *words: str, timeout_s: float = 90.0
) -> subprocess.CompletedProcess[str]:
    """One whole life of `program(*words)`, as `subprocess.run` would tell of it.

    Raises:
        subprocess.TimeoutExpired: it did not end in time, and was killed.
    """
    with living(program, *words) as life:
        return life.wait(timeout_s)


def _live(program: Callable[..., None], words: tuple[str, ...], out: Path, err: Path) -> None:
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(handle, stream.fileno())
        os.close(handle)
    threads = len([*Path(f"/proc/{os.getppid()}/task").iterdir()])
    assert threads == 1, f"what is loaded has begun {threads - 1} threads; a fork of it would lack them"
    program(*words)
