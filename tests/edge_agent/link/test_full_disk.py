"""A disk that is really full: journal, reserve and link in a process on a small file system of its own.

Needs root, for a name space with a tmpfs.
"""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
COMPACTION = """
import sqlite3, sys
from pathlib import Path
from contract.messages import Lane
from edge_agent.errors import UnavailableError
from edge_agent.link import compaction, journal
from edge_agent.link.journal import Deletion, SqliteJournal
from tests.edge_agent.link.test_compaction import AT, keep, message, pragma, sizes, write_as_before
from tests.edge_agent.link.test_full_disk import filled

folder = Path(sys.argv[1])
path, old = folder / "link.db", folder / "old.db"


def seqs(kept):
    found = [row.seq for row in kept.kept()]
    assert all(kept.read("b1", Lane.EVENTS, seq).body == message(seq).body for seq in found)
    return found


kept = SqliteJournal(path)
kept.begin("b1", AT)
keep(kept, 1000)
kept.write([], [Deletion("b1", Lane.EVENTS, 0, 995)])
kept._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
before = sizes(path)
assert kept.loose and before[0] > 4 * 2**20 and before[1] == 0
with filled(folder):
    try:
        kept.give_back()
    except UnavailableError as error:
        print("no room for the log:", error)
    else:
        raise AssertionError("it found room on a full disk")
    assert kept.loose and seqs(kept) == list(range(996, 1001)) and sizes(path)[0] == before[0]
while kept.loose:
    kept.give_back()
assert sizes(path)[0] < before[0] / 2 and seqs(kept) == list(range(996, 1001))
kept.write([message(seq) for seq in range(1001, 2001)], [Deletion("b1", Lane.EVENTS, 0, 1000)])
kept.write([], [Deletion("b1", Lane.EVENTS, 0, 1995)])
held = sum(sizes(path))
with filled(folder):  # now the log has room of its own, and a full disk gets what the journal does not need
    while kept.loose:
        kept.give_back()
    assert sum(sizes(path)) < held - 2**21 and seqs(kept) == list(range(1996, 2001))
kept.close()

write_as_before(old, 300)
with filled(folder, leave=2**20):
    kept = SqliteJournal(old)
    assert pragma(old, "auto_vacuum") == 0 and len(seqs(kept)) == 300
    kept.write([], [Deletion("b1", Lane.EVENTS, 0, 1)])
    kept.close()
kept = SqliteJournal(old)
assert pragma(old, "auto_vacuum") == 2 and len(seqs(kept)) == 299
kept.close()
print("recovered")
"""


@contextmanager
def filled(folder: Path, leave: int = 0) -> Iterator[None]:
    """The disk has no room but `leave` bytes."""
    other, last = folder / "something-else", folder / "the-last"
    last.write_bytes(b"x" * leave)
    with other.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    last.unlink()
    yield
    other.unlink()


def test_a_full_disk_takes_what_must_be_kept_evicts_nothing_and_recovers(tmp_path: Path) -> None:
    tell(STORY, tmp_path)


def test_on_a_full_disk_a_journal_that_cannot_become_smaller_loses_nothing(tmp_path: Path) -> None:
    tell(COMPACTION, tmp_path)


def tell(story: str, tmp_path: Path) -> None:
    """Run it on a small disk of its own, to its end."""
    assert os.geteuid() == 0, "run this test as root: it mounts a small tmpfs in a name space of its own"
    assert shutil.which("unshare"), "install the Debian package util-linux"
    folder = tmp_path / "disk"
    folder.mkdir()
    script = tmp_path / "story.py"
    script.write_text(story)
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
