"""Room on the disk that is kept for the moment when there is none left.

Given up, it lets through what must be kept and the deletions that make room; it is made again when there is
space for it twice, so that it does not come and go.
"""

import errno
import os
import shutil
from pathlib import Path
from typing import Protocol

RESERVE_BYTES = 8 * 2**20
"""The outbox's log has 4 MiB while its file can grow; the other half is for the journals of the ways."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Reserve(Protocol):
    """A reserve; each call blocks for a moment."""

    def make(self) -> bool:
        """Whether it has its place now."""

    def release(self) -> bool:
        """Give it up; whether there was one."""


class NoReserve:
    """For tests and for a device that has a disk of its own for the outbox."""

    def make(self) -> bool:
        return True

    def release(self) -> bool:
        return False


class FileReserve:
    """A file whose blocks are allocated; what is in it does not matter."""

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size

    def make(self) -> bool:
        """Raises OSError: the folder cannot be written."""
        if self._has_size():
            return True
        if shutil.disk_usage(self._path.parent).free < 2 * self._size:
            return False
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._path.unlink(missing_ok=True)
            return False
        return True

    def release(self) -> bool:
        """Raises OSError: the folder cannot be written."""
        had = self._path.exists()
        self._path.unlink(missing_ok=True)
        return had

    def _has_size(self) -> bool:
        return self._path.exists() and self._path.stat().st_blocks * 512 >= self._size
