"""Carries out what the jobs core decides: asks, writes down, runs the operation, reports."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from contract import topics
from contract.errors import MalformedError
from contract.jobs import ErrorCode, ExecutionAnswer, Rejection, Request, Status, UpdateAnswer
from contract.messages import encode, read
from edge_agent.errors import AgentError, UnavailableError
from edge_agent.jobs import core as c
from edge_agent.jobs.journal import Journal
from edge_agent.jobs.server_time import ServerClock
from edge_agent.ports import Link, Operation, Outcome, ServerTime

log = logging.getLogger(__name__)


class Jobs:
    """The jobs of one device; `operations` are what it can do, by the name that stands in a job document.

    Those of them that are `unstoppable` go on when their job was cancelled in the cloud.
    """

    def __init__(
        self,
        *,
        link: Link,
        journal: Journal,
        operations: Mapping[str, Operation],
        unstoppable: frozenset[str] = frozenset(),
    ) -> None:
        self._link = link
        self._journal = journal
        self._operations = operations
        self._core = c.Jobs(link.boot, frozenset(operations), journal.entries(), unstoppable)
        self._events: asyncio.Queue[c.Event] = asyncio.Queue()
        self._server_clock = ServerClock()
        self._hears_time: list[Callable[[ServerTime], None]] = []
        self._running: tuple[c.Key, asyncio.Task[None]] | None = None
        link.on_connected(lambda: self._events.put_nowait(c.Connected()))
        link.on_disconnected(lambda: self._events.put_nowait(c.Disconnected()))
        link.subscribe("job-notify-next", lambda _ids, _payload: self._events.put_nowait(c.Notified()))
        link.subscribe("job-start-next-accepted", self._on_handed)
        link.subscribe("job-start-next-rejected", self._on_unanswerable)
        link.subscribe("job-describe-accepted", self._on_described)
        link.subscribe("job-describe-rejected", self._on_not_described)
        link.subscribe("job-update-accepted", self._on_accepted)
        link.subscribe("job-update-rejected", self._on_rejected)

    def on_server_time(self, hear: Callable[[ServerTime], None]) -> None:
        """Call `hear` with the server's time whenever it is told, before the job that came with it begins."""
        self._hears_time.append(hear)

    async def run(self) -> None:
        """Do jobs until cancelled; a cancelled operation is resumed at the next start."""
        async with asyncio.TaskGroup() as group:
            event: c.Event = c.TimePassed()
            while True:
                await self._carry_out(self._core.handle(event, time.monotonic()), group)
                event = await self._next()

    async def _next(self) -> c.Event:
        deadline = self._core.deadline()
        try:
            async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.monotonic())):
                return await self._events.get()
        except TimeoutError:
            return c.TimePassed()

    async def _carry_out(self, effects: Sequence[c.Effect], group: asyncio.TaskGroup) -> None:
        for effect in effects:
            match effect:
                case c.Ask(token):
                    self._server_clock.ask(token, time.monotonic())
                    self._link.publish("job-start-next", {}, encode(Request(client_token=token)))
                case c.Look((job, number), token):
                    look = Request(client_token=token, execution_number=number, include_job_document=False)
                    self._link.publish("job-describe", {"job": job}, encode(look))
                case c.Begin(execution):
                    try:
                        await asyncio.to_thread(self._journal.begin, execution)
                    except UnavailableError as error:
                        log.warning("job_not_begun", extra={"job": execution.job_id, "sentence": str(error)})
                        self._events.put_nowait(c.NotBegun(c.key(execution)))
                        return
                    log.info("job_begun", extra={"job": execution.job_id})
                case c.Attempt(which, attempts):
                    await self._note(which, self._journal.attempt, which, attempts)
                case c.Perform(execution) | c.Resume(execution):
                    work = self._work(effect)
                    task = group.create_task(work, name=f"job {execution.job_id}")
                    self._running = c.key(execution), task
                case c.GiveUp(which):
                    self._give_up(which)
                case c.Conclude(which, outcome):
                    log.info("job_ended", extra={"job": which[0], "status": outcome.status})
                    await self._note(which, self._journal.conclude, which, outcome)
                case c.Report(job, update):
                    self._link.publish("job-update", {"job": job}, encode(update))
                case c.Settle(which, overruled):
                    log.info("job_settled", extra={"job": which[0], "overruled": overruled})
                    await self._note(which, self._journal.settle, which)
                case _:
                    assert_never(effect)

    async def _note(self, which: c.Key, write: Callable[..., None], *values: object) -> None:
        """What a full disk does not take is found out again after a restart; nothing is lost by it."""
        try:
            await asyncio.to_thread(write, *values)
        except UnavailableError as error:
            log.warning("job_not_noted", extra={"job": which[0], "sentence": str(error)})

    async def _work(self, effect: c.Perform | c.Resume) -> None:
        execution = effect.execution
        operation = self._operations[(execution.job_document or {})["operation"]]
        act = operation.perform if isinstance(effect, c.Perform) else operation.resume
        try:
            outcome = await act(execution)
        except (AgentError, MalformedError) as error:
            outcome = Outcome(Status.FAILED, {"reason": str(error)})
        self._events.put_nowait(c.Ended(c.key(execution), outcome))

    def _give_up(self, which: c.Key) -> None:
        if self._running is not None and self._running[0] == which:
            log.warning("job_given_up", extra={"job": which[0]})
            self._running[1].cancel()

    def _on_handed(self, _ids: Mapping[str, str], payload: bytes) -> None:
        answer = read(payload, ExecutionAnswer)
        if answer.execution is not None:  # an id that no report could carry is refused here, and counted
            topics.build("job-update", device=answer.execution.thing_name, job=answer.execution.job_id)
        now = self._server_clock.answered(answer.client_token, answer.timestamp, time.monotonic())
        if now is not None:
            for hear in self._hears_time:
                hear(now)
        self._events.put_nowait(c.Handed(answer.client_token, answer.execution))

    def _on_unanswerable(self, _ids: Mapping[str, str], payload: bytes) -> None:
        rejection = read(payload, Rejection)
        log.warning("jobs_not_answered", extra={"code": rejection.code, "sentence": rejection.message[:200]})
        self._events.put_nowait(c.Unanswerable(rejection.client_token))

    def _on_described(self, _ids: Mapping[str, str], payload: bytes) -> None:
        answer = read(payload, ExecutionAnswer)
        self._events.put_nowait(c.Described(answer.client_token, answer.execution))

    def _on_not_described(self, _ids: Mapping[str, str], payload: bytes) -> None:
        rejection = read(payload, Rejection)
        if rejection.code is ErrorCode.RESOURCE_NOT_FOUND:
            self._events.put_nowait(c.Described(rejection.client_token, None))
        else:
            self._events.put_nowait(c.Unanswerable(rejection.client_token))

    def _on_accepted(self, _ids: Mapping[str, str], payload: bytes) -> None:
        self._events.put_nowait(c.Accepted(read(payload, UpdateAnswer).client_token))

    def _on_rejected(self, ids: Mapping[str, str], payload: bytes) -> None:
        rejection = read(payload, Rejection)
        log.warning("job_report_rejected", extra={"job": ids["job"], "code": rejection.code})
        self._events.put_nowait(c.Rejected(rejection.client_token, rejection.code, rejection.execution_state))
