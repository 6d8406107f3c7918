"""What is counted of a load: each device's messages in its journal, and every dial of the fleet."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from contract.link import DroppedRange
from contract.messages import Lane
from edge_agent.link.journal import Deletion, MemoryJournal, Message

PEAK_S = 1.0


@dataclass
class Dials:
    """When connections were begun and when they stood, in seconds of the event loop's clock.

    `published` counts what outboxes have sent, again or not.
    """

    published: int = 0
    begun_at: "array[float]" = field(default_factory=lambda: array("d"))
    up_at: "array[float]" = field(default_factory=lambda: array("d"))

    def begun(self, at: float) -> None:
        """A device dials."""
        self.begun_at.append(at)

    def succeeded(self, at: float) -> None:
        """A device is connected, and its subscriptions stand."""
        self.up_at.append(at)


class TalliedJournal(MemoryJournal):
    """A journal in memory that counts; the generator itself is never killed. `clock_ms` is the wall clock.

    A lag is the time from a message's making to the cloud's word that it is stored.
    """

    def __init__(self, clock_ms: Callable[[], int], changed: Callable[[], None]) -> None:
        super().__init__()
        self.recorded = 0
        self.acknowledged = 0
        self.dropped = 0
        self.lags_ms = array("d")
        self._clock_ms = clock_ms
        self._changed = changed

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest message was made that still waits; None while none does."""
        return min((message.at for message in list(self.messages.values())), default=None)

    def write(
        self,
        appends: Sequence[Message],
        deletions: Sequence[Deletion],
        pending: Sequence[DroppedRange] | None = None,
    ) -> None:
        """As a journal does, and count."""
        now = self._clock_ms()
        counted: set[tuple[str, Lane, int]] = set()
        for gone in deletions:
            was = {key for key in self.messages if _within(key, gone)} - counted
            counted |= was
            if gone.first == 0:  # everything up to here: the cloud has said so
                self.acknowledged += len(was)
                self.lags_ms.extend([now - self.messages[key].at for key in was])
            else:
                self.dropped += len(was)
        super().write(appends, deletions, pending)
        self.recorded += len(appends)
        self._changed()


def _within(key: tuple[str, Lane, int], gone: Deletion) -> bool:
    return key[:2] == (gone.boot, gone.lane) and gone.first <= key[2] <= gone.last


def peak_per_s(times: Sequence[float], since: float) -> int:
    """The most of `times` (ascending, in seconds) from `since` on that lie within one second."""
    found = [at for at in times if at >= since]
    most, first = 0, 0
    for last, at in enumerate(found):
        while at - found[first] > PEAK_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of `values` do not exceed; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
