"""Segments on the disk: WAV files that are whole or can be made whole after any crash.

A file grows by 16-bit samples behind a header that says 0; its true length is written into the header when it
is closed. Folders have mode 0700, files 0600. WAV as in "Multimedia Programming Interface and Data
Specifications 1.0" (IBM, Microsoft, 1991), chapter 3, with a format chunk of 16 bytes.
"""

import hashlib
import os
import struct
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from edge_agent.errors import UnavailableError
from edge_agent.files import sync_folder

HEADER_BYTES = 44
SAMPLE_BYTES = 2
HASH_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Whole:
    """A closed file; no samples and no file if nothing was in it."""

    samples: int
    size: int = 0
    sha256: str = ""


class SegmentFiles:
    """The files below `folder`. One caller at a time, from any thread."""

    def __init__(self, folder: Path, sync_bytes: int) -> None:
        """`sync_bytes`: so much sound is at most not on the disk yet."""
        self._folder = folder
        self._sync_bytes = sync_bytes
        self._file: FileIO | None = None
        self._name: tuple[str, int] | None = None
        self._unsynced = 0

    def path(self, recording: str, segment: int) -> Path:
        """Where a segment is."""
        return self._folder / recording / f"{segment:04d}.wav"

    def begin(self, recording: str, segment: int, rate_hz: int) -> None:
        """Make the file that `write` goes to; it is on the disk when this returns.

        Raises:
            UnavailableError: the disk does not take it.
        """
        path = self.path(recording, segment)
        self._let_go()
        try:
            for folder in (self._folder, path.parent):
                folder.mkdir(mode=0o700, exist_ok=True, parents=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._file, self._name = FileIO(handle, "r+b"), (recording, segment)
            self._append(header(rate_hz, 0))
            os.fsync(handle)
            for folder in (path.parent, self._folder):
                sync_folder(folder)
        except OSError as error:
            raise _unavailable(path, error) from error
        self._unsynced = 0

    def write(self, pcm: bytes | memoryview) -> None:
        """Append sound to the segment that was begun last.

        Raises:
            UnavailableError: the disk does not take it; what it took is still there.
        """
        assert self._file is not None, "no segment is open"
        try:
            self._append(pcm)
            self._unsynced += len(pcm)
            if self._unsynced >= self._sync_bytes:
                os.fsync(self._file.fileno())
                self._unsynced = 0
        except OSError as error:
            assert self._name is not None
            raise _unavailable(self.path(*self._name), error) from error

    def close(self, recording: str, segment: int, rate_hz: int, samples: int | None) -> Whole:
        """Make a file whole, with at most `samples` samples; it is on the disk when this returns.

        A file that a crash has cut off anywhere is made whole too; one without a sample is removed.

        Raises:
            UnavailableError: the disk fails; it can be tried again.
        """
        path = self.path(recording, segment)
        if self._name == (recording, segment):
            self._let_go()
        try:
            with path.open("r+b", buffering=0) as file:
                there = max(0, os.fstat(file.fileno()).st_size - HEADER_BYTES) // SAMPLE_BYTES
                keep = there if samples is None else min(there, samples)
                if keep == 0:
                    path.unlink()
                    sync_folder(path.parent)
                    return Whole(0)
                file.truncate(HEADER_BYTES + keep * SAMPLE_BYTES)
                file.write(header(rate_hz, keep))
                os.fsync(file.fileno())
                file.seek(0)
                digest = hashlib.sha256()
                while piece := file.read(HASH_BYTES):
                    digest.update(piece)
        except FileNotFoundError:
            return Whole(0)
        except OSError as error:
            raise _unavailable(path, error) from error
        return Whole(keep, HEADER_BYTES + keep * SAMPLE_BYTES, digest.hexdigest())

    def delete(self, recording: str, segment: int) -> None:
        """Remove a file; that it is gone already is fine.

        Raises:
            UnavailableError: the disk fails.
        """
        path = self.path(recording, segment)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            raise _unavailable(path, error) from error

    def set_aside(self, recording: str) -> Path:
        """Keep the files of a recording whose record is damaged for a person, out of the way of new ones."""
        aside = self._folder / f"{recording}.damaged"
        number = 1
        while aside.exists():
            number += 1
            aside = self._folder / f"{recording}.damaged-{number}"
        if (self._folder / recording).exists():
            (self._folder / recording).rename(aside)
        return aside

    def free_bytes(self) -> int:
        """Room on the disk for this process."""
        folder = self._folder if self._folder.exists() else self._folder.parent
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize

    def _append(self, data: bytes | memoryview) -> None:
        assert self._file is not None
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._name = None


def header(rate_hz: int, samples: int) -> bytes:
    """The head of a WAV file of mono 16-bit PCM."""
    size = samples * SAMPLE_BYTES
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        HEADER_BYTES - 8 + size,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        rate_hz,
        rate_hz * SAMPLE_BYTES,
        SAMPLE_BYTES,
        8 * SAMPLE_BYTES,
        b"data",
        size,
    )


def _unavailable(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(f"{path}: {error.strerror}; free some space or look at the disk")
