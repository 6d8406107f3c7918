"""The job `set-sitting`: the cloud tells a recorder in which state the sitting of its hall is."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from contract.captions import Recognition, SetSitting
from contract.jobs import DETAIL_VALUE_LENGTH_MAX, Execution, Status
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.ports import Outcome

OPEN = "open"


class Sittings(Protocol):
    """Follows the state of a sitting; `run.Captions` does."""

    async def set_sitting(self, told: SetSitting) -> str:
        """See `Captions.set_sitting`."""


class SetSittingOperation:
    """Doing it twice is harmless: a version that is known already changes nothing."""

    def __init__(self, sittings: Sittings, languages: Sequence[str]) -> None:
        """`languages` are those that the recorder's model knows."""
        self._sittings = sittings
        self._languages = languages

    async def perform(self, job: Execution) -> Outcome:
        """Follow the job's document.

        In the details `captions` says for people what the recorder does now, `recogniser` for programs.
        """
        try:
            told = msgspec.convert(job.job_document, SetSitting)
        except msgspec.ValidationError as error:
            return _outcome(Status.REJECTED, "reason", f"not a sitting: {error}")
        try:
            sentence = await self._sittings.set_sitting(told)
        except RefusedError as error:
            return _outcome(Status.REJECTED, "reason", str(error))
        except UnavailableError as error:
            return _outcome(Status.FAILED, "reason", str(error))
        return _outcome(Status.SUCCEEDED, "captions", sentence, recogniser=self._recognition(told))

    def _recognition(self, told: SetSitting) -> Recognition:
        if told.state != OPEN:
            return Recognition.SILENT
        return Recognition.RUNNING if told.lang in self._languages else Recognition.NO_MODEL

    async def resume(self, job: Execution) -> Outcome:
        """The same again."""
        return await self.perform(job)


def _outcome(status: Status, key: str, sentence: str, **more: str) -> Outcome:
    assert status in (Status.SUCCEEDED, Status.FAILED, Status.REJECTED)
    return Outcome(status, {key: sentence[:DETAIL_VALUE_LENGTH_MAX], **more})
