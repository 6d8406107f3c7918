"""A device that talks: the agent's journal, transport and link as `edge_agent.main` puts them together.

`python -m tests.system.talker FOLDER PORT DEVICE EVERY_S` says `must` messages in both lanes until it is
killed; with EVERY_S 0 it says nothing new and ends when the cloud has acknowledged everything. What it begins
to say goes into `tried`, and what the link has promised to keep into `promised`, both synced.
"""

import asyncio
import contextlib
import os
import random
import secrets
import sys
import time
from pathlib import Path

from contract.documents import Evidence, PrintOutcome
from contract.ids import RANDOM_BYTES, uuid7
from contract.messages import Lane
from contract.telemetry import Sample, TelemetryBatch
from contract.topics import ROOT_DEFAULT
from edge_agent.link.identity import identity, mutual
from edge_agent.link.journal import SqliteJournal
from edge_agent.link.mqtt import MqttTransport
from edge_agent.link.outbox import Bounds
from edge_agent.link.run import Link

BOUNDS = Bounds(rows_max=50_000, bytes_max=64_000_000, window=20, ack_timeout_s=2.0)
DRAIN_S = 90.0
LOOK_S = 0.05


class Diary:
    """A file of one word for each message, on the disk when `note` returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, word: str) -> None:
        """One more message: its lane, or what else tells it from others."""
        os.write(self._file, f"{word}\n".encode())
        os.fsync(self._file)


def make_link(folder: Path, port: int, device: str) -> Link:
    """The link of the device whose data is in `folder`, under a boot of its own."""
    now = int(time.time() * 1000)
    boot = uuid7(now, secrets.token_bytes(RANDOM_BYTES))
    journal = SqliteJournal(folder / "link.db")
    journal.begin(boot, now)
    who = identity(folder, folder.parents[1] / "cloud" / "pki" / "ca.pem")
    transport = MqttTransport(
        host="127.0.0.1", port=port, client_id=device, keepalive_s=5, context=lambda: mutual(who)
    )
    return Link(
        device=device,
        kind="kiosk",
        agent="talker",
        root=ROOT_DEFAULT,
        boot=boot,
        bounds=BOUNDS,
        journal=journal,
        transport=transport,
        chance=random.Random(),
    )


async def talk(link: Link, folder: Path, every_s: float) -> None:
    """Say one message in each lane, again and again."""
    tried, promised = Diary(folder / "tried"), Diary(folder / "promised")
    evidence = Evidence(document="doc-1", job="job-1", outcome=PrintOutcome.PRINTED)
    while True:
        batch = TelemetryBatch(samples=[Sample(at=int(time.time() * 1000), values={"uptime_s": 1})])
        for lane, name, ids, body in (
            (Lane.EVENTS, "evidence", {"document": "doc-1"}, evidence),
            (Lane.TELEMETRY, "telemetry", {}, batch),
        ):
            tried.note(lane)
            await link.send(name, ids, body, lane=lane, must=True)
            promised.note(lane)
        await asyncio.sleep(every_s)


async def drain(link: Link) -> None:
    """Wait until the cloud has everything."""
    async with asyncio.timeout(DRAIN_S):
        while link.counts.waiting or not link.connected:
            await asyncio.sleep(LOOK_S)  # an acknowledgement gives its caller no event


async def main(folder: Path, port: int, device: str, every_s: float) -> None:
    """Until killed, or until everything is acknowledged."""
    link = make_link(folder, port, device)
    running = asyncio.create_task(link.run())
    await (talk(link, folder, every_s) if every_s else drain(link))
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    where, at, who, often = sys.argv[1:]
    asyncio.run(main(Path(where), int(at), who, float(often)))
