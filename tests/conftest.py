"""Where tests write, and which of them one worker plays alone: those whose fixture takes minutes to make.

pytest-xdist 3.8 no longer sees its own groups under pytest 9 (the suffix that it adds to an id is lost on
the way), so that each worker would boot machines and cities of its own.
"""

import os
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = {
    "tests/ansible/test_booted.py": "machines",
    "tests/ansible/test_lab.py": "machines",
    "tests/system/": "city",
    "tests/conformance/": "things",
    "tests/cloud/test_api.py": "exposed",
    "tests/cloud/test_hostile_devices.py": "exposed",
    "tests/cloud/documents/test_killed.py": "mortals",
    "tests/cloud/jobs/test_killed.py": "mortals",
    "tests/cloud/recordings/test_killed.py": "mortals",
}
"""Paths, and what their tests share; every other file is a scope of its own."""


MEMORY = Path("/dev/shm")
"""Where temporary folders are: on a disk, our programs wait some milliseconds for each thing that they keep.

What tests do to them (kill -9) never loses what the kernel has; the disk is what `docs/measured.md` measures.
Where there is none, too little of it, or nothing in it may be run, it is the system's own temporary folder.
"""
ROOM_BYTES = 6_000_000_000
"""The machines of `tests/ansible` write the most: 2 GB."""


class ByFixture(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Gives a worker whole files, and all files that share something to the same worker."""

    def _split_scope(self, nodeid: str) -> str:
        for path, shared in TOGETHER.items():
            if nodeid.startswith(path):
                return shared
        return nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFixture:
    """Take the place of `--dist`."""
    return ByFixture(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(tuple(TOGETHER)))


def pytest_configure(config: pytest.Config) -> None:
    """Leave the order to us, and write into memory."""
    config.option.loadscopereorder = False
    if _has_room(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def _has_room(folder: Path) -> bool:
    """Whether tests can write there and run what they wrote."""
    if not os.access(folder, os.W_OK):
        return False
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize >= ROOM_BYTES and not told.f_flag & os.ST_NOEXEC
