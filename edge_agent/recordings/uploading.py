"""Decides which segment is uploaded next, in which steps, how fast, and when it is tried again. Pure.

One upload at a time, and no faster than `bytes_per_s` on the average, so that events are not delayed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from contract.recordings import UploadProblem
from edge_agent.recordings.messages import (
    AskStored,
    BeginUpload,
    ChunkTaken,
    Delete,
    Effect,
    Instant,
    Note,
    SendChunk,
    StoredTold,
    UploadBegun,
    UploadFailed,
)
from edge_agent.recordings.records import Kept, Record, Segment

CHUNK_BYTES = 8 * 1024 * 1024
CHUNK_BYTES_MIN = 256 * 1024
CHUNK_S = 2.0
"""A chunk is as large as fits into this time at the rate: so long may an event wait behind it."""
BASE_S = 1.0
CAP_S = 300.0
ATTEMPTS_COUNTED = 16
CORRUPTED_MAX = 5
"""So often is a segment sent that comes corrupted; then it is left alone until the agent starts again."""
REFUSED_S = 3600.0
"""What the server refuses for good is asked again so much later: a person may have acted."""
AGAIN = frozenset({UploadProblem.OFFSET, UploadProblem.GONE})
"""Both sides find together again by beginning anew, at once."""
LATER = frozenset({UploadProblem.BUSY, UploadProblem.TOO_MANY, UploadProblem.NO_ROOM})
AGAIN_MAX = 3
"""In a row; then it is tried later."""

Name = tuple[str, int]


class Chance(Protocol):
    """A source of chance; `random.Random` is one."""

    def uniform(self, a: float, b: float) -> float:
        """A number between `a` and `b`, all equally likely."""


@dataclass
class _Upload:
    """The segment in hand. `at` is when the next chunk may go; None while an answer is awaited."""

    name: Name
    size: int
    sha256: str
    upload: str = ""
    offset: int = 0
    sent_at: Instant = 0.0
    at: Instant | None = None


class Uploading:
    """The uploads of one recorder. `bytes_per_s` 0 is as fast as it goes."""

    def __init__(self, bytes_per_s: int, chance: Chance) -> None:
        self._rate = bytes_per_s
        self._chance = chance
        self._now: _Upload | None = None
        self._attempts = 0
        self._retry_at: Instant = 0.0
        self._aside: dict[Name, Instant] = {}
        self._corrupted: dict[Name, int] = {}
        self._again = 0

    def next(self, records: Iterable[Record], now: Instant) -> list[Effect]:
        """Begin with the oldest closed segment, if nothing is in hand and it may be tried."""
        if self._now is not None or now < self._retry_at:
            return []
        for record, segment in _waiting(records):
            name = (record.recording, segment.segment)
            if now >= self._aside.get(name, 0.0):
                self._now = _Upload(name, segment.size, segment.sha256)
                return [BeginUpload(record, segment)]
        return []

    def deadline(self, records: Iterable[Record]) -> Instant | None:
        """When to look again, if nothing happens before."""
        if self._now is not None:
            return self._now.at
        aside = [
            self._aside.get((record.recording, segment.segment), 0.0) for record, segment in _waiting(records)
        ]
        return max(self._retry_at, min(aside)) if aside and min(aside) != _NEVER else None

    def time_passed(self, now: Instant) -> list[Effect]:
        """The next chunk, if it is due."""
        upload = self._now
        if upload is None or upload.at is None or now < upload.at:
            return []
        upload.at, upload.sent_at = None, now
        length = min(self._chunk_bytes, upload.size - upload.offset)
        return [SendChunk(*upload.name, upload.upload, upload.offset, length)]

    def begun(self, event: UploadBegun, now: Instant) -> list[Effect]:
        """The server says how far it is."""
        assert self._now is not None, "an upload was begun that nobody asked for"
        self._now.upload, self._now.offset, self._now.at = event.upload, event.offset, now
        return self.time_passed(now)

    def taken(self, event: ChunkTaken, now: Instant) -> list[Effect]:
        """A chunk is on the server's disk: it makes good what failed before."""
        upload = self._now
        assert upload is not None, "a chunk was taken that nobody sent"
        went = event.offset - upload.offset
        upload.offset = event.offset
        self._attempts = self._again = 0
        if upload.offset >= upload.size:
            return [AskStored(*upload.name)]
        upload.at = max(now, upload.sent_at + went / self._rate) if self._rate else now
        return self.time_passed(now)

    def told(self, event: StoredTold, now: Instant) -> tuple[Name | None, list[Effect]]:
        """What the server has stored: gives the segment whose file may go. Only the same digest lets it."""
        upload = self._now
        assert upload is not None, "nobody asked what is stored"
        if event.sha256 == upload.sha256:
            self._now, self._attempts = None, 0
            return upload.name, [Delete(*upload.name), Note("segment_uploaded", _named(upload.name))]
        if event.sha256:
            return None, self._set_aside(now + REFUSED_S, "the server has another digest stored")
        return None, self._later(now, "the server does not have it yet")

    def failed(self, event: UploadFailed, now: Instant) -> list[Effect]:
        """A step did not succeed."""
        upload = self._now
        assert upload is not None, "an upload failed that nobody asked for"
        problem = event.problem
        if problem is UploadProblem.STORED:
            return [AskStored(*upload.name)]
        if problem in AGAIN and self._again < AGAIN_MAX:
            self._again += 1
            self._now = None
            return []
        if problem is UploadProblem.CORRUPT:
            times = self._corrupted[upload.name] = self._corrupted.get(upload.name, 0) + 1
            if times >= CORRUPTED_MAX:
                return self._set_aside(_NEVER, event.reason)
            return self._later(now, event.reason)
        if problem is None or problem in LATER or problem in AGAIN:
            return self._later(now, event.reason)
        return self._set_aside(now + REFUSED_S, event.reason)

    def _later(self, now: Instant, reason: str) -> list[Effect]:
        """Full jitter: a uniform wait between nothing and a bound that doubles."""
        assert self._now is not None
        name, self._now = self._now.name, None
        self._retry_at = now + self._chance.uniform(0, min(CAP_S, BASE_S * 2**self._attempts))
        self._attempts = min(self._attempts + 1, ATTEMPTS_COUNTED)
        return [Note("upload_interrupted", _named(name) | {"reason": reason}, "warning")]

    def _set_aside(self, until: Instant, reason: str) -> list[Effect]:
        """The others go on."""
        assert self._now is not None
        name, self._now = self._now.name, None
        self._aside[name] = until
        return [Note("upload_refused", _named(name) | {"reason": reason}, "error")]

    @property
    def _chunk_bytes(self) -> int:
        if not self._rate:
            return CHUNK_BYTES
        return max(CHUNK_BYTES_MIN, min(CHUNK_BYTES, int(self._rate * CHUNK_S)))


_NEVER = float("inf")


def _waiting(records: Iterable[Record]) -> Iterable[tuple[Record, Segment]]:
    for record in records:
        for segment in record.dated:
            if segment.kept is Kept.CLOSED:
                yield record, segment


def _named(name: Name) -> dict[str, str]:
    return {"recording": name[0], "segment": str(name[1])}
