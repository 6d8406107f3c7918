"""A release of the agent: one zip with `release.json` and wheels; read, checked, and unpacked into a folder.

Nothing of a release is run while it is installed: wheels are archives, and they are only unpacked.
"""

import hashlib
import os
import shutil
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.files import sync_folder

MANIFEST = "release.json"
SITE = "site"
MANIFEST_BYTES_MAX = 200_000
WHEELS_MAX = 200
FILES_MAX = 30_000
"""Files of all wheels of one release."""
UNPACKED_BYTES_MAX = 1_500_000_000
"""A recorder's engines have 600 MB."""
SPARE_BYTES = 50_000_000
"""What must stay free on the disk."""
BLOCK_BYTES = 1 << 20
OWN = "fleet_edge_agent"
_LINK = 0o120000
_KIND = 0o170000
_LIBRARIES = ("purelib", "platlib")

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Wheel(msgspec.Struct, frozen=True, kw_only=True):
    """One wheel in the zip, by the name of its file."""

    file: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.+!-]{1,200}\.whl$")]
    sha256: Sha256
    size: Annotated[int, msgspec.Meta(ge=1)]


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What `release.json` says.

    `python` is the lowest version that it runs on. `locks` are the digests of the locks that its
    dependencies were taken from, by kind of device; where the device's own differs, `complete` must say that
    the wheels of all dependencies are here too.
    """

    version: str
    python: Annotated[str, msgspec.Meta(pattern=r"^\d+\.\d+$")]
    locks: dict[str, Sha256]
    complete: bool
    wheels: Annotated[list[Wheel], msgspec.Meta(min_length=1, max_length=WHEELS_MAX)]


def read(path: Path) -> Release:
    """The manifest of an installed release.

    Raises:
        RefusedError: it is not there or says nothing that this agent understands.
    """
    try:
        with path.open("rb") as file:
            return _manifest(file.read(MANIFEST_BYTES_MAX + 1))
    except OSError as error:
        raise RefusedError(f"{path}: {error.strerror}") from error


def lock_digest(base: Path, kind: str) -> str:
    """The digest of the lock that the base installation below `base` was made from; empty without one."""
    try:
        return hashlib.sha256((base / "edge_agent" / f"{kind}.lock").read_bytes()).hexdigest()
    except OSError:
        return ""


def install(image: Path, folder: Path, *, version: str, kind: str, lock: str) -> None:
    """Unpack the release in `image` into `folder`, which is replaced as a whole and is on the disk then.

    `lock` is the digest of the device's own lock for its `kind`.

    Raises:
        RefusedError: it is no release, another version, damaged, or needs what this device does not have.
        UnavailableError: the disk is full.
    """
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with zipfile.ZipFile(image) as archive:
            release = _checked(archive, version=version, kind=kind, lock=lock)
            (part / SITE).mkdir(parents=True, mode=0o755)
            room = _Room(files=FILES_MAX, size=min(UNPACKED_BYTES_MAX, _free(part) - SPARE_BYTES))
            for wheel in release.wheels:
                _unpack(archive, wheel, part, room)
            _check_own(part / SITE, version)
            _write(part / MANIFEST, msgspec.json.encode(release))
        _sync(part)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
        sync_folder(folder.parent)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # the latter two: encrypted, odd
        raise RefusedError(f"the release is no zip that can be read: {error}; build it anew") from error
    except OSError as error:
        raise UnavailableError(f"{folder}: {error.strerror}; free some space") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


class _Room:
    """What may still be unpacked."""

    def __init__(self, *, files: int, size: int) -> None:
        self._files = files
        self._size = size

    def take(self, size: int) -> None:
        self._files -= 1
        self._size -= size
        if self._files < 0:
            raise RefusedError(f"the release has more than {FILES_MAX} files")
        if self._size < 0:
            raise UnavailableError("the release does not fit on the disk; free some space")


def _manifest(content: bytes) -> Release:
    if len(content) > MANIFEST_BYTES_MAX:
        raise RefusedError(f"{MANIFEST} is larger than {MANIFEST_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(content, type=Release)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"{MANIFEST} is no manifest of a release: {error}") from error


def _checked(archive: zipfile.ZipFile, *, version: str, kind: str, lock: str) -> Release:
    try:
        with archive.open(MANIFEST) as file:
            release = _manifest(file.read(MANIFEST_BYTES_MAX + 1))
    except KeyError as error:
        raise RefusedError(f"the release has no {MANIFEST}; build it with firmware_tools release") from error
    if release.version != version:
        raise RefusedError(
            f"the release is version {release.version}, not {version}; assign it as what it is"
        )
    needed = tuple(int(number) for number in release.python.split("."))
    if sys.version_info[:2] < needed:
        raise RefusedError(
            f"the release needs Python {release.python}, this device has {sys.version_info[0]}."
            f"{sys.version_info[1]}; upgrade the device first"
        )
    if not release.complete and release.locks.get(kind) != lock:
        raise RefusedError(
            "the release needs other dependencies than this device has and does not bring them; "
            "build it with --dependencies"
        )
    return release


def _unpack(archive: zipfile.ZipFile, wheel: Wheel, part: Path, room: _Room) -> None:
    """Copy the wheel out of the release, hold it to its digest, and unpack it."""
    copy = part / wheel.file
    digest = hashlib.sha256()
    room.take(wheel.size)
    try:
        with archive.open(wheel.file) as source, copy.open("wb") as target:
            while block := source.read(BLOCK_BYTES):
                digest.update(block)
                target.write(block)
                if target.tell() > wheel.size:
                    break
    except KeyError as error:
        raise RefusedError(f"the release has no {wheel.file}; build it anew") from error
    if digest.hexdigest() != wheel.sha256:
        raise RefusedError(f"{wheel.file} is not what {MANIFEST} says; build the release anew")
    with zipfile.ZipFile(copy) as packed:
        for member in packed.infolist():
            into = _place(member, wheel.file)
            if into is not None:
                room.take(member.file_size)
                _copy(packed, member, part / SITE / into)
    copy.unlink()


def _place(member: zipfile.ZipInfo, wheel: str) -> Path | None:
    """Where a member of a wheel goes, below the site; None for folders and for what only pip would use.

    Raises:
        RefusedError: it wants to go elsewhere.
    """
    name = PurePosixPath(member.filename)
    parts = name.parts
    links = member.create_system == 3 and member.external_attr >> 16 & _KIND == _LINK
    if links or name.is_absolute() or ".." in parts or not parts or "\\" in member.filename:
        raise RefusedError(f"{wheel} has a file that leaves its folder: {member.filename!r:.80}")
    if member.is_dir():
        return None
    if parts[0].endswith(".data"):
        return Path(*parts[2:]) if len(parts) > 2 and parts[1] in _LIBRARIES else None
    return Path(*parts)


def _copy(packed: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with packed.open(member) as source, path.open("wb") as target:
        while block := source.read(min(BLOCK_BYTES, left + 1)):
            left -= len(block)
            if left < 0:
                raise RefusedError(f"{member.filename!r:.80} is larger than it says")
            target.write(block)


def _check_own(site: Path, version: str) -> None:
    """The agent's own wheel must be here, and be what the release says it is: telemetry tells its version."""
    found = [path.name for path in site.glob(f"{OWN}-*.dist-info")]
    if found != [f"{OWN}-{version}.dist-info"] or not (site / "edge_agent" / "__main__.py").is_file():
        raise RefusedError(
            f"the release has no agent of version {version} in it: {', '.join(found) or 'none'}"
        )


def _free(path: Path) -> int:
    return shutil.disk_usage(path).free


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _sync(folder: Path) -> None:
    """Everything below is on the disk: every file and every folder, so that a slot is whole or not there."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)
