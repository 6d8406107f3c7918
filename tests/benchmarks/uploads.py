"""The upload of a large recording by the agent's own client, beside `curl` with the same bytes.

Both send to the same control plane's device listener, over the same mutual TLS, into the same object store:
`curl` in one request, the agent in chunks, as it must to go on after a crash. They take turns. Then an upload
is cut off by a kill of the server, and it is told at which byte it goes on.
"""

import asyncio
import base64
import hashlib
import os
import random
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from contract.recordings import GapReason, recording_id
from edge_agent.errors import UnavailableError
from edge_agent.link.https import DeviceHttps
from edge_agent.recordings import messages as m
from edge_agent.recordings.core import entry
from edge_agent.recordings.records import Kept, Record, Segment
from edge_agent.recordings.segment_files import SegmentFiles, header
from edge_agent.recordings.uploading import CHUNK_BYTES, Uploading
from edge_agent.recordings.uploads_tus import TusUploads, UploadRefusedError
from tests.benchmarks.report import Measurement
from tests.cloud.recordings.place import SESSION, Served, lay, serving

RATE = 48_000
SECONDS = 1800
"""Half an hour of sound, 173 MB; the ratio is that of four hours, which are eight of these."""
RUNS = 3
TIMEOUT_S = 120.0
TARGET = 0.8
CUT_AFTER = 5 * CHUNK_BYTES
RECORDING = recording_id(SESSION, "floor")


def segment(files: SegmentFiles, number: int) -> Segment:
    """A closed segment of noise on the disk."""
    path = files.path(RECORDING, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = header(RATE, SECONDS * RATE) + random.Random(number).randbytes(2 * SECONDS * RATE)
    path.write_bytes(content)
    return Segment(
        segment=number,
        start_ms=(number - 1) * SECONDS * 1000,
        gap_before_ms=0,
        why=GapReason.NONE,
        rate_hz=RATE,
        kept=Kept.CLOSED,
        duration_ms=SECONDS * 1000,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


class Agent:
    """The agent's core of uploads and its tus client, without the rest of it."""

    def __init__(self, served: Served, files: SegmentFiles) -> None:
        self.uploads = TusUploads(DeviceHttps(served.url, served.identity(), TIMEOUT_S), files)
        self.begun_at: list[int] = []

    async def upload(self, one: Segment, each: Callable[[int], None] = lambda _: None) -> None:
        """Upload a segment; `each` is told how far it is."""
        record = Record(recording=RECORDING, session=SESSION, channel="floor", lang="en", segments=(one,))
        core = Uploading(0, random.Random(1))
        effects = core.next([record], 0.0)
        while effects:
            match effects[0]:
                case m.BeginUpload():
                    upload, offset = await self.uploads.begin(record, one)
                    self.begun_at.append(offset)
                    effects = core.begun(m.UploadBegun(upload, offset), 0.0)
                case m.SendChunk(recording, number, upload, offset, length):
                    offset = await self.uploads.send(recording, number, upload, offset, length)
                    each(offset)
                    effects = core.taken(m.ChunkTaken(offset), 0.0)
                case m.AskStored(recording, number):
                    sha256 = await self.uploads.stored(recording, number)
                    stored, effects = core.told(m.StoredTold(sha256), 0.0)
                    assert stored is not None, "the server has another digest"
                    return


def curl(served: Served, files: SegmentFiles, one: Segment) -> None:
    """Begin an upload and send all of it in one request."""
    told = msgspec.to_builtins(entry(one)) | {"session": SESSION, "channel": "floor", "lang": "en"}
    del told["size"]
    pairs = {key: base64.b64encode(str(value).encode()).decode() for key, value in told.items()}
    metadata = ",".join(f"{key} {value}" for key, value in pairs.items())
    who = served.identity()
    words = ["curl", "-sS", "--fail-with-body", "--cacert", str(who.trusted), "--cert", str(who.certificate)]
    words += ["--key", str(who.key), "-H", "Tus-Resumable: 1.0.0", "-D", "-", "-H", "Expect:"]
    begun = subprocess.run(
        [
            *words,
            *("-X", "POST", "-H", f"Upload-Length: {one.size}", "-H", f"Upload-Metadata: {metadata}"),
            f"{served.url}/api/v1/recordings/uploads",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    place = re.search(r"(?im)^location: (\S+)", begun.stdout)
    assert place is not None, begun.stdout
    subprocess.run(
        [
            *words,
            *("-X", "PATCH", "-H", "Upload-Offset: 0", "-H", "Content-Type: application/offset+octet-stream"),
            *("-T", str(files.path(RECORDING, one.segment)), f"{served.url}{place[1]}"),
        ],
        check=True,
        capture_output=True,
    )


def timed(do: Callable[[], object]) -> float:
    """Seconds that it takes."""
    os.sync()
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun


async def cut_off(folder: Path, files: SegmentFiles, one: Segment) -> tuple[int, int]:
    """Kill the server in the middle of a chunk: the byte that was safe before, and where it goes on."""
    safe = 0
    with serving(folder) as served:

        def each(offset: int) -> None:
            nonlocal safe
            safe = offset
            if offset >= CUT_AFTER:
                asyncio.get_running_loop().call_later(0.01, served.process.kill)

        try:
            await Agent(served, files).upload(one, each)
        except (UnavailableError, UploadRefusedError):
            pass
    with serving(folder) as served:
        again = Agent(served, files)
        await again.upload(one)
        assert served.objects.size(f"recordings/{RECORDING}/{one.segment:04d}.wav") == one.size
    return safe, again.begun_at[0]


def run() -> list[Measurement]:
    """Rates of both, turn by turn, and the byte at which a cut-off upload went on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay(folder)
        files = SegmentFiles(folder / "device", 96_000)
        ours, theirs = [], []
        with serving(folder) as served:
            agent = Agent(served, files)
            for turn in range(RUNS):
                one, two = segment(files, 2 * turn + 1), segment(files, 2 * turn + 2)
                both: list[tuple[list[float], Callable[[], object]]] = [
                    (ours, lambda one=one: asyncio.run(agent.upload(one))),
                    (theirs, lambda two=two: curl(served, files, two)),
                ]
                for took, do in both if turn % 2 else both[::-1]:
                    took.append(timed(do))
                files.delete(RECORDING, one.segment)
                files.delete(RECORDING, two.segment)
        safe, went_on = asyncio.run(cut_off(folder, files, segment(files, 2 * RUNS + 1)))
    size = 2 * SECONDS * RATE / 1e6
    rate, plain = size / statistics.median(ours), size / statistics.median(theirs)
    return [
        Measurement(
            "upload",
            rate,
            "MB/s",
            "curl, one request, same bytes and TLS",
            plain,
            rate / plain,
            f"ratio >= {TARGET}",
            rate / plain >= TARGET,
        ),
        Measurement(
            "upload_resumed_at",
            float(went_on),
            "B",
            "recorded before the kill",
            float(safe),
            went_on / safe,
            "value >= baseline",
            went_on >= safe > 0,
        ),
    ]
