"""Carries out what the twin's core decides: asks, writes down, turns the knobs, reports."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from msgspec import UNSET

from contract.messages import encode, read
from contract.twin import Answer, Delta, Documents, ErrorCode, Path, Rejection, Request, Section
from edge_agent.errors import UnavailableError
from edge_agent.ports import Link
from edge_agent.twin import core as t
from edge_agent.twin.memory import Memory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Knob:
    """One setting of the running agent: `read` says how it is, `turn` changes it at once."""

    read: Callable[[], Any]
    turn: Callable[[Any], None]


class Twin:
    """The twin of one device. `knobs` stand as the settings file wants them; `facts` are reported, too."""

    def __init__(self, *, link: Link, memory: Memory, knobs: Mapping[Path, Knob], facts: Section) -> None:
        self._link = link
        self._memory = memory
        self._knobs = knobs
        self._core = t.Twin(link.boot, facts | {"boot": link.boot}, self._values(), memory.load())
        self._events: asyncio.Queue[t.Event] = asyncio.Queue()
        put = self._events.put_nowait
        link.on_connected(lambda: put(t.Connected()))
        link.on_disconnected(lambda: put(t.Disconnected()))
        link.subscribe("twin-get-accepted", self._on_told)
        link.subscribe("twin-get-rejected", self._on_not_told)
        link.subscribe("twin-update-accepted", self._on_accepted)
        link.subscribe("twin-update-rejected", self._on_rejected)
        link.subscribe("twin-delta", lambda _ids, body: put(t.Changed(read(body, Delta).version)))
        link.subscribe(
            "twin-documents", lambda _ids, body: put(t.Changed(read(body, Documents).current.version))
        )
        link.subscribe("twin-delete-accepted", lambda _ids, _body: put(t.Changed(None)))

    async def run(self) -> None:
        """Keep to what is desired until cancelled."""
        event: t.Event = t.Started()
        while True:
            await self._carry_out(self._core.handle(event, time.monotonic()))
            event = await self._next()

    async def _next(self) -> t.Event:
        deadline = self._core.deadline()
        try:
            async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.monotonic())):
                return await self._events.get()
        except TimeoutError:
            return t.TimePassed()

    async def _carry_out(self, effects: Sequence[t.Effect]) -> None:
        for effect in effects:
            match effect:
                case t.Ask(token):
                    self._link.publish("twin-get", {}, encode(Request(client_token=token)))
                case t.Keep(values):
                    await self._keep(values)
                case t.Do(values):
                    self._do(values)
                case t.Report(update):
                    self._link.publish("twin-update", {}, encode(update))
                case _:
                    assert_never(effect)

    async def _keep(self, values: t.Values) -> None:
        """What a full disk does not take is written down some other time, and done all the same."""
        try:
            await asyncio.to_thread(self._memory.save, values)
        except UnavailableError as error:
            log.warning("desired_settings_not_kept", extra={"sentence": str(error)})
            self._events.put_nowait(t.NotKept())

    def _do(self, values: t.Values) -> None:
        for path, value in values.items():
            knob = self._knobs[path]
            if knob.read() != value:
                knob.turn(value)
                log.info("setting_changed", extra={"setting": ".".join(path), "value": knob.read()})
        self._events.put_nowait(t.Did(self._values()))

    def _values(self) -> dict[Path, Any]:
        return {path: knob.read() for path, knob in self._knobs.items()}

    def _on_told(self, _ids: Mapping[str, str], payload: bytes) -> None:
        answer = read(payload, Answer)
        desired, reported = answer.state.desired, answer.state.reported
        self._events.put_nowait(
            t.Told(
                answer.client_token,
                answer.version,
                {} if desired is UNSET or desired is None else desired,
                {} if reported is UNSET or reported is None else reported,
            )
        )

    def _on_not_told(self, _ids: Mapping[str, str], payload: bytes) -> None:
        rejection = read(payload, Rejection)
        if rejection.code == ErrorCode.NOT_FOUND:
            self._events.put_nowait(t.Told(rejection.client_token, None, {}, {}))
        else:
            self._refused(rejection)

    def _on_accepted(self, _ids: Mapping[str, str], payload: bytes) -> None:
        answer = read(payload, Answer)
        self._events.put_nowait(t.Accepted(answer.client_token, answer.version))

    def _on_rejected(self, _ids: Mapping[str, str], payload: bytes) -> None:
        self._refused(read(payload, Rejection))

    def _refused(self, rejection: Rejection) -> None:
        log.warning(
            "twin_request_rejected", extra={"code": rejection.code, "sentence": rejection.message[:200]}
        )
        self._events.put_nowait(t.Rejected(rejection.client_token, rejection.code))
