"""What a device has written: a page cache that the power can take, and below it what is synced.

Every write can be undone as long as it is not synced. A journal knows a torn record by its checksum, so that
a torn record is none; a file that is written over in its place, torn, is neither the old nor the new one.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from contract.link import DroppedRange
from contract.messages import Lane
from edge_agent.captions.memory import Memory
from edge_agent.documents.printing import Record
from edge_agent.jobs import core as jobs
from edge_agent.link.journal import Kept
from edge_agent.updates.messages import Entry as Update
from simulators.world.faults import Fault, Faults

SPARE_WRITES = 60
"""What goes into the room of the reserve."""

Key = tuple[str, Lane, int]
Undo = Callable[[], None]


class FullError(Exception):
    """The disk took nothing."""


class DamagedError(Exception):
    """A file is neither what it was nor what it was to become."""


@dataclass(frozen=True)
class Message:
    """A kept message: its topic, the topic's ids, its body as bytes, its class, and its moment by the device.

    `true_ms` is when it really was, since the world began.
    """

    topic: str
    ids: dict[str, str]
    body: bytes
    must: bool
    at: int
    true_ms: int = 0


@dataclass
class Disk:
    """One device's disk. `ever` has every message that was once on it, `promised` those that must arrive.

    `reserve` is the file that keeps room; once it is given up, `spare` writes go through on a full disk.
    """

    full: bool = False
    reserve: bool = True
    spare: int = 0
    boots: list[str] = field(default_factory=list)
    origins: dict[str, int] = field(default_factory=dict)
    """When a boot began, by its clock, once that was trusted."""
    messages: dict[Key, Message] = field(default_factory=dict)
    pending: tuple[DroppedRange, ...] = ()
    """What was dropped and is not declared yet."""
    entries: dict[jobs.Key, jobs.Entry] = field(default_factory=dict)
    ledger: dict[str, Record] = field(default_factory=dict)
    updates: dict[str, Update] = field(default_factory=dict)
    wallet: dict[str, Any] = field(default_factory=dict)
    """Both slots of keys and certificates, and the pointer that says which is the device's identity."""
    floor: dict[str, int] = field(default_factory=dict)
    """The floor of time."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What is desired of the device."""
    memory: Memory | None = field(default_factory=Memory)
    """The recorder's file; None when it is damaged."""
    ever: set[Key] = field(default_factory=set)
    promised: set[Key] = field(default_factory=set)
    dropped: set[Key] = field(default_factory=set)
    """What the outbox decided to drop."""
    deleted: set[Key] = field(default_factory=set)
    """What of it was deleted, together with the note that it is to be declared."""
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

    def kept(self, running: str) -> list[Kept]:
        """What boots before `running` left, as the journal tells it: by boot, lane and sequence."""
        order = {boot: number for number, boot in enumerate(self.boots)}
        keys = sorted(
            (key for key in self.messages if key[0] != running), key=lambda key: (order[key[0]], *key[1:])
        )
        return [
            Kept(*key, found.must, found.at, len(found.body), self.origins.get(key[0]))
            for key, found in ((key, self.messages[key]) for key in keys)
        ]

    def write(
        self,
        key: Key | None,
        message: Message | None,
        deletions: Mapping[Key, bool],
        pending: tuple[DroppedRange, ...],
    ) -> None:
        """One transaction: append, delete, and replace what is pending; raises FullError.

        `deletions` say of each key whether it is dropped, and not forgotten because the cloud has it.
        """
        self.room()
        before = self.pending
        gone = {each: self.messages.pop(each) for each in deletions if each in self.messages}
        counted = {each for each in gone if deletions[each]} - self.deleted
        self.pending = pending
        self.deleted |= counted
        if key is not None and message is not None:
            self.messages[key] = message
            self.ever.add(key)

        def undo() -> None:
            self.pending = before
            self.deleted.difference_update(counted)
            if key is not None:
                self.messages.pop(key, None)
                self.ever.discard(key)
            self.messages.update(gone)

        self._wrote(undo)

    def upto(self, boot: str, lane: Lane, seq: int) -> list[Key]:
        """Everything of a boot and a lane up to `seq`."""
        return [key for key in self.messages if key[0] == boot and key[1] is lane and key[2] <= seq]

    # --- room ---

    def room(self) -> None:
        """Take room for one write; raises FullError if there is none."""
        if not self.full:
            return
        if self.spare <= 0:
            raise FullError
        self.spare -= 1

    def release(self) -> bool:
        """Give the reserve up; whether there was one."""
        had, self.reserve = self.reserve, False
        self.spare = SPARE_WRITES if had else self.spare
        return had

    def make_reserve(self) -> bool:
        """Whether the reserve has its place."""
        self.reserve = self.reserve or not self.full
        return self.reserve

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
