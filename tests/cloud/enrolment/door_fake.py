"""The broker's door without a broker: who is in, which list it has read, and whether it answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cloud.enrolment.revocations import FleetingPair
from cloud.errors import UnavailableError


@dataclass
class FakeDoor:
    """`revoked` holds the serials of the list that it has read."""

    inside: set[str] = field(default_factory=set)
    retained: set[str] = field(default_factory=set)
    revoked: set[int] = field(default_factory=set)
    answers: bool = True
    dropped: list[str] = field(default_factory=list)

    def drop(self, device: str, forget: Sequence[str]) -> None:
        """End the connection of `device`, if it has one."""
        self._answer()
        self.inside.discard(device)
        self.retained.difference_update(forget)
        self.dropped.append(device)

    def refuses(self, pair: FleetingPair) -> bool:
        """Whether the list names it."""
        self._answer()
        return pair.serial in self.revoked

    def _answer(self) -> None:
        if not self.answers:
            raise UnavailableError("the broker cannot be asked")
