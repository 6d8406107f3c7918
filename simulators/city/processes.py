"""The city's child processes: started in groups of their own, watched, started again, and all of them ended.

The city adopts what its children leave behind (`adopt_orphans`), so that nothing that it began, directly or
through a child, can outlive it unseen.
"""

import asyncio
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

RESTART_DELAY_S = 1.0
"""Before a child that fell over is started again, like systemd's RestartSec."""
EXIT_RESTART = 75
"""An agent that was asked to restart exits so (sysexits.h: EX_TEMPFAIL)."""
TERM_S = 8.0
"""How long a child may take to end after SIGTERM before SIGKILL."""
MOSQUITTO_END_AGAIN_S = 0.5
KILL_S = 5.0
DRAIN_S = 2.0
"""How long the last words of a child are waited for; what left its group may hold the pipe open."""
LINE_BYTES_MAX = 1_000_000
LOG_BYTES_MAX = 20_000_000
"""Of one child; what it says beyond that in one run is only counted."""
PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h"""


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind when they are killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Log:
    """What a child has said: kept in a file, and watched for the names of events."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: dict[str, int] = {}
        self._news = asyncio.Condition()
        path.parent.mkdir(parents=True, exist_ok=True)

    async def follow(self, stream: asyncio.StreamReader) -> None:
        """Write down each line of `stream` until it ends; JSON lines count by their event."""
        if self._path.exists() and self._path.stat().st_size > LOG_BYTES_MAX:
            self._path.replace(self._path.with_suffix(".log.1"))
        with self._path.open("ab", buffering=0) as file:
            while line := await _line(stream):
                if file.tell() < LOG_BYTES_MAX:
                    file.write(line)
                event = _event(line)
                if event:
                    async with self._news:
                        self._counts[event] = self._counts.get(event, 0) + 1
                        self._news.notify_all()

    def count(self, event: str) -> int:
        """How often `event` was said."""
        return self._counts.get(event, 0)

    async def wait(self, event: str, count: int) -> None:
        """Wait until `event` was said `count` times; give it a deadline with `asyncio.timeout`."""
        async with self._news:
            await self._news.wait_for(lambda: self.count(event) >= count)

    def tail(self, lines: int = 1) -> str:
        """The last lines, for a sentence about what went wrong."""
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.readexactly(error.consumed)


def _event(line: bytes) -> str:
    try:
        told = json.loads(line)
    except ValueError:
        return ""
    return str(told.get("event", "")) if isinstance(told, dict) else ""


@dataclass(frozen=True)
class Command:
    """What to run: `again` starts it anew whenever it ends by itself, as systemd would.

    A program that may be deaf to SIGTERM is told so again every `end_again_s` seconds until it ends.
    """

    name: str
    words: Sequence[str]
    again: bool = True
    environ: Mapping[str, str] | None = None
    end_again_s: float | None = None


def mosquitto(*words: str, again: bool) -> Command:
    """mosquitto, as `words` start it.

    mosquitto 2.0.11 forgets a SIGTERM that comes between its line "running" and the first turn of its main
    loop: `run = 1` is set after the line is logged. One that has heard it takes no notice of the next.
    """
    return Command("broker", words, again, end_again_s=MOSQUITTO_END_AGAIN_S)


