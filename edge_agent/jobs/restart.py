"""The operation `restart-agent`: end the process; the service manager starts it again."""

import asyncio
from collections.abc import Callable

from contract.jobs import Execution, Status
from edge_agent.ports import Outcome


class RestartAgent:
    """`request` asks the process to end; that the job had begun is in the journal by then."""

    def __init__(self, request: Callable[[], None]) -> None:
        self._request = request

    async def perform(self, _job: Execution) -> Outcome:
        """Never returns: the process ends, and the next one reports."""
        self._request()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody answers this future; the process ends first")

    async def resume(self, _job: Execution) -> Outcome:
        """The agent runs again, and that was all."""
        return Outcome(Status.SUCCEEDED, {"restarted": "true"})
