"""Keeps a batch of telemetry: into the store, then into the ledger, however long that takes."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from cloud.errors import RefusedError, UnavailableError
from cloud.fair import share
from cloud.refusals import Reason, Refusal, refusal
from cloud.telemetry.core import TOPIC_NAME, Member, Sorted, sort_out
from cloud.telemetry.hearing import Hearing
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.own_metrics import OwnMetrics
from cloud.telemetry.store import Point, TelemetryStore

log = logging.getLogger(__name__)

RETRY_MIN_S = 0.2
RETRY_MAX_S = 10.0
MEMBERS_AGE_MAX_S = 30.0
MEMBERS_AGE_MIN_S = 1.0
"""How often an unknown sender may make us read the registry again."""

Members = Callable[[], Mapping[str, Member]]
T = TypeVar("T")


class StoppedError(Exception):
    """The process is asked to end while it waits for the store; the batch is not kept."""


class Keeper:
    """`keep` is for one batch at a time; `members` reads the registry (or raises UnavailableError).

    `own`, where given, is written into the store as well, by `report`; `hearing` is told what came.
    """

    def __init__(
        self,
        store: TelemetryStore,
        ledger: Ledger,
        members: Members,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        stop: threading.Event,
        own: OwnMetrics | None = None,
        hearing: Hearing | None = None,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._read_members = members
        self._clock = clock
        self._monotonic = monotonic
        self._stop = stop
        self._own = own
        self._hearing = hearing
        self._members: Mapping[str, Member] = {}
        self._members_at = float("-inf")

    def keep(self, messages: Sequence[tuple[str, bytes]]) -> Sorted:
        """Store what `messages` (device and payload) say; what became of them, once it is durable.

        Of a device that sends more at once than it may, the rest is counted and not looked at.

        Raises:
            StoppedError: we are to stop first.
        """
        self._refresh(messages)
        received_ms = int(self._clock().timestamp() * 1000)
        kept, excess = share(messages)
        taken = [messages[position] for position in kept] if excess else messages
        outcome = self._patiently(lambda: sort_out(taken, self._members, self._ledger.standing, received_ms))
        outcome.excess = {device if device in self._members else "": n for device, n in excess.items()}
        if outcome.points:
            self._write(outcome.points, outcome.refused)
        self._patiently(lambda: self._ledger.record(outcome, self._clock()))
        counted = Counter((refused.device, refused.reason.value) for refused in outcome.refused)
        counted.update({(device, Reason.EXCESS.value): n for device, n in outcome.excess.items()})
        for (device, reason), count in counted.items():
            extra = {"device": device, "reason": reason, "count": count}
            log.warning("messages_refused", extra={"topic_name": TOPIC_NAME, **extra})
        if self._hearing is not None:
            self._hearing.note(outcome, self._clock())
        if self._own is not None:
            self._own.note(outcome, self._clock())
        return outcome

    def report(self, *, connected: bool = True) -> None:
        """Write what is known of the link and of ourselves, when it is time; what fails is not repeated.

        Call it at each turn to the broker: whoever does not turn does not listen.

        Raises:
            StoppedError: we are to stop first.
        """
        if self._hearing is not None:
            self._hearing.turn(self._clock(), connected)
        if self._own is None or not self._own.due(self._clock()):
            return
        self._refresh(())
        try:
            self._store.write(self._own.points(self._members, self._clock()))
        except (UnavailableError, RefusedError) as error:
            log.warning("own_metrics_not_stored", extra={"reason": str(error)})

    def _write(self, points: Sequence[Point], refused: list[Refusal]) -> None:
        """Put `points` into the store; what it will never take is counted in `refused`."""
        try:
            self._patiently(lambda: self._store.write(points))
        except RefusedError as error:
            log.warning("points_refused", extra={"points": len(points), "reason": str(error)})
            if len(points) == 1:
                refused.append(refusal(points[0].device, TOPIC_NAME, Reason.REFUSED, b""))
                return
            half = len(points) // 2
            self._write(points[:half], refused)
            self._write(points[half:], refused)

    def _patiently(self, do: Callable[[], T]) -> T:
        """The result of `do`, tried until what it needs is there.

        Raises:
            StoppedError: we are to stop first.
        """
        pause_s = RETRY_MIN_S
        while not self._stop.is_set():
            try:
                return do()
            except UnavailableError as error:
                log.warning("store_unavailable", extra={"reason": str(error)})
            self._stop.wait(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)
        raise StoppedError

    def _refresh(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Read the registry again when it is old, or, not too often, when a sender is not in it."""
        age = self._monotonic() - self._members_at
        if age > MEMBERS_AGE_MAX_S or (
            age > MEMBERS_AGE_MIN_S and any(device not in self._members for device, _ in messages)
        ):
            self._members = self._patiently(self._read_members)
            self._members_at = self._monotonic()
