"""The memory on the disk."""

import pytest

from contract.captions import SetSitting
from edge_agent.captions.memory import Memory, Sitting
from edge_agent.captions.sitting_file import SittingFile
from edge_agent.errors import MalformedError, UnavailableError

MEMORY = Memory(
    sittings=(
        Sitting(
            told=SetSitting(session="s", channel="floor", state="open", version=3, lang="en", opened_at=1),
            last_segment=7,
        ),
    )
)


def test_what_was_saved_is_loaded(tmp_path):
    SittingFile(tmp_path / "sittings.json").save(MEMORY)
    assert SittingFile(tmp_path / "sittings.json").load() == MEMORY
    assert [path.name for path in tmp_path.iterdir()] == ["sittings.json"]


def test_nothing_saved_is_an_empty_memory(tmp_path):
    assert SittingFile(tmp_path / "sittings.json").load() == Memory()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b'{"sittings": 1}', b'{"sittings": [{"told": {}}]}'],
)
def test_a_damaged_file_is_not_guessed_at(tmp_path, content):
    path = tmp_path / "sittings.json"
    path.write_bytes(content)
    with pytest.raises(MalformedError, match=r"sittings\.json"):
        SittingFile(path).load()
    assert SittingFile(path).set_aside().read_bytes() == content
    assert SittingFile(path).load() == Memory()


def test_a_state_from_a_newer_agent_is_not_guessed_at(tmp_path):
    path = tmp_path / "sittings.json"
    SittingFile(path).save(MEMORY)
    path.write_bytes(path.read_bytes().replace(b'"open"', b'"half open"'))
    with pytest.raises(MalformedError, match="does not know"):
        SittingFile(path).load()


def test_a_disk_that_does_not_take_it_is_told(tmp_path):
    path = tmp_path / "sittings.json"
    SittingFile(path).save(MEMORY)
    path.with_name(path.name + ".new").mkdir()  # stands for a full disk: the new file cannot be written
    with pytest.raises(UnavailableError, match="cannot be written"):
        SittingFile(path).save(Memory())
    assert SittingFile(path).load() == MEMORY
