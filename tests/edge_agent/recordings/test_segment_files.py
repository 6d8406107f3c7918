"""Segments on a real disk: cut at every kind of byte, full, and never readable by others."""

import hashlib
import io
import os
import wave

import pytest

from contract.recordings import GapReason
from edge_agent.errors import UnavailableError
from edge_agent.recordings.memory import Memory
from edge_agent.recordings.records import Kept, Record, Segment
from edge_agent.recordings.segment_files import HEADER_BYTES, SegmentFiles, Whole, header
from tests.edge_agent.recordings.worlds import NAME

RATE = 48_000
PCM = bytes(range(256)) * 40


@pytest.fixture
def files(tmp_path):
    return SegmentFiles(tmp_path / "recordings", sync_bytes=1000)


def begun(files):
    files.begin(NAME, 1, RATE)
    files.write(PCM)
    return files.path(NAME, 1)


def heard(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        return file.readframes(file.getnframes())


def test_a_closed_segment_is_a_wav_file_with_its_digest(files):
    path = begun(files)
    files.write(memoryview(PCM)[200:])
    whole = files.close(NAME, 1, RATE, None)
    content = path.read_bytes()
    assert whole == Whole(
        len(PCM) - 100, HEADER_BYTES + 2 * len(PCM) - 200, hashlib.sha256(content).hexdigest()
    )
    assert heard(path) == PCM + PCM[200:]


def test_the_head_is_as_the_standard_library_writes_it():
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(PCM)
    assert header(RATE, len(PCM) // 2) == out.getvalue()[:HEADER_BYTES]


def test_what_came_after_the_end_is_cut_off(files):
    path = begun(files)
    assert files.close(NAME, 1, RATE, 7).samples == 7
    assert heard(path) == PCM[:14]


@pytest.mark.parametrize(
    "length", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1], ids=lambda n: f"{n} bytes"
)
def test_a_file_cut_off_before_its_first_sample_is_no_segment(files, length):
    path = begun(files)
    os.truncate(path, length)
    again = SegmentFiles(path.parent.parent, 1000)
    assert again.close(NAME, 1, RATE, None) == Whole(0)
    assert not path.exists()


@pytest.mark.parametrize("tail", [2, 3, 4, 5, 999, 1000, 1001, len(PCM) - 1, len(PCM)])
def test_a_file_cut_off_anywhere_is_made_whole(files, tail):
    path = begun(files)
    os.truncate(path, HEADER_BYTES + tail)
    again = SegmentFiles(path.parent.parent, 1000)
    whole = again.close(NAME, 1, RATE, None)
    assert whole.samples == tail // 2
    assert heard(path) == PCM[: tail // 2 * 2]
    assert whole.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    # Power goes again while it is made whole, and it is done again.
    assert again.close(NAME, 1, RATE, None) == whole


def test_a_file_whose_head_was_lost_gets_a_new_one(files):
    path = begun(files)
    with path.open("r+b") as file:
        file.write(bytes(HEADER_BYTES))
    SegmentFiles(path.parent.parent, 1000).close(NAME, 1, RATE, None)
    assert heard(path) == PCM


def test_a_file_that_never_came_to_be_is_no_segment(files):
    assert files.close(NAME, 9, RATE, None) == Whole(0)
    files.delete(NAME, 9)


def test_nobody_else_may_read_them(files):
    path = begun(files)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == path.parent.parent.stat().st_mode & 0o777 == 0o700
    files.close(NAME, 1, RATE, None)
    files.delete(NAME, 1)
    assert not path.parent.exists()


def test_a_full_disk_is_said_and_what_it_took_is_a_segment(files, monkeypatch):
    path = begun(files)
    write, left = io.FileIO.write, [101]

    class Full(io.FileIO):
        def write(self, data):
            if not left[0]:
                raise OSError(28, "No space left on device")
            taken = min(left[0], len(data))
            left[0] -= taken
            return write(self, bytes(data[:taken]))

    files._file = Full(os.dup(files._file.fileno()), "r+b")
    with pytest.raises(UnavailableError, match="No space left on device; free some space"):
        files.write(PCM)
    assert files.close(NAME, 1, RATE, None).samples == (len(PCM) + 101) // 2
    assert heard(path)[: len(PCM)] == PCM


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "recordings").write_text("a file is in the way")
    with pytest.raises(UnavailableError, match="look at the disk"):
        SegmentFiles(tmp_path / "recordings", 1000).begin(NAME, 1, RATE)


def test_it_is_on_the_disk_at_least_every_second(files, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    files.begin(NAME, 1, RATE)
    synced.clear()
    for _ in range(10):
        files.write(PCM[:500])
    assert len(synced) == 5


def test_records_survive_and_a_damaged_one_does_not_stop_the_others(tmp_path):
    memory = Memory(tmp_path / "recordings.db")
    one, two = (Record(recording=name, session="s", channel="c", lang="en") for name in ("one", "two"))
    memory.save(one)
    memory.save(two)
    segment = Segment(
        segment=1, start_ms=0, gap_before_ms=0, why=GapReason.LATE, rate_hz=RATE, kept=Kept.OPEN
    )
    one = one.with_segment(segment)
    memory.save(one)
    memory._db.execute("UPDATE recordings SET record = '{' WHERE recording = 'two'")
    memory.close()
    again = Memory(tmp_path / "recordings.db")
    assert again.load() == ((one,), ["two"])
    again.forget("one")
    assert again.load()[0] == ()