class Child:
    """One supervised program; `pid` is that of its present run. `started` is called after each start."""

    def __init__(self, command: Command, logs: Path, started: Callable[[], None] = lambda: None) -> None:
        self.command = command
        self._started = started
        self.log = Log(logs / f"{command.name}.log")
        self.starts = 0
        self.exits: list[int] = []
        self.pid = 0
        self._wanted = False
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._exit = asyncio.Condition()
        self._resume = asyncio.Event()

    async def start(self) -> None:
        """Start it; returns when the process exists.

        Raises:
            OSError: it cannot be started.
        """
        assert self._task is None or self._task.done(), f"{self.command.name} runs already"
        self._wanted = True
        self._resume.set()
        self._up.clear()
        self._task = asyncio.create_task(self._supervise(), name=f"child {self.command.name}")
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait({self._task, up}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            self._task.result()

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._up.is_set()

    def hold(self) -> None:
        """From now on do not start it again when it ends, until `release`."""
        self._resume.clear()

    def release(self) -> None:
        """Start it again now, and whenever it ends."""
        self._resume.set()

    def kill(self) -> None:
        """kill -9 its whole group; it is started again unless it is held."""
        if self.running:
            _signal(self.pid, signal.SIGKILL)

    def reload(self) -> None:
        """Have it read its configuration again."""
        if self.running:
            _signal(self.pid, signal.SIGHUP)

    def terminate(self) -> None:
        """Ask it to end in order; it is started again unless it is held."""
        self._ask_to_end(self.starts)

    def _ask_to_end(self, run: int) -> None:
        if not self.running or self.starts != run:
            return
        _signal(self.pid, signal.SIGTERM)
        if self.command.end_again_s is not None:
            asyncio.get_running_loop().call_later(self.command.end_again_s, self._ask_to_end, run)

    async def fallen(self, times: int) -> None:
        """Wait until it has ended by itself `times` times."""
        async with self._exit:
            await self._exit.wait_for(lambda: len(self.exits) >= times)

    async def ended(self) -> int:
        """Wait until it has ended and is not started again; its last exit status (negative: by a signal)."""
        assert self._task is not None, f"{self.command.name} was never started"
        await asyncio.shield(self._task)
        return self.exits[-1]

    async def stop(self) -> None:
        """End it in order, or by force after `TERM_S`."""
        self._wanted = False
        self._resume.set()
        if self._task is None:
            return
        self.terminate()
        done, _ = await asyncio.wait({self._task}, timeout=TERM_S)
        if not done:
            _signal(self.pid, signal.SIGKILL)
            done, _ = await asyncio.wait({self._task}, timeout=KILL_S)

    async def _supervise(self) -> None:
        while self._wanted:
            process = await asyncio.create_subprocess_exec(
                *self.command.words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **(self.command.environ or {})},
                start_new_session=True,
                limit=LINE_BYTES_MAX,
            )
            assert process.stdout is not None
            self.pid = process.pid
            self.starts += 1
            self._up.set()
            self._started()
            follower = asyncio.create_task(self.log.follow(process.stdout))
            status = await process.wait()
            self._up.clear()
            await _clear(self.pid)
            await asyncio.wait({follower}, timeout=DRAIN_S)
            follower.cancel()
            async with self._exit:
                self.exits.append(status)
                self._exit.notify_all()
            if not self.command.again:
                return
            if self._wanted and status != EXIT_RESTART:
                await asyncio.sleep(RESTART_DELAY_S)
            await self._resume.wait()


async def _clear(group: int) -> None:
    """End what a child left in its group, such as an agent's recogniser, and take note of its end."""
    _signal(group, signal.SIGKILL)
    until = time.monotonic() + KILL_S
    while time.monotonic() < until:
        try:
            os.waitpid(-group, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
        except ChildProcessError:
            pass  # not ours to wait for, or nothing left
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.01)


def _signal(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass  # it has ended already


def descendants(strangers: Collection[int] = ()) -> list[psutil.Process]:
    """Every living process that comes from this one, but for the children `strangers` and what they began."""
    found = []
    for child in psutil.Process().children():
        if child.pid in strangers:
            continue
        try:
            family = [child, *child.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        found += [process for process in family if _lives(process)]
    return found


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def reap() -> None:
    """Take note of the end of adopted processes, so that they do not stay as zombies."""
    for process in psutil.Process().children():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue


def end_all(strangers: Collection[int] = (), within_s: float = KILL_S) -> list[str]:
    """End what is left of our descendants but `strangers`, by its id; gives what even then is there."""
    left = descendants(strangers)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=within_s)
    reap()
    return [_described(process) for process in descendants(strangers)]


def _described(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:80]}"
    except psutil.NoSuchProcess:
        return str(process.pid)
