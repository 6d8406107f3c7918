"""Small files that are whole or not there, whenever the power goes."""

import os
from pathlib import Path

from edge_agent.errors import UnavailableError


def write_durably(path: Path, data: bytes) -> None:
    """Replace `path` by a file of mode 0600 that holds `data`; on the disk when this returns.

    Raises:
        UnavailableError: the disk does not take it; the file is as it was.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror or error}") from error


def remove_durably(path: Path) -> None:
    """The file is gone, also after a power cut; nothing happens where there is none.

    Raises:
        UnavailableError: the disk does not let it go.
    """
    try:
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnavailableError(f"{path} cannot be removed: {error.strerror or error}") from error


def sync_folder(folder: Path) -> None:
    """What was renamed or removed in `folder` stays so after a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
