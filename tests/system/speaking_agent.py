"""The agent as `edge_agent.main` puts it together, with one way more: it says numbered `must` messages.

`python -m tests.system.speaking_agent DIARY EVERY_S --settings FILE` notes in the folder DIARY what it begins
to say (`tried`), what the link has promised to keep (`promised`) and what it has refused (`refused`), as
`lane:number`, each synced. A file `hush` there ends the talk, not the agent.
"""

import asyncio
import sys
import time
from pathlib import Path

from contract.documents import Evidence, PrintOutcome
from contract.messages import Lane
from contract.telemetry import Sample, TelemetryBatch
from edge_agent import main as agent
from edge_agent.errors import RefusedError
from edge_agent.link.https import DeviceHttps
from edge_agent.link.run import Link
from edge_agent.settings import Settings
from tests.system.talker import Diary

METRIC = "recordings_waiting_bytes"
"""Carries the number; a kiosk reports nothing else under this name."""
REASONS = ["a printer that has much to tell " * 30]
"""Makes an event a kilobyte long, so that a disk fills."""


async def speak(link: Link, diary: Path, every_s: float) -> None:
    """Say one message in each lane, again and again; each number has a millisecond of its own."""
    tried, promised, refused = (Diary(diary / name) for name in ("tried", "promised", "refused"))
    number, at = 0, 0
    while not (diary / "hush").exists():
        number, at = number + 1, max(at + 1, int(time.time() * 1000))
        evidence = Evidence(
            document="doc-1", job=f"job-{number}", outcome=PrintOutcome.PRINTED, reasons=REASONS
        )
        batch = TelemetryBatch(samples=[Sample(at=at, values={METRIC: number})])
        for lane, name, ids, body in (
            (Lane.EVENTS, "evidence", {"document": "doc-1"}, evidence),
            (Lane.TELEMETRY, "telemetry", {}, batch),
        ):
            word = f"{lane}:{number}"
            tried.note(word)
            try:
                await link.send(name, ids, body, lane=lane, must=True)
            except RefusedError:
                refused.note(word)
            else:
                promised.note(word)
        await asyncio.sleep(every_s)
    await asyncio.Event().wait()


def main(diary: Path, every_s: float) -> int:
    """The agent's own exit code."""

    def parts(settings: Settings, link: Link, https: DeviceHttps) -> agent.Parts:
        return agent.Parts(tasks={"speech": lambda: speak(link, diary, every_s)})

    agent._parts = parts
    return agent.main()


if __name__ == "__main__":
    where, often = sys.argv[1:3]
    del sys.argv[1:3]
    sys.exit(main(Path(where), float(often)))
