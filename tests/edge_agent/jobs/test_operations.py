"""The two operations of every device."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.jobs import Execution, Status
from edge_agent.errors import MalformedError, RefusedError, UnavailableError
from edge_agent.jobs.diagnostics import BUNDLE_BYTES_MAX, CollectDiagnostics
from edge_agent.jobs.restart import RestartAgent

JOB = Execution(
    job_id="job-1",
    thing_name="kiosk-001",
    status=Status.IN_PROGRESS,
    version_number=2,
    queued_at=1,
    last_updated_at=1,
)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


class Desk:
    """Takes bundles and answers as it is told."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.bundles: list[bytes] = []

    async def post(self, bundle: bytes) -> Answer:
        self.bundles.append(bundle)
        return self.answer


def collect(tmp_path: Path, desk: Desk, **facts: object) -> CollectDiagnostics:
    return CollectDiagnostics(data_dir=tmp_path, facts=lambda: facts, post=desk.post)


async def test_a_bundle_says_how_the_machine_is_and_its_id_goes_into_the_details(tmp_path: Path) -> None:
    desk = Desk(Answer(201, b'{"id": "bundle-7", "more": 1}'))
    outcome = await collect(tmp_path, desk, boot="b1").perform(JOB)
    assert outcome.status is Status.SUCCEEDED
    assert outcome.details["bundle"] == "bundle-7"
    bundle = json.loads(desk.bundles[0])
    assert (bundle["job"], bundle["boot"]) == ("job-1", "b1")
    assert {"python", "system", "packages", "memory", "disk", "load", "own_memory"} <= set(bundle)
    assert len(desk.bundles[0]) < BUNDLE_BYTES_MAX


async def test_sending_it_again_after_a_restart_does_no_harm(tmp_path: Path) -> None:
    desk = Desk(Answer(200, b'{"id": "bundle-7"}'))
    assert (await collect(tmp_path, desk).resume(JOB)).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(403, b""), RefusedError),
        (Answer(413, b""), RefusedError),
        (Answer(201, b"not json"), MalformedError),
        (Answer(201, b"{}"), MalformedError),
    ],
)
async def test_a_bundle_that_is_not_taken_is_a_sentence(
    tmp_path: Path, answer: Answer, error: type[Exception]
) -> None:
    with pytest.raises(error, match="/api/v1/diagnostics"):
        await collect(tmp_path, Desk(answer)).perform(JOB)


async def test_nobody_there_is_unavailable(tmp_path: Path) -> None:
    async def away(_: bytes) -> Answer:
        raise UnavailableError("no answer")

    with pytest.raises(UnavailableError):
        await CollectDiagnostics(data_dir=tmp_path, facts=dict, post=away).perform(JOB)


async def test_a_bundle_has_a_bound(tmp_path: Path) -> None:
    desk = Desk(Answer(201, b'{"id": "x"}'))
    with pytest.raises(RefusedError, match="at most"):
        await collect(tmp_path, desk, large="x" * BUNDLE_BYTES_MAX).perform(JOB)
    assert desk.bundles == []


async def test_a_restart_asks_for_the_end_and_reports_afterwards() -> None:
    asked = asyncio.Event()
    operation = RestartAgent(asked.set)
    task = asyncio.create_task(operation.perform(JOB))
    async with asyncio.timeout(10):
        await asked.wait()
    assert not task.done()
    task.cancel()
    assert (await operation.resume(JOB)).status is Status.SUCCEEDED
