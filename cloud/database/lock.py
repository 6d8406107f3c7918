"""One process per executor id: two would run the same workflows, and print a document twice."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud.errors import SettingsError


@contextmanager
def executor_lock(folder: Path, executor_id: str) -> Iterator[None]:
    """Hold `executor_id` while inside; the system lets go of it when the process ends, however it ends.

    Raises:
        SettingsError: another process holds it.
    """
    path = folder / f"executor-{executor_id}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(
                f"a control plane with executor_id {executor_id} runs already in {folder}; "
                "stop it, or give this one another executor_id"
            ) from error
        yield
    finally:
        os.close(descriptor)
