"""The two processes of a transcription, which can be killed at a named point.

Begun by `tests.mortals`, `main("control", FOLDER, POINT)` is the control plane's half: it finds the
uploaded recording and hands it to the workers. `main("worker", FOLDER, POINT, EXECUTOR)` is a worker
with a small engine; it ends with 0 when the run has ended. At POINT (`-` for none) the process kills itself.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.orm import sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.workflows import running
from cloud.recordings import queue, runs
from cloud.recordings.cards import card
from cloud.recordings.guards import Heard, Word
from cloud.recordings.orders import Orders
from cloud.recordings.sound import ENGINE_HZ, Samples
from cloud.recordings.transcription import Bench, Transcription
from cloud.recordings.turns import OPEN
from cloud.recordings.worker import Lease
from tests.cloud.recordings.halls import RECORDING, store

LIVE_S = 60.0
WORD_MS = 1000
POINTS = ("hear after 2", "draft before 1")
MORE_POINTS = ("hear before 1", "hear before 3", "write before 1", "write after 1")
"""Where the worker is killed; the long form has all of them."""


GO = Path("go")
"""A worker that stalls goes on when this is in its folder; until then it does not say that it lives."""
stalled = threading.Event()


class Engine:
    """Hears one word in each second; it is the second's number in the stretch."""

    def hear(self, samples: Samples, lang: str) -> list[Heard]:
        words = tuple(
            Word(at * WORD_MS, at * WORD_MS + 500, f" {lang}{at}.", 0.9)
            for at in range(len(samples) // ENGINE_HZ)
        )
        end = len(samples) * 1000 // ENGINE_HZ
        return [Heard(start_ms=0, end_ms=end, words=words, logprob=-0.2, no_speech=0.0, compression=1.0)]


def mortal(point: str, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
    """`do`, but the process dies before or after the nth time when that is the point."""
    calls = 0

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if point == f"{name} before {calls}":
            os.kill(os.getpid(), signal.SIGKILL)
        if point == f"{name} stalls {calls}":
            print("stalled", flush=True)
            stalled.set()
            while not GO.exists():
                time.sleep(0.05)
        result = do(*arguments, **named)
        if point == f"{name} after {calls}":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return wrapped


def now() -> datetime:
    return datetime.now(UTC)


def control(folder: Path, point: str) -> None:
    engine = connect(f"sqlite:///{folder / 'fleet.db'}")
    complete().create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    enqueue = mortal(point, "enqueue", queue.enqueue)
    orders = Orders(sessions, enqueue, queue.standing, now)
    with running(f"sqlite:///{folder / 'fleet.db'}", "control-1"):
        orders.sweep()
        mortal(point, "end", lambda: None)()


def worker(folder: Path, point: str, executor: str) -> None:
    os.chdir(folder)
    url = f"sqlite:///{folder / 'fleet.db'}"
    sessions = sessionmaker(connect(url), expire_on_commit=False)
    speech = Engine()
    speech.hear = mortal(point, "hear", speech.hear)  # type: ignore[method-assign] # on purpose
    runs.draft = mortal(point, "draft", runs.draft)
    bench = Bench(
        sessions=sessions,
        store=store(folder / "objects"),
        engine=speech,
        model="whisper-base",
        card=card("whisper-base"),
        allowed=frozenset(),
        clock=now,
        stretch_ms=3000,
        slack_ms=1000,
    )
    transcription = Transcription(bench)
    transcription._write = mortal(point, "write", transcription._write)  # type: ignore[method-assign] # on purpose
    lease = Lease(sessions, executor, timedelta(seconds=2), now)
    lease.renew()
    with running(
        url,
        executor,
        name=queue.APPLICATION,
        version=queue.VERSION,
        queues=[queue.QUEUE],
        queue_poll_s=0.1,
        poll_s=0.1,
    ):
        until = time.monotonic() + LIVE_S
        while time.monotonic() < until:
            if not stalled.is_set() or GO.exists():
                lease.renew()
                lease.take_over()
            with sessions() as database:
                run = runs.newest(database, RECORDING)
            if run is not None and run.state not in OPEN and (not stalled.is_set() or GO.exists()):
                print(run.state, flush=True)
                os._exit(0)
            time.sleep(0.1)
        os._exit(1)


def main(what: str, folder: str, point: str, *executor: str) -> None:
    if what == "control":
        control(Path(folder), point)
    else:
        worker(Path(folder), point, *executor)
