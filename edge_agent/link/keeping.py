"""What the outbox wants kept, on its way to the disk and back: a full disk, its reserve, moments as dates."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from contract import telemetry
from contract.messages import Lane
from edge_agent.errors import UnavailableError
from edge_agent.link import outbox as o
from edge_agent.link.dating import Instant, date
from edge_agent.link.journal import Deletion, Journal, Kept, Message
from edge_agent.link.reserve import Reserve

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Key = tuple[Lane, int]

GIVE_BACK_AGAIN_S = 30.0
"""A journal that found no room to become smaller waits so long, or until the reserve is tried again."""


async def to_the_end(do: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """`do` in a thread; who is cancelled meanwhile waits for it, so that nobody closes a file in use."""
    work = asyncio.ensure_future(asyncio.to_thread(do, *args, **named))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled() and work.exception() is not None:
            log.warning("disk_failed_at_the_end", extra={"sentence": str(work.exception())})
        raise


class Keeper:
    """Writes to the journal; what a full disk does not take is told to the outbox."""

    def __init__(self, journal: Journal, reserve: Reserve, outbox: o.Outbox) -> None:
        self._journal = journal
        self._reserve = reserve
        self._outbox = outbox
        self._pending = outbox.pending
        self._deletions: list[Deletion] = []
        """What a full disk did not delete; it is deleted with the next write."""
        self._give_back_at: Instant = -math.inf

    async def write(
        self,
        appends: Mapping[Key, Message],
        declared: Mapping[Key, o.Declare],
        deletions: Iterable[Deletion],
        now: Instant,
    ) -> set[Key]:
        """Which of `appends` the disk did not take; `declared` are those of them that are declarations.

        A full disk takes what must be kept into the room of the reserve.
        """
        self._deletions += deletions
        if await self._written(list(appends.values())):
            return set()
        self._outbox.handle(o.DiskFull(), now)
        released = await to_the_end(self._reserve.release)
        lost = {key for key, message in appends.items() if not message.must}
        self._never_were(lost, declared, now)
        if released:
            log.error("reserve_released", extra={"sentence": "the disk is full: only what must be is kept"})
            if await self._written([message for message in appends.values() if message.must]):
                return lost
        self._never_were(appends.keys() - lost, declared, now)
        return set(appends)

    async def give_back(self, now: Instant) -> bool:
        """Let the journal give one step of room back, if it has any to give; whether more would follow."""
        if not self._journal.loose or now < self._give_back_at:
            return False
        try:
            return await to_the_end(self._journal.give_back)
        except UnavailableError as error:
            self._give_back_at = now + GIVE_BACK_AGAIN_S
            log.warning("room_not_given_back", extra={"sentence": str(error)})
            return False

    async def make_reserve(self) -> bool:
        """Whether the reserve has its place; where it has none, the journal may try to make some at once."""
        self._give_back_at = -math.inf
        made = await to_the_end(self._reserve.make)
        if made and self._outbox.scarce:
            log.warning("reserve_made", extra={"sentence": "there is room again, and everything is kept"})
        return made

    async def _written(self, messages: Sequence[Message]) -> bool:
        """Whether the disk took it, with all deletions that are open and what was dropped until now."""
        pending = self._outbox.pending
        changed = pending != self._pending
        if not messages and not self._deletions and not changed:
            return True
        try:
            await to_the_end(self._journal.write, messages, self._deletions, pending if changed else None)
        except UnavailableError as error:
            log.error("outbox_not_written", extra={"sentence": str(error), "messages": len(messages)})  # noqa: TRY400 the sentence says it all
            return False
        self._deletions, self._pending = [], pending
        return True

    def _never_were(self, lost: Iterable[Key], declared: Mapping[Key, o.Declare], now: Instant) -> None:
        for lane, seq in sorted(lost, reverse=True):
            found = declared.get((lane, seq))
            event = o.Unwritten(lane, seq) if found is None else o.Undeclared(seq, found.ranges)
            self._outbox.handle(event, now)


def stored_rows(kept: Sequence[Kept], now: Instant, wall_ms: int | None) -> list[o.Stored]:
    """What earlier boots left, with its age. Ages are taken by the wall clock once, here: later it may jump.

    Without a clock that is trusted (`wall_ms` None), and without a date, it is old.
    """

    def age_s(row: Kept) -> float:
        at = date(row.at, row.origin)
        if at is None or wall_ms is None:
            return o.HISTORICAL_AFTER_S + 1
        return max(0, wall_ms - at) / 1000

    return [o.Stored(k.boot, k.lane, k.seq, k.size, k.must, now - age_s(k)) for k in kept]


def undatable(kept: Kept) -> bool:
    """Whether nobody will ever know when it was, and it is a sample: worth nothing without a date."""
    return kept.lane is Lane.TELEMETRY and not kept.must and date(kept.at, kept.origin) is None


def as_sent(message: Message, wall_ms: int) -> tuple[int, bytes]:
    """When it happened, and its body with dates in it; an event that nobody can date was when it is sent."""
    at = date(message.at, message.origin)
    if at is None:
        return wall_ms, message.body
    if at == message.at or message.lane is not Lane.TELEMETRY:
        return at, message.body
    return at, telemetry.dated(message.body, at - message.at)
