"""The copy of a recording that people listen to: one file, read in ranges as browsers ask for them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import ObjectStore

RANGE_BYTES_MAX = 1024 * 1024
"""Of one answer; a browser asks for the rest when it needs it."""
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


@dataclass(frozen=True)
class Part:
    """Bytes `start` to `end` (not in it) of `size`."""

    start: int
    end: int
    size: int


class OutOfRangeError(Exception):
    """The range lies outside; `size` goes into the answer."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def listen_key(recording: str, cut: str = "") -> str:
    """Where the copy that people listen to is in the object store; `cut` is what `closed.Cut.signature` says.

    A copy in which something is heard that is to be cut out now has another key, and is never found.
    """
    return f"listen/{recording}/{cut}.ogg" if cut else f"listen/{recording}.ogg"


def replace(store: ObjectStore, recording: str, cut: str, path: Path) -> None:
    """Put the copy at `path` in the place of all that were made before."""
    key = listen_key(recording, cut)
    obstore.put(store, key, path)
    before = [each["path"] for page in obstore.list(store, f"listen/{recording}") for each in page]
    for old in {*before, listen_key(recording)} - {key}:
        try:
            obstore.delete(store, old)
        except (NotFoundError, FileNotFoundError):
            continue  # there was none that is whole


def size_of(store: ObjectStore, key: str) -> int | None:
    """The size of a copy in bytes; None where there is none yet."""
    try:
        return int(obstore.head(store, key)["size"])
    except (NotFoundError, FileNotFoundError):
        return None


def part_of(header: str | None, size: int) -> Part | None:
    """What a Range header asks for (RFC 9110, 14.2), at most `RANGE_BYTES_MAX` of it; None for everything.

    What is no single byte range is ignored, as the RFC allows.

    Raises:
        OutOfRangeError: nothing of it is there.
    """
    asked = _RANGE.fullmatch(header.strip()) if header else None
    if asked is None or asked.groups() == ("", ""):
        return None
    first, last = asked.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start = int(first)
        end = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise OutOfRangeError(size)
    return Part(start, min(end, start + RANGE_BYTES_MAX), size)


def read(store: ObjectStore, key: str, part: Part) -> bytes:
    """Those bytes."""
    return bytes(obstore.get_range(store, key, start=part.start, end=part.end))


def pieces(store: ObjectStore, key: str, size: int) -> Iterator[bytes]:
    """The whole copy, a piece at a time."""
    for start in range(0, size, RANGE_BYTES_MAX):
        yield read(store, key, Part(start, min(start + RANGE_BYTES_MAX, size), size))
