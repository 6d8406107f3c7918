"""Waiting for what has no event to wait for, such as a row in a database."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
WAIT_S = 20.0


def until(find: Callable[[], T | None], wait_s: float = WAIT_S) -> T:
    """What `find` gives once it gives something."""
    end = time.monotonic() + wait_s
    pause = threading.Event()
    while (found := find()) is None:
        assert time.monotonic() < end, f"did not happen within {wait_s} s"
        pause.wait(0.01)
    return found
