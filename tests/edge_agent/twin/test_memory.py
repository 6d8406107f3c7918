"""What is desired, on a real disk: kept over a restart, never half, and no obstacle when it is damaged."""

from pathlib import Path

import pytest

from contract.twin import LOG_LEVEL, TELEMETRY_INTERVAL
from edge_agent.errors import UnavailableError
from edge_agent.twin.memory import MemoryFile

KEPT = {TELEMETRY_INTERVAL.path: 60, LOG_LEVEL.path: "debug"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "desired.json"


def test_what_was_saved_is_loaded(path: Path) -> None:
    assert MemoryFile(path).load() == {}
    MemoryFile(path).save(KEPT)
    assert MemoryFile(path).load() == KEPT
    MemoryFile(path).save({})
    assert MemoryFile(path).load() == {}
    assert [each.name for each in path.parent.iterdir()] == ["desired.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"log.level"'])
def test_a_damaged_file_is_as_good_as_none(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert MemoryFile(path).load() == {}
    MemoryFile(path).save(KEPT)
    assert MemoryFile(path).load() == KEPT


def test_what_this_agent_does_not_take_is_not_loaded(path: Path) -> None:
    path.write_text('{"telemetry.interval_s": 5, "log.level": "error", "fan.speed": 3}')
    assert MemoryFile(path).load() == {LOG_LEVEL.path: "error"}


def test_a_disk_that_does_not_take_it_is_told_and_the_old_file_stays(path: Path) -> None:
    MemoryFile(path).save(KEPT)
    path.with_name(path.name + ".new").mkdir()  # stands for a full disk: the new file cannot be written
    with pytest.raises(UnavailableError, match="cannot be written"):
        MemoryFile(path).save({})
    assert MemoryFile(path).load() == KEPT
