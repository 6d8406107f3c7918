"""The story's recordings: after a sitting has ended, what was recorded of it is whole on the server."""

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.city.folder import Folder
from simulators.city.report import StepError

LOOK_S = 0.25
SEATS_MIN = 4
WHOLE = ("uploaded", "transcribing", "drafted", "reviewed", "published")
"""States of a recording whose every segment is stored."""


@dataclass(frozen=True)
class Kept:
    """One recording in the control plane's database; segments are rows of number, size, digest, key."""

    state: str
    expected: int | None
    segments: list[tuple[int, int, str, str]]
    milliseconds: int


def look(folder: Folder, session: str) -> Kept | None:
    """The recording of a sitting; None before anything was told of it."""
    found = _rows(
        folder, "SELECT recording, state, segments_expected FROM recordings WHERE session = ?", session
    )
    if not found:
        return None
    recording, state, expected = found[0]
    segments = _rows(
        folder,
        "SELECT segment, size, sha256, object_key, duration_ms FROM recording_segments "
        "WHERE recording = ? AND stored_at IS NOT NULL ORDER BY segment",
        recording,
    )
    return Kept(state, expected, [row[:4] for row in segments], sum(row[4] for row in segments))


def floor(folder: Folder, session: str) -> list[tuple[int, str, bool]]:
    """Who took and gave back the floor: position in ms, seat, taken."""
    rows = _rows(
        folder, "SELECT at_ms, seat, taken FROM floor_events WHERE session = ? ORDER BY at_ms, taken", session
    )
    return [(at_ms, seat, bool(taken)) for at_ms, seat, taken in rows]


def object_of(folder: Folder, key: str) -> Path:
    """The file of a segment in the object store."""
    return folder.cloud / "objects" / key


async def recording_arrives(folder: Folder, hall: str, session: str) -> str:
    """Every segment is stored with the digest that the recorder told, and the recorder's copies are gone.

    Raises:
        StepError: something is not as it was told.
    """
    while (kept := await asyncio.to_thread(look, folder, session)) is None or kept.state not in WHOLE:
        if kept is not None and kept.state == "failed":
            raise StepError(f"the recording failed; {len(kept.segments)} segments are stored")
        await asyncio.sleep(LOOK_S)
    if [number for number, *_ in kept.segments] != list(range(1, (kept.expected or 0) + 1)):
        raise StepError(f"segments {[number for number, *_ in kept.segments]} of {kept.expected} are stored")
    for number, size, sha256, key in kept.segments:
        content = await asyncio.to_thread(object_of(folder, key).read_bytes)
        if (len(content), hashlib.sha256(content).hexdigest()) != (size, sha256):
            raise StepError(f"segment {number} in the store is not what the recorder told")
    device = folder.device(hall) / "data" / "recordings"
    while left := sorted(device.rglob(f"{session}*/*.wav")):  # noqa: ASYNC110 - only the folder can tell
        await asyncio.sleep(LOOK_S)
    seats = {seat for _, seat, taken in floor(folder, session) if taken}
    if len(seats) < SEATS_MIN:
        raise StepError(f"only the seats {sorted(seats)} had the floor")
    return (
        f"{len(kept.segments)} segments, {kept.milliseconds / 1000:.0f} s, every digest equal, "
        f"{len(left)} copies left in the hall; {len(seats)} seats had the floor"
    )


def _rows(folder: Folder, statement: str, *values: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder.cloud / "fleet.db", timeout=10)) as database:
        return database.execute(statement, values).fetchall()
