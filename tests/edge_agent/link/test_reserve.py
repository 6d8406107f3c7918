"""The reserve on the disk: it takes room while there is some, and gives it when there is none."""

import os
import shutil
from pathlib import Path

import pytest

from edge_agent.link.reserve import FileReserve

SIZE = 300_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "link.reserve"


def test_it_takes_room_on_the_disk_and_gives_it_back(path: Path) -> None:
    reserve = FileReserve(path, SIZE)
    assert not reserve.release()
    assert reserve.make()
    assert path.stat().st_blocks * 512 >= SIZE
    assert reserve.make(), "it is there already"
    assert reserve.release()
    assert not path.exists()
    assert not reserve.release()


def test_one_that_was_half_made_is_made_anew(path: Path) -> None:
    path.write_bytes(b"x")
    os.truncate(path, SIZE)
    assert FileReserve(path, SIZE).make()
    assert path.stat().st_blocks * 512 >= SIZE


def test_it_is_not_made_where_there_is_no_room_for_it_twice(path: Path) -> None:
    free = shutil.disk_usage(path.parent).free
    assert not FileReserve(path, free // 2 + 2**30).make()
    assert not path.exists()


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        FileReserve(tmp_path / "gone" / "link.reserve", SIZE).make()
