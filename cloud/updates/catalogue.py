"""The folder of the TUF repository: what is published there, its files, and the renewal of its timestamp.

Devices check every signature themselves; the control plane only hands files out, and vouches with the
timestamp's key that they are the newest.
"""

import fcntl
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata
from tuf.api.serialization import DeserializationError

from cloud.errors import SettingsError, UnavailableError
from cloud.files import write_durably
from contract.errors import MalformedError
from contract.updates import Component, target_path, version_key

TIMESTAMP_DAYS = 7
RENEW_BEFORE_DAYS = 4
"""Signed anew when less than this is left, so that a control plane may be away over a long weekend."""
METADATA_BYTES_MAX = 5_000_000
KEY_BYTES_MAX = 10_000

_METADATA = re.compile(r"timestamp\.json|\d{1,9}\.[a-z]{1,20}\.json")
_TARGET = re.compile(r"[0-9a-f]{64}\.[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


@dataclass(frozen=True)
class Target:
    """One published target; `size` in bytes, `published_at` as its publisher's clock said."""

    path: str
    component: Component
    version: str
    size: int
    published_at: datetime | None


class Catalogue:
    """The repository in `folder`; None where this control plane serves none."""

    def __init__(self, folder: Path | None, timestamp_key: Path | None) -> None:
        self._folder = folder
        self._key = timestamp_key

    @property
    def there(self) -> bool:
        """Whether anything has been published."""
        return self._folder is not None and (self._folder / "metadata" / "timestamp.json").is_file()

    def targets(self) -> list[Target]:
        """What can be assigned, the newest version of each component first.

        Raises:
            UnavailableError: a file of the repository is missing or damaged.
        """
        if not self.there:
            return []
        found: list[Target] = []
        try:
            snapshot = self._read(f"{self._read('timestamp.json').snapshot_meta.version}.snapshot.json")
            for component in Component:
                listed = snapshot.meta[f"{component}.json"]
                role = self._read(f"{listed.version}.{component}.json")
                found += [each for target in role.targets.values() if (each := _target(target)) is not None]
        except (OSError, KeyError, AttributeError, DeserializationError) as error:
            raise UnavailableError(
                f"the repository of updates cannot be read: {error}; publish it anew"
            ) from error
        found.sort(key=lambda each: version_key(each.version), reverse=True)
        return sorted(found, key=lambda each: each.component)  # stable: agents first, the newest first

    def metadata_file(self, name: str) -> Path | None:
        """The file of a piece of metadata, None if there is none."""
        return self._file("metadata", name) if _METADATA.fullmatch(name) else None

    def target_file(self, role: str, name: str) -> Path | None:
        """The file of a target by its role and the name with the hash before it, None if there is none."""
        known = role in [component.value for component in Component] or role == "models"
        return self._file(f"targets/{role}", name) if known and _TARGET.fullmatch(name) else None

    def renew_timestamp(self, now: datetime) -> datetime | None:
        """Sign the timestamp anew if it ends soon; until when it holds then, None if nothing was to be done.

        Raises:
            SettingsError: the key is missing, unsafe, or none.
            UnavailableError: the repository cannot be read.
        """
        if self._key is None or not self.there:
            return None
        assert self._folder is not None
        with locked(self._folder / "metadata"):
            path = self._folder / "metadata" / "timestamp.json"
            try:
                metadata: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
            except (OSError, DeserializationError) as error:
                raise UnavailableError(f"{path}: {error}; publish the repository anew") from error
            if metadata.signed.expires - now > timedelta(days=RENEW_BEFORE_DAYS):
                return None
            expires = (now + timedelta(days=TIMESTAMP_DAYS)).replace(microsecond=0)
            metadata.signed.version += 1
            metadata.signed.expires = expires
            metadata.sign(_signer(self._key))
            write_durably(path, metadata.to_bytes(), 0o666)
            return expires

    def _read(self, name: str) -> Any:
        assert self._folder is not None
        with (self._folder / "metadata" / name).open("rb") as file:
            return Metadata.from_bytes(file.read(METADATA_BYTES_MAX)).signed

    def _file(self, below: str, name: str) -> Path | None:
        if self._folder is None:
            return None
        path = self._folder / below / name
        return path if path.is_file() and not path.is_symlink() else None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Publishing and renewing write the same file; `firmware_tools` takes this lock too."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _target(target: Any) -> Target | None:
    """What cannot be assigned is not shown: a foreign name, or a target without a version."""
    custom = target.custom if isinstance(target.custom, dict) else {}
    version, at = str(custom.get("version", "")), str(custom.get("published_at", ""))
    try:
        component = target_path(target.path)
        version_key(version)
    except MalformedError:
        return None
    try:
        published_at = datetime.fromisoformat(at)
    except ValueError:
        published_at = None
    return Target(target.path, component, version, target.length, published_at)


def _signer(key: Path) -> CryptoSigner:
    try:
        if stat.S_IMODE(key.stat().st_mode) & 0o077:
            raise SettingsError(f"updates.timestamp_key_file {key} can be read by others; give it mode 0600")
        private = load_pem_private_key(key.read_bytes()[:KEY_BYTES_MAX], None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"updates.timestamp_key_file {key}: {error}; copy the timestamp's key") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(f"updates.timestamp_key_file {key} is no Ed25519 key; copy the timestamp's key")
    return CryptoSigner(private)
