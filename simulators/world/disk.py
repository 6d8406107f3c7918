"""What a device has written and synced: all that is left of it after a power cut."""

from dataclasses import dataclass, field, replace
from typing import Any

from contract.messages import Lane
from edge_agent.documents.printing import Record
from edge_agent.jobs import core as jobs
from edge_agent.link.outbox import Stored

Key = tuple[str, Lane, int]


class FullError(Exception):
    """The disk took nothing."""


@dataclass(frozen=True)
class Message:
    """A kept message: its topic, the topic's ids, its body and class."""

    topic: str
    ids: dict[str, str]
    body: Any
    must: bool
    at: float


@dataclass
class Disk:
    """One device's disk. `ever` has every message that was once on it, `promised` those that must arrive."""

    full: bool = False
    boots: list[str] = field(default_factory=list)
    messages: dict[Key, Message] = field(default_factory=dict)
    entries: dict[jobs.Key, jobs.Entry] = field(default_factory=dict)
    ledger: dict[str, Record] = field(default_factory=dict)
    ever: set[Key] = field(default_factory=set)
    promised: set[Key] = field(default_factory=set)
    dropped: set[Key] = field(default_factory=set)
    deletions: list[Key] = field(default_factory=list)
    """What the full disk did not delete, in the agent's memory: it is deleted with the next write."""

    def stored(self) -> list[Stored]:
        """The messages as the outbox takes them over: by boot, lane and sequence."""
        order = {boot: number for number, boot in enumerate(self.boots)}
        keys = sorted(self.messages, key=lambda key: (order[key[0]], key[1], key[2]))
        return [Stored(*key, 100, self.messages[key].must, self.messages[key].at) for key in keys]

    def append(self, key: Key, message: Message) -> None:
        """Write a message and sync; raises FullError."""
        self.room()
        self.messages[key] = message
        self.ever.add(key)

    def forget(self, boot: str, lane: Lane, seq: int) -> None:
        """Delete everything up to `seq`."""
        gone = [key for key in self.messages if key[0] == boot and key[1] is lane and key[2] <= seq]
        self._delete(gone)

    def drop(self, key: Key) -> None:
        """Delete one message that the cloud does not have."""
        self.dropped.add(key)
        self._delete([key])

    def change(self, which: jobs.Key, **values: Any) -> None:
        """Write an entry of the job journal anew; raises FullError."""
        self.room()
        if which in self.entries:
            self.entries[which] = replace(self.entries[which], **values)

    def room(self) -> None:
        """Raises FullError if there is none."""
        if self.full:
            raise FullError
        self._delete([])

    def _delete(self, keys: list[Key]) -> None:
        self.deletions += keys
        if not self.full:
            for key in self.deletions:
                self.messages.pop(key, None)
            self.deletions.clear()
