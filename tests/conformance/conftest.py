"""One platform for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.things import Things, start

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder carries the mark `system`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def things(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Things]:
    """The control plane behind `$aws/things`."""
    made = start(tmp_path_factory.mktemp("things"))
    yield made
    made.stop()
