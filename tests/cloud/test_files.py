"""Small files of the cloud are whole or not there."""

import stat
from pathlib import Path

import pytest

from cloud.files import write_durably


def test_a_file_is_replaced_as_a_whole_and_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"one")
    (tmp_path / ".file.new").write_bytes(b"left by a power cut")
    write_durably(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_does_not_take_it_is_told_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"one")
    (tmp_path / ".file.new").mkdir()  # stands for a full disk: the new file cannot be written
    with pytest.raises(OSError, match="file"):
        write_durably(path, b"two")
    assert path.read_bytes() == b"one"
