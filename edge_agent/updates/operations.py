"""The jobs `apply-update` and `cancel-update`: they end as soon as the word of the cloud is on the disk."""

from typing import Protocol

import msgspec

from contract.errors import MalformedError
from contract.jobs import DETAIL_VALUE_LENGTH_MAX, Execution, Status
from contract.topics import build
from contract.updates import ApplyUpdate, CancelUpdate, check
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.ports import Outcome


class Orders(Protocol):
    """Takes the cloud's word; `run.Updates` does."""

    async def order(self, order: ApplyUpdate) -> None:
        """See `Updates.order`."""

    async def cancel(self, update: str) -> None:
        """See `Updates.cancel`."""


class ApplyUpdateOperation:
    """Doing it twice is harmless: an assignment that is known already changes nothing."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def perform(self, job: Execution) -> Outcome:
        """Write the assignment down."""
        try:
            order = msgspec.convert(job.job_document, ApplyUpdate)
            check(order)
            build("updates", device="device", update=order.update)
            await self._orders.order(order)
        except (msgspec.ValidationError, MalformedError) as error:
            return _refused(f"not an update: {error}")
        except RefusedError as error:
            return _refused(str(error))
        except UnavailableError as error:
            return Outcome(Status.FAILED, {"reason": str(error)})
        return Outcome(Status.SUCCEEDED, {"update": order.update})

    async def resume(self, job: Execution) -> Outcome:
        """The same again."""
        return await self.perform(job)


class CancelUpdateOperation:
    """Takes back what has not been activated."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def perform(self, job: Execution) -> Outcome:
        """Write down that it is cancelled."""
        try:
            told = msgspec.convert(job.job_document, CancelUpdate)
            await self._orders.cancel(told.update)
        except msgspec.ValidationError as error:
            return _refused(f"not a cancellation: {error}")
        except RefusedError as error:
            return _refused(str(error))
        except UnavailableError as error:
            return Outcome(Status.FAILED, {"reason": str(error)})
        return Outcome(Status.SUCCEEDED, {"update": told.update})

    async def resume(self, job: Execution) -> Outcome:
        """The same again."""
        return await self.perform(job)


def _refused(sentence: str) -> Outcome:
    return Outcome(Status.REJECTED, {"reason": sentence[:DETAIL_VALUE_LENGTH_MAX]})
