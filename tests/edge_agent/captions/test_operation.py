"""The job `set-sitting`."""

from typing import Any

import pytest

from contract.captions import SetSitting
from contract.jobs import Execution, Status
from edge_agent.captions.operation import SetSittingOperation
from edge_agent.errors import RefusedError, UnavailableError

DOCUMENT = {
    "operation": "set-sitting",
    "session": "s1",
    "channel": "floor",
    "state": "open",
    "version": 2,
    "lang": "en",
    "opened_at": 1,
}


class Sittings:
    """Answers or refuses, as a test wants it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.told: list[SetSitting] = []

    async def set_sitting(self, told: SetSitting) -> str:
        if self.error is not None:
            raise self.error
        self.told.append(told)
        return "recognising en"


def job(document: dict[str, Any] | None) -> Execution:
    return Execution(
        job_id="j",
        thing_name="hall-01",
        status=Status.IN_PROGRESS,
        version_number=1,
        queued_at=1,
        last_updated_at=1,
        job_document=document,
    )


async def test_it_does_what_the_document_says_and_tells_what_the_recorder_does_now():
    sittings = Sittings()
    operation = SetSittingOperation(sittings, ["en"])
    for do in (operation.perform, operation.resume):
        outcome = await do(job(DOCUMENT))
        assert outcome.status is Status.SUCCEEDED
        assert outcome.details == {"captions": "recognising en", "recogniser": "running"}
    assert sittings.told[0].version == 2


@pytest.mark.parametrize(
    ("change", "recogniser"), [({"lang": "sq"}, "no-model"), ({"state": "paused"}, "silent")]
)
async def test_programs_read_what_the_recorder_does(change: dict[str, Any], recogniser: str):
    outcome = await SetSittingOperation(Sittings(), ["en"]).perform(job(DOCUMENT | change))
    assert outcome.details["recogniser"] == recogniser


@pytest.mark.parametrize(
    "document", [None, {}, {**DOCUMENT, "version": "x"}, {**DOCUMENT, "operation": "restart-agent"}]
)
async def test_a_document_that_is_no_sitting_is_rejected(document):
    outcome = await SetSittingOperation(Sittings(), ["en"]).perform(job(document))
    assert outcome.status is Status.REJECTED
    assert outcome.details["reason"].startswith("not a sitting: ")


@pytest.mark.parametrize(
    ("error", "status"),
    [(RefusedError("no"), Status.REJECTED), (UnavailableError("no"), Status.FAILED)],
)
async def test_what_goes_wrong_is_told(error, status):
    outcome = await SetSittingOperation(Sittings(error), ["en"]).perform(job(DOCUMENT))
    assert (outcome.status, outcome.details) == (status, {"reason": "no"})
