"""The object store, by `obstore`: today a folder. What is whole is moved in under its key and stays."""

import os
from collections.abc import Iterator
from pathlib import Path

import obstore
from obstore.store import LocalStore

from cloud.errors import UnavailableError
from cloud.files import sync_folder

INCOMING = "uploads"
"""Below the store's folder: what is still coming; on the same disk, so that moving it in copies nothing."""
CHUNK_BYTES = 4 * 1024 * 1024


class FolderObjects:
    """A store in `folder`, which is made with mode 0700. Calls may come from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for each in (folder, folder / INCOMING):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._store = LocalStore(folder)

    def incoming(self, name: str) -> Path:
        """Where the bytes of the upload `name` are gathered."""
        return self._folder / INCOMING / name

    def all_incoming(self) -> list[str]:
        """The names of all that is gathered."""
        return [path.name for path in (self._folder / INCOMING).iterdir()]

    def free_bytes(self) -> int:
        """Room on the store's disk."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def take_in(self, name: str, key: str) -> None:
        """Move what was gathered under `name` to `key`; durable when this returns.

        The file must be synced. Doing it again after a crash is harmless, also when it had been done.

        Raises:
            UnavailableError: neither the upload nor the object is there, or the disk fails.
        """
        try:
            obstore.rename(self._store, f"{INCOMING}/{name}", key, overwrite=True)
        except FileNotFoundError as error:
            if self.size(key) is None:
                raise UnavailableError(f"upload {name} is gone from the disk; send it anew") from error
        except OSError as error:
            raise UnavailableError(f"object {key} cannot be stored: {type(error).__name__}") from error
        path = self._folder / key
        for folder in (path.parent, path.parent.parent, self._folder):
            sync_folder(folder)

    def size(self, key: str) -> int | None:
        """Bytes of an object; None if there is none."""
        try:
            return obstore.head(self._store, key)["size"]
        except FileNotFoundError:
            return None

    def read(self, key: str, start: int, length: int) -> bytes:
        """Bytes of an object from `start` on; fewer at its end.

        Raises:
            UnavailableError: there is no such object.
        """
        size = self.size(key)
        if size is None:
            raise UnavailableError(f"object {key} is not there")
        length = min(length, size - start)
        return bytes(obstore.get_range(self._store, key, start=start, length=length)) if length > 0 else b""

    def stream(self, key: str) -> Iterator[bytes]:
        """An object in pieces of at most `CHUNK_BYTES`.

        Raises:
            UnavailableError: there is no such object.
        """
        start = 0
        while piece := self.read(key, start, CHUNK_BYTES):
            yield piece
            start += len(piece)


def segment_key(recording: str, segment: int) -> str:
    """The key of a segment's object."""
    return f"recordings/{recording}/{segment:04d}.wav"
