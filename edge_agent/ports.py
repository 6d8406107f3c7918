"""What the ways of the agent need from one another's side of the process, as small protocols.

The ways never import each other; `main.py` gives each of them what stands here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from contract.captions import SetSitting
from contract.jobs import Execution, Status
from contract.messages import Lane

Handler = Callable[[dict[str, str], bytes], None]
"""Takes the ids of the topic and the payload; runs on the agent's event loop and must not block."""


class Link(Protocol):
    """The way to the cloud, as the other ways see it; `edge_agent.link.run.Link` is the real one.

    Topic names are those of `contract.topics`; `ids` are the topic's ids without `device`.
    """

    @property
    def boot(self) -> str:
        """The id of this start of the agent."""

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted this device and its subscriptions stand."""

    @property
    def full(self) -> bool:
        """Whether no new work may begin: what is under way can still be told, and little more."""

    def stamp(self) -> int:
        """Now, for a sample: ms since 1970 UTC, or since this boot began while the clock is not trusted.

        The link makes a date of such an offset before it sends the sample, or drops and counts it.
        """

    async def send(
        self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct, *, lane: Lane, must: bool
    ) -> None:
        """Keep `body` on the disk until the cloud has stored it; durable when this returns.

        Raises:
            RefusedError: `must` and the outbox is full, or the message is too large. With `must=False` a full
                outbox drops its oldest droppable message and counts it.
        """

    def publish(
        self, topic_name: str, ids: Mapping[str, str], payload: bytes, qos: Literal[0, 1] = 1
    ) -> None:
        """Publish now and keep nothing; dropped while the link is down."""

    def publish_live(self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct) -> None:
        """Publish `body` in an envelope of the live lane, at QoS 0; dropped while the link is down."""

    def subscribe(self, topic_name: str, handler: Handler) -> None:
        """Before the link runs: call `handler` for each message of the topic to this device."""

    def on_connected(self, handler: Callable[[], None]) -> None:
        """Before the link runs: call `handler` whenever the link has come up."""

    def on_disconnected(self, handler: Callable[[], None]) -> None:
        """Before the link runs: call `handler` whenever the link has gone down."""


SelfTest = Mapping[str, Callable[[], Awaitable[str]]]
"""By the name of a piece of hardware: a check that answers nothing, or a sentence that says what is wrong."""


class Occupancy(Protocol):
    """Whether somebody uses this device now, and a way to let nobody begin; called on the event loop."""

    def busy(self) -> str:
        """Why nothing may be interrupted now, one sentence for staff; empty when something may."""

    def close(self) -> None:
        """From now on take nothing new, and say so to people."""

    def open(self) -> None:
        """Take new work again."""


@dataclass(frozen=True)
class ServerTime:
    """What the server's clock says now: ms since 1970 UTC, not before the one and not after the other."""

    earliest_ms: int
    latest_ms: int


class SoundSink(Protocol):
    """Follows a microphone that another way has in its hands, and the sittings that it is used for.

    Positions count samples of this start of the agent. Every call returns at once and raises nothing.
    """

    def sitting_told(self, told: SetSitting, position: int, at: ServerTime | None) -> None:
        """The newest state of a sitting is in force from `position` on.

        `at` is the server's time there. An open sitting has none while the server has not told its time since
        the agent started; `time_told` follows then.
        """

    def time_told(self, position: int, at: ServerTime) -> None:
        """The server has told its time for the first time since the agent started: `at` at `position`."""

    def heard(self, position: int, pcm: bytes) -> None:
        """The microphone gave whole 16-bit samples, the first of them at `position`."""

    def microphone_lost(self, position: int) -> None:
        """It gives nothing from `position` on, until something is heard again."""


@dataclass(frozen=True)
class Outcome:
    """How an operation ended. `details` become the execution's status details: ids and short sentences only.

    Limits: 10 details, keys of 128 characters, values of 1024.
    """

    status: Literal[Status.SUCCEEDED, Status.FAILED, Status.REJECTED]
    details: dict[str, str] = field(default_factory=dict)


class Operation(Protocol):
    """One kind of work that a job can ask of the device.

    An operation raises nothing on purpose: what goes wrong is an `Outcome` with a sentence. Cancelling it
    must be safe at every await; it is then resumed or given up.
    """

    async def perform(self, job: Execution, /) -> Outcome:
        """Do the job; that it began is already in the journal."""

    async def resume(self, job: Execution, /) -> Outcome:
        """Called instead of `perform` when the job had begun before the agent last stopped."""
