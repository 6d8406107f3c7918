"""A disk that is really full: journal, reserve and link in a process on a small file system of its own.

Needs root, for a name space with a tmpfs.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
STORY = """
import asyncio, random, sys, time
from pathlib import Path
from contract.messages import Lane
from contract.telemetry import Sample, TelemetryBatch
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.link.journal import SqliteJournal
from edge_agent.link.outbox import Bounds
from edge_agent.link.reserve import FileReserve
from edge_agent.link.run import Link
from edge_agent.main import _journals
from tests.edge_agent.link.test_run import FakeTransport, ack, running, up

folder = Path(sys.argv[1])
BATCH = TelemetryBatch(samples=[Sample(at=1_795_423_200_000, values={"cpu_pct": 1.5})])
LARGE = TelemetryBatch(samples=[Sample(at=1_795_423_200_000, values={"x" * 3000: 1.5})])


def link_of(boot, transport):
    reserve = FileReserve(folder / "link.reserve", 2 * 2**20)
    journal, _ = _journals(folder, reserve, boot, 1_795_423_200_000)
    return journal, Link(
        device="kiosk-001", kind="kiosk", agent="1", root="fleet/v1", boot=boot,
        bounds=Bounds(20_000, 40_000_000, 20, 20.0, reserve_every_s=0.2), journal=journal,
        transport=transport, chance=random.Random(1), reserve=reserve,
    )


def fill():
    with (folder / "something-else").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            print("filled:", error.strerror)


async def main():
    transport = FakeTransport()
    journal, link = link_of("b1", transport)
    async with running(link):
        await up(transport)
        await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        assert (folder / "link.reserve").exists() and not link.full
        fill()
        while link.counts.dropped == 0:  # the write-ahead log has some room of its own
            await link.send("telemetry", {}, LARGE, lane=Lane.TELEMETRY, must=False)
        for _ in range(100):
            await link.send("telemetry", {}, LARGE, lane=Lane.TELEMETRY, must=False)
        for _ in range(20):
            await link.send("telemetry", {}, LARGE, lane=Lane.EVENTS, must=True)
        assert link.full and not (folder / "link.reserve").exists()
        print("dropped", link.counts.dropped, "refused", link.counts.refused)
        assert link.counts.dropped > 0 and link.counts.refused == 0
        fill()
        refused = 0
        while not refused and link.counts.waiting < 5000:
            try:
                await link.send("telemetry", {}, LARGE, lane=Lane.EVENTS, must=True)
            except RefusedError:
                refused += 1
        assert refused, "a disk without any room refuses"
        kept = {(m.lane, m.seq) for m in journal.kept()}
    journal.close()
    try:
        link_of("b2", FakeTransport())
    except UnavailableError as error:
        print("a start on a disk without any room:", error)
    else:
        raise AssertionError("the reserve is used up, and the agent started")
    (folder / "something-else").unlink()
    transport = FakeTransport()
    journal, link = link_of("b3", transport)
    assert {(m.lane, m.seq) for m in journal.kept()} == kept, "nothing that was stored is evicted"
    async with running(link):
        await up(transport)
        async with asyncio.timeout(20):
            while link.full:
                await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        assert (folder / "link.reserve").exists()
        before = link.counts.dropped
        await link.send("telemetry", {}, BATCH, lane=Lane.TELEMETRY, must=False)
        assert link.counts.dropped == before
    journal.close()
    print("recovered")


asyncio.run(main())
"""


def test_a_full_disk_takes_what_must_be_kept_evicts_nothing_and_recovers(tmp_path: Path) -> None:
    assert os.geteuid() == 0, "run this test as root: it mounts a small tmpfs in a name space of its own"
    assert shutil.which("unshare"), "install the Debian package util-linux"
    folder = tmp_path / "disk"
    folder.mkdir()
    script = tmp_path / "story.py"
    script.write_text(STORY)
    mount = f'mount -t tmpfs -o size=12m tmpfs "{folder}" && exec "$0" "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, sys.executable, str(script), str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "recovered" in done.stdout
