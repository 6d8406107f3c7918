"""One device as a process: the agent's real link over real MQTT, with a sample again and again.

`python -m tests.cloud.devices.device_process PORT DEVICE FOLDER KEEPALIVE_S`, until it is killed.
"""

import asyncio
import os
import random
import sys
import time
from pathlib import Path

from contract import topics
from contract.ids import RANDOM_BYTES, uuid7
from contract.messages import Lane
from contract.telemetry import Sample, TelemetryBatch
from edge_agent.link.journal import SqliteJournal
from edge_agent.link.mqtt import MqttTransport
from edge_agent.link.outbox import Bounds
from edge_agent.link.run import Link

EVERY_S = 0.3


async def live(port: int, device: str, folder: Path, keepalive_s: int) -> None:
    """Connect, and send for ever."""
    now = int(time.time() * 1000)
    boot = uuid7(now, os.urandom(RANDOM_BYTES))
    journal = SqliteJournal(folder / f"{device}.db")
    journal.begin(boot, now)
    link = Link(
        device=device,
        kind="kiosk",
        agent="0.1.0",
        root=topics.ROOT_DEFAULT,
        boot=boot,
        bounds=Bounds(rows_max=1000, bytes_max=1_000_000, window=20, ack_timeout_s=20.0),
        journal=journal,
        transport=MqttTransport(
            host="127.0.0.1", port=port, client_id=device, keepalive_s=keepalive_s, context=None
        ),
        chance=random.Random(),
    )
    running = asyncio.create_task(link.run())
    while not running.done():
        sample = Sample(at=int(time.time() * 1000), values={"outbox_waiting": link.counts.waiting})
        await link.send("telemetry", {}, TelemetryBatch(samples=[sample]), lane=Lane.TELEMETRY, must=False)
        await asyncio.sleep(EVERY_S)
    await running


if __name__ == "__main__":
    asyncio.run(live(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
