"""Reading and writing the files of the tools: bounded, and never half."""

import os
import secrets
from pathlib import Path

from firmware_tools.errors import UnreadableError, UnwritableError


def read(path: Path, bytes_max: int) -> bytes:
    """At most one byte more than is taken, so that a wrong file costs no memory.

    Raises:
        UnreadableError: there is no such file, or it may not be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(bytes_max + 1)
    except OSError as error:
        raise UnreadableError(
            f"cannot be read: {path.name}: {error.strerror}; name a readable file"
        ) from error


def write(path: Path, data: bytes) -> None:
    """Put a file in place, whole or not at all; what was there before is replaced.

    Raises:
        UnwritableError: the folder is not there, or may not be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _create(beside, data, 0o644)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UnwritableError(
            f"cannot be written: {path.name}: {error.strerror}; name a file in a folder that is there"
        ) from error


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Make a file that was not there.

    Raises:
        UnwritableError: it is there already, or cannot be made.
    """
    try:
        _create(path, data, mode)
    except FileExistsError as error:
        raise UnwritableError(
            f"{path.name} is there already and is not overwritten; choose another name"
        ) from error
    except OSError as error:
        raise UnwritableError(
            f"cannot be written: {path.name}: {error.strerror}; name a file in a folder that is there"
        ) from error


def _create(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
