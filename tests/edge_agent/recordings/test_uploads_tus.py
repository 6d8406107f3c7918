"""The tus client against the real device listener: what the server says is what the core is told."""

import asyncio
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.recordings import GapReason, UploadProblem, recording_id
from edge_agent.errors import UnavailableError
from edge_agent.link.https import DeviceHttps
from edge_agent.recordings.records import Kept, Record, Segment
from edge_agent.recordings.segment_files import SegmentFiles
from edge_agent.recordings.uploads_tus import TusUploads, UploadRefusedError
from tests.cloud.recordings.place import HALLS, SESSION, Served, lay, serving
from tests.edge_agent.broker import free_port

NAME = recording_id(SESSION, "floor")
RATE = 48_000
TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("plane")
    lay(folder)
    with serving(folder) as served:
        yield served


@pytest.fixture
def files(tmp_path: Path) -> SegmentFiles:
    return SegmentFiles(tmp_path / "recordings", 96_000)


def closed(files: SegmentFiles, number: int, size: int = 200_000) -> tuple[Record, Segment]:
    files.begin(NAME, number, RATE)
    files.write(hashlib.shake_128(str(number).encode()).digest(size))
    whole = files.close(NAME, number, RATE, None)
    segment = Segment(
        segment=number,
        start_ms=number * 5000,
        gap_before_ms=0,
        why=GapReason.NONE,
        rate_hz=RATE,
        kept=Kept.CLOSED,
        duration_ms=whole.samples * 1000 // RATE,
        size=whole.size,
        sha256=whole.sha256,
    )
    return Record(recording=NAME, session=SESSION, channel="floor", lang="en", segments=(segment,)), segment


def client(served: Served, files: SegmentFiles, hall: str = HALLS[0]) -> TusUploads:
    return TusUploads(DeviceHttps(served.url, served.identity(hall), TIMEOUT_S), files)


async def test_in_parts_and_once_more_from_where_it_was(served, files):
    record, segment = closed(files, 1)
    uploads = client(served, files)
    upload, offset = await uploads.begin(record, segment)
    assert offset == 0
    assert await uploads.send(NAME, 1, upload, 0, 70_000) == 70_000
    assert await uploads.begin(record, segment) == (upload, 70_000)
    assert await uploads.stored(NAME, 1) == ""
    assert await uploads.send(NAME, 1, upload, 70_000, segment.size - 70_000) == segment.size
    assert await uploads.stored(NAME, 1) == segment.sha256
    content = b"".join(served.objects.stream(f"recordings/{NAME}/0001.wav"))
    assert content == files.path(NAME, 1).read_bytes()
    with pytest.raises(UploadRefusedError, match="stored already") as refused:
        await uploads.begin(record, segment)
    assert refused.value.problem is UploadProblem.STORED


async def test_refusals_carry_their_problem(served, files):
    record, segment = closed(files, 2)
    uploads = client(served, files)
    upload, _ = await uploads.begin(record, segment)
    with pytest.raises(UploadRefusedError) as refused:
        await uploads.send(NAME, 2, upload, 500, 1000)
    assert refused.value.problem is UploadProblem.OFFSET
    other = client(served, files, HALLS[1])
    for ask in (other.begin(record, segment), other.send(NAME, 2, upload, 0, 100), other.stored(NAME, 2)):
        with pytest.raises(UploadRefusedError) as refused:
            await ask
        assert refused.value.problem in (UploadProblem.NOT_YOURS, UploadProblem.GONE)
    files.path(NAME, 2).write_bytes(bytes(segment.size))
    with pytest.raises(UploadRefusedError) as refused:
        await uploads.send(NAME, 2, upload, 0, segment.size)
    assert refused.value.problem is UploadProblem.CORRUPT


async def test_a_file_that_is_gone_is_refused_and_nothing_sent(served, files):
    record, segment = closed(files, 3)
    uploads = client(served, files)
    upload, _ = await uploads.begin(record, segment)
    files.delete(NAME, 3)
    with pytest.raises(UploadRefusedError, match="is not there"):
        await uploads.send(NAME, 3, upload, 0, segment.size)


async def test_an_answer_that_comes_before_all_was_sent_is_heard(served, files):
    _, segment = closed(files, 4, size=20_000_000)
    uploads = client(served, files)
    with pytest.raises(UploadRefusedError) as refused:
        await uploads.send(NAME, 4, "/api/v1/recordings/uploads/" + "0" * 36, 0, segment.size)
    assert refused.value.problem is UploadProblem.GONE


async def test_sending_can_be_broken_off_and_the_server_keeps_what_came(served, files):
    record, segment = closed(files, 5, size=30_000_000)
    uploads = client(served, files)
    upload, _ = await uploads.begin(record, segment)
    sending = asyncio.create_task(uploads.send(NAME, 5, upload, 0, segment.size))
    await asyncio.sleep(0)
    uploads.close()
    with pytest.raises(UnavailableError, match="broken off"):
        await sending
    again = client(served, files)
    _, offset = await again.begin(record, segment)
    with pytest.raises((UploadRefusedError, UnavailableError)):
        await again.send(NAME, 5, upload, segment.size, 0)
    assert offset < segment.size


async def test_nobody_there_is_unavailable(served, files):
    record, segment = closed(files, 6)
    nobody = DeviceHttps(f"https://localhost:{free_port()}", served.identity(), TIMEOUT_S)
    with pytest.raises(UnavailableError):
        await TusUploads(nobody, files).begin(record, segment)


def test_curl_knows_the_same_tus(served):
    """A client that nobody here wrote asks what is spoken and for an upload that there is not."""
    who = served.identity()
    words = ["curl", "-sS", "--cacert", who.trusted, "--cert", who.certificate, "--key", who.key]
    place = f"{served.url}/api/v1/recordings/uploads"
    told = subprocess.run(
        [*words, "-X", "OPTIONS", "-D", "-", place], capture_output=True, text=True, check=True
    )
    assert "tus-version: 1.0.0" in told.stdout.lower()
    gone = [*words, "-X", "DELETE", "-H", "Tus-Resumable: 1.0.0", f"{place}/{'0' * 36}"]
    answer = json.loads(subprocess.run(gone, capture_output=True, text=True, check=True).stdout)
    assert (answer["status"], answer["code"]) == (404, "gone")
    strangers = subprocess.run(
        ["curl", "-sS", "--cacert", who.trusted, place], capture_output=True, text=True, check=False
    )
    assert strangers.returncode != 0
