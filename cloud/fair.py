"""One device's flood does not hold its neighbours up: who is next, and what is too much.

Pure. A device that follows the contract has at most `contract.messages.IN_FLIGHT_MAX` messages of a lane
under way and sends no more before it is answered, so what is beyond twice that (it may send all again after a
reconnection) need not be kept: it is not acknowledged, and a device that follows the contract sends it again.
"""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from contract.messages import IN_FLIGHT_MAX

WAITING_MAX = 2 * IN_FLIGHT_MAX
"""Messages of one device that wait at once, or go into one batch."""
BATCH_BYTES_MAX = 1_048_576
"""Bytes of one device that go into one batch, where others may wait behind them."""

T = TypeVar("T")


class Turns(Generic[T]):
    """A line for each owner; the owners take turns, each owner's items stay in order."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._waiting_max = waiting_max
        self._lines: dict[str, deque[T]] = {}

    def offer(self, owner: str, item: T, *, bounded: bool = True) -> bool:
        """Put `item` at the end of its owner's line; False when the line is full and `bounded`."""
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = deque()
        elif bounded and len(line) >= self._waiting_max:
            return False
        line.append(item)
        return True

    def take(self) -> T | None:
        """The first item of the owner whose turn it is; None when nothing waits."""
        for owner, line in self._lines.items():
            del self._lines[owner]  # and to the end of the order, if there is more
            item = line.popleft()
            if line:
                self._lines[owner] = line
            return item
        return None

    def __len__(self) -> int:
        """How many items wait."""
        return sum(map(len, self._lines.values()))


class Share(NamedTuple):
    """Which positions of a batch are kept, and how many messages of each device are not."""

    kept: list[int]
    excess: Counter[str]


def share(batch: Sequence[tuple[str, bytes]]) -> Share:
    """The part of `batch` (device and payload, in order of arrival) that each device may have in it."""
    if len(batch) <= WAITING_MAX:
        return Share(list(range(len(batch))), Counter())
    messages: Counter[str] = Counter()
    size: Counter[str] = Counter()
    excess: Counter[str] = Counter()
    kept = []
    for position, (device, payload) in enumerate(batch):
        messages[device] += 1
        size[device] += len(payload)
        if messages[device] > WAITING_MAX or (messages[device] > 1 and size[device] > BATCH_BYTES_MAX):
            excess[device] += 1
        else:
            kept.append(position)
    return Share(kept, excess)
