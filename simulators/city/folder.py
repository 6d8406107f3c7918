"""The city's data folder: who holds it, what an earlier city left running, where things are."""

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

GONE_S = 5.0


class FolderTakenError(Exception):
    """Another city lives there."""


class Folder:
    """`DATA/{cloud,broker,services,devices/<id>,logs}`, locked while the city lives."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.cloud = self.path / "cloud"
        self.broker = self.path / "broker"
        self.services = self.path / "services"
        self.logs = self.path / "logs"
        self._lock: IO[str] | None = None

    def device(self, device: str) -> Path:
        """The folder of one device."""
        return self.path / "devices" / device

    def __enter__(self) -> Self:
        """Take the folder.

        Raises:
            FolderTakenError: another city holds it.
        """
        for folder in (self.path, self.cloud, self.broker, self.services, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path / "lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise FolderTakenError(
                f"another city runs in {self.path}; stop it, or give this one its own folder with --data"
            ) from None
        self._end_leftovers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._lock is not None
        self._lock.close()

    @property
    def _list(self) -> Path:
        return self.path / "processes.json"

    def note_processes(self, pids: list[int]) -> None:
        """Write down what runs, so that the next city can end it should this one be killed."""
        listed = []
        for pid in pids:
            try:
                listed.append([pid, psutil.Process(pid).create_time()])
            except psutil.NoSuchProcess:
                continue
        part = self._list.with_suffix(".part")
        part.write_text(json.dumps(listed), encoding="utf-8")
        part.replace(self._list)

    def _end_leftovers(self) -> None:
        """End what a city that was killed left running: the very processes that it had written down."""
        try:
            listed = json.loads(self._list.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        left = []
        for pid, created in listed:
            try:
                process = psutil.Process(pid)
                if process.create_time() == created and process.pid != os.getpid():
                    left += [process, *process.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=GONE_S)
        self._list.unlink(missing_ok=True)
