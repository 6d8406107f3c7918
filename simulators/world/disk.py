"""What a device has written: a page cache that the power can take, and below it what is synced.

Every write can be undone as long as it is not synced. A journal knows a torn record by its checksum, so that
a torn record is none; a file that is written over in its place, torn, is neither the old nor the new one.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from contract.messages import Lane
from edge_agent.captions.memory import Memory
from edge_agent.documents.printing import Record
from edge_agent.jobs import core as jobs
from edge_agent.link.outbox import Stored
from edge_agent.updates.messages import Entry as Update
from simulators.world.faults import Fault, Faults

Key = tuple[str, Lane, int]
Undo = Callable[[], None]


class FullError(Exception):
    """The disk took nothing."""


class DamagedError(Exception):
    """A file is neither what it was nor what it was to become."""


@dataclass(frozen=True)
class Message:
    """A kept message: its topic, the topic's ids, its body as bytes, its class, and the wall clock then."""

    topic: str
    ids: dict[str, str]
    body: bytes
    must: bool
    at: int


@dataclass
class Disk:
    """One device's disk. `ever` has every message that was once on it, `promised` those that must arrive."""

    full: bool = False
    boots: list[str] = field(default_factory=list)
    messages: dict[Key, Message] = field(default_factory=dict)
    entries: dict[jobs.Key, jobs.Entry] = field(default_factory=dict)
    ledger: dict[str, Record] = field(default_factory=dict)
    updates: dict[str, Update] = field(default_factory=dict)
    memory: Memory | None = field(default_factory=Memory)
    """The recorder's file; None when it is damaged."""
    ever: set[Key] = field(default_factory=set)
    promised: set[Key] = field(default_factory=set)
    dropped: set[Key] = field(default_factory=set)
    deletions: list[Key] = field(default_factory=list)
    """What the full disk did not delete, in the agent's memory: it is deleted with the next write."""
    tail: list[tuple[Undo, Undo]] = field(default_factory=list)
    """What is not synced: how each write is undone, and what is left of it when it is torn."""

    # --- power ---

    def sync(self) -> None:
        """Everything that was written stays."""
        self.tail.clear()

    def power_lost(self, faults: Faults) -> None:
        """What is not synced is there all the same, is lost from some write on, or is torn."""
        if self.tail and faults.happens(Fault.TORN_WRITE):
            self._lose(faults.stream(Fault.TORN_WRITE).randrange(len(self.tail)), torn=True)
        elif self.tail and faults.happens(Fault.UNSYNCED_TAIL):
            self._lose(self._from(faults.stream(Fault.UNSYNCED_TAIL)), torn=False)
        self.tail.clear()
        self.deletions.clear()

    def _from(self, stream: random.Random) -> int:
        return stream.randrange(len(self.tail))

    def _lose(self, first: int, *, torn: bool) -> None:
        while len(self.tail) > first:
            undo, tear = self.tail.pop()
            (tear if torn and len(self.tail) == first else undo)()

    def _wrote(self, undo: Undo, tear: Undo | None = None) -> None:
        self.tail.append((undo, tear or undo))

    # --- boots and messages ---

    def begin(self, boot: str) -> None:
        """Write down a boot."""
        if boot not in self.boots:
            self.boots.append(boot)
            self._wrote(lambda: self.boots.remove(boot))

    def stored(self, now: float, wall_ms: int) -> list[Stored]:
        """The messages as the outbox takes them over: by boot, lane and sequence; aged by the wall clock."""
        order = {boot: number for number, boot in enumerate(self.boots)}
        keys = sorted(self.messages, key=lambda key: (order[key[0]], key[1], key[2]))
        found = []
        for key in keys:
            message = self.messages[key]
            since = now - max(0, wall_ms - message.at) / 1000
            found.append(Stored(*key, len(message.body), message.must, since))
        return found

    def append(self, key: Key, message: Message) -> None:
        """Write a message; raises FullError."""
        self.room()

        def undo() -> None:
            self.messages.pop(key, None)
            self.ever.discard(key)

        self.messages[key] = message
        self.ever.add(key)
        self._wrote(undo)

    def forget(self, boot: str, lane: Lane, seq: int) -> None:
        """Delete everything up to `seq`."""
        gone = [key for key in self.messages if key[0] == boot and key[1] is lane and key[2] <= seq]
        self._delete(gone)

    def drop(self, key: Key) -> None:
        """Delete one message that the cloud does not have."""
        self.dropped.add(key)
        self._delete([key])

    def room(self) -> None:
        """Raises FullError if there is none."""
        if self.full:
            raise FullError
        self._delete([])

    def _delete(self, keys: list[Key]) -> None:
        self.deletions += keys
        if self.full:
            return
        for key in self.deletions:
            gone = self.messages.pop(key, None)
            if gone is not None:
                self._wrote(lambda key=key, gone=gone: self.messages.__setitem__(key, gone))  # type: ignore[misc]  # mypy types no defaults of lambdas
        self.deletions.clear()

    # --- what the ways keep ---

    def put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Write one row of a journal; raises FullError."""
        self.room()
        before = table.get(key)

        def undo() -> None:
            if before is None:
                table.pop(key, None)
            else:
                table[key] = before

        table[key] = value
        self._wrote(undo)

    def change(self, which: jobs.Key, **values: Any) -> None:
        """Write an entry of the job journal anew; raises FullError."""
        self.room()
        if which in self.entries:
            self.put(self.entries, which, replace(self.entries[which], **values))

    def save(self, memory: Memory, *, in_place: bool) -> None:
        """Replace the recorder's file as a whole, or write over it; raises FullError."""
        self.room()
        before = self.memory

        def put(value: Memory | None) -> None:
            self.memory = value

        self.memory = memory
        self._wrote(lambda: put(before), (lambda: put(None)) if in_place else None)

    def load(self) -> Memory:
        """The recorder's file; raises DamagedError once, and then there is an empty one."""
        found, self.memory = self.memory, self.memory or Memory()
        if found is None:
            raise DamagedError
        return found
