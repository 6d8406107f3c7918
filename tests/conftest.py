"""Which tests one worker plays alone: those that share a fixture that takes minutes to make.

pytest-xdist 3.8 no longer sees its own groups under pytest 9 (the suffix that it adds to an id is lost on
the way), so that each worker would boot machines and cities of its own.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = {
    "tests/ansible/test_booted.py": "machines",
    "tests/ansible/test_lab.py": "machines",
    "tests/system/": "city",
    "tests/conformance/": "things",
    "tests/cloud/test_api.py": "exposed",
    "tests/cloud/test_hostile_devices.py": "exposed",
}
"""Paths, and what their tests share; every other file is a scope of its own."""


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
    """Leave the order to us."""
    config.option.loadscopereorder = False
