"""The TUF repository that devices take updates from: roles, keys, publishing, rotation, refreshing.

Specification: https://theupdateframework.github.io/specification/latest/. Root 2 of 3, targets 2 of 2, and
below it one terminating role for each kind of target (`agent/*`, `firmware/*`, `models/*`), 2 of 2 each: all
of these keys are kept offline, on different people's media. Snapshot and timestamp have one key each; that of
the timestamp lies with the control plane, which signs anew before it expires. Snapshots are consistent: a
file once published is never written again, but for `timestamp.json`, which is written last.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from firmware_tools.errors import RefusedError

DELEGATED = ("agent", "firmware", "models")
KEYS: dict[str, tuple[str, ...]] = {
    "root": ("root-1", "root-2", "root-3"),
    "targets": ("targets-1", "targets-2"),
    "snapshot": ("snapshot-1",),
    "timestamp": ("timestamp-1",),
    **{role: (f"{role}-1", f"{role}-2") for role in DELEGATED},
}
"""Names of the key files (`NAME.pem`, mode 0600) of each role."""
THRESHOLDS = {"root": 2, "targets": 2, "snapshot": 1, "timestamp": 1, **dict.fromkeys(DELEGATED, 2)}
EXPIRES_DAYS = {
    "root": 365,
    "targets": 180,
    **dict.fromkeys(DELEGATED, 90),
    "snapshot": 90,
    "timestamp": 7,
}
"""After so long a device no longer believes a role's word, unless it was signed anew."""
KEY_BYTES_MAX = 10_000
TARGET_BYTES_MAX = 1_000_000_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


@dataclass(frozen=True)
class Published:
    """One target of the repository."""

    path: str
    version: str
    size: int
    sha256: str
    published_at: str


@dataclass(frozen=True)
class RoleStatus:
    """One role's newest metadata."""

    role: str
    version: int
    expires: datetime
    signatures: int
    threshold: int


def make_keys(folder: Path, roles: Sequence[str] = tuple(KEYS)) -> list[Path]:
    """New Ed25519 keys for `roles` in `folder` (mode 0700); the files, each readable by its owner only.

    Raises:
        RefusedError: a key is there already; it is never written over.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [make_key(folder, name) for role in roles for name in KEYS[role]]


def make_key(folder: Path, name: str) -> Path:
    """One new key.

    Raises:
        RefusedError: it is there already.
    """
    path = folder / f"{name}.pem"
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise RefusedError(f"{path} is there already; keys are never written over") from error
    with os.fdopen(number, "wb") as file:
        file.write(pem)
    return path


class Repository:
    """The repository in `folder`, with the keys that are in `keys` at this moment; `now` in UTC.

    It is changed in memory by `add`, `renew` and `rotate_root`, and written by `publish`.
    """

    def __init__(self, folder: Path, keys: Path, now: datetime) -> None:
        self.folder = folder
        self._keys = keys
        self._now = now
        self._roles: dict[str, Metadata[Any]] = {}
        self._changed: set[str] = set()
        self._leaving: str | None = None

    @property
    def metadata(self) -> Path:
        """Where the signed words are."""
        return self.folder / "metadata"

    @property
    def targets(self) -> Path:
        """Where the bytes are."""
        return self.folder / "targets"

    @property
    def exists(self) -> bool:
        """Whether anything was ever published here."""
        return (self.metadata / "timestamp.json").is_file()

    def create(self) -> None:
        """A repository without targets; all keys must be in the folder."""
        root = Root(consistent_snapshot=True)
        for role in ("root", "targets", "snapshot", "timestamp"):
            for name in KEYS[role]:
                root.add_key(self._signer(name).public_key, role)
            root.roles[role].threshold = THRESHOLDS[role]
        public = {role: [self._signer(name).public_key for name in KEYS[role]] for role in DELEGATED}
        delegations = Delegations(
            keys={key.keyid: key for keys in public.values() for key in keys},
            roles={
                role: DelegatedRole(
                    role, [key.keyid for key in keys], THRESHOLDS[role], terminating=True, paths=[f"{role}/*"]
                )
                for role, keys in public.items()
            },
        )
        self._roles = {
            "root": Metadata(root),
            "targets": Metadata(Targets(delegations=delegations)),
            **{role: Metadata(Targets()) for role in DELEGATED},
            "snapshot": Metadata(Snapshot()),
            "timestamp": Metadata(Timestamp()),
        }
        self._changed = set(self._roles)
        for metadata in self._roles.values():
            metadata.signed.version = 0  # `publish` counts each changed role up

    def load(self) -> None:
        """Read what is published.

        Raises:
            RefusedError: there is no repository, or a file of it is damaged.
        """
        try:
            self._roles = {"timestamp": self._read("timestamp.json", Timestamp)}
            version = self._roles["timestamp"].signed.snapshot_meta.version
            self._roles["snapshot"] = self._read(f"{version}.snapshot.json", Snapshot)
            for name, meta in self._roles["snapshot"].signed.meta.items():
                role = name.removesuffix(".json")
                self._roles[role] = self._read(f"{meta.version}.{name}", Targets)
            newest = max(int(path.name.split(".")[0]) for path in self.metadata.glob("*.root.json"))
            self._roles["root"] = self._read(f"{newest}.root.json", Root)
        except (OSError, ValueError, DeserializationError) as error:
            raise RefusedError(
                f"{self.folder} is no whole repository: {error}; publish into an empty folder"
            ) from error

    def add(self, path: str, file: Path, version: str) -> Published:
        """Take `file` as the target `path` (`agent/NAME`, `firmware/NAME`, `models/NAME`).

        Raises:
            RefusedError: no such kind of target, too large, or the path stands for other bytes already.
        """
        role, _, name = path.partition("/")
        if role not in DELEGATED or not _NAME.fullmatch(name):
            raise RefusedError(f"{path!r:.80} is no target: give {'/NAME, '.join(DELEGATED)}/NAME")
        if file.stat().st_size > TARGET_BYTES_MAX:
            raise RefusedError(f"{file.name} is larger than {TARGET_BYTES_MAX} bytes")
        found = TargetFile.from_file(path, str(file), ["sha256"])
        found.unrecognized_fields["custom"] = {
            "version": version,
            "published_at": self._now.replace(microsecond=0).isoformat(),
        }
        signed: Targets = self._roles[role].signed
        known = signed.targets.get(path)
        if known is not None:
            if known.hashes != found.hashes:
                raise RefusedError(f"{path} is published with other bytes; give the new ones a new name")
            return _published(known)
        stored = self.targets / role / f"{found.hashes['sha256']}.{name}"
        stored.parent.mkdir(parents=True, exist_ok=True)
        _write(stored, file.read_bytes())
        signed.targets[path] = found
        self._changed.add(role)
        return _published(found)

    def renew(self, *roles: str) -> None:
        """Sign `roles` anew with the next `publish`, with a new expiry."""
        self._changed |= set(roles)

    def rotate_root(self, out: str, new: str) -> None:
        """Exchange the root key `out` for `new` (names of key files); signed by enough of both generations.

        Raises:
            RefusedError: a key is missing, or `out` is none of the root's.
        """
        root: Root = self._roles["root"].signed
        leaving, coming = self._signer(out).public_key, self._signer(new).public_key
        if leaving.keyid not in root.roles["root"].keyids:
            raise RefusedError(f"{out} is no key of the root")
        root.revoke_key(leaving.keyid, "root")
        root.add_key(coming, "root")
        self._leaving = leaving.keyid
        self._changed.add("root")

    def refresh_timestamp(self) -> datetime:
        """Sign the timestamp anew and write it; until when it holds then."""
        self._sign_timestamp(())
        expires: datetime = self._roles["timestamp"].signed.expires
        return expires

    def publish(self, leave_out: Sequence[str] = ()) -> None:
        """Write everything that has changed, the timestamp last. `leave_out` are keys that do not sign.

        Raises:
            RefusedError: a key of a role that has changed is not in the folder.
        """
        self.metadata.mkdir(parents=True, exist_ok=True)
        self.targets.mkdir(parents=True, exist_ok=True)
        for role in ("root", "targets", *DELEGATED):
            if role in self._changed:
                data = self._sign(role, leave_out)
                self._leaving = None if role == "root" else self._leaving
                if role != "root":
                    self._roles["snapshot"].signed.meta[f"{role}.json"] = _meta(self._roles[role], data)
        data = self._sign("snapshot", leave_out)
        self._roles["timestamp"].signed.snapshot_meta = _meta(self._roles["snapshot"], data)
        self._sign_timestamp(leave_out)
        self._changed.clear()

    def published(self) -> list[Published]:
        """Every target, by path."""
        return sorted(
            (
                _published(target)
                for role in DELEGATED
                for target in self._roles[role].signed.targets.values()
            ),
            key=lambda each: each.path,
        )

    def status(self) -> list[RoleStatus]:
        """Every role: what is signed, by how many of its keys, and until when."""
        root: Root = self._roles["root"].signed
        delegations = self._roles["targets"].signed.delegations
        found = []
        for role, metadata in self._roles.items():
            rules = delegations.roles[role] if role in DELEGATED else root.roles[role]
            holder = self._roles["targets" if role in DELEGATED else "root"].signed
            signed = holder.get_verification_result(role, metadata.signed_bytes, metadata.signatures).signed
            found.append(
                RoleStatus(
                    role, metadata.signed.version, metadata.signed.expires, len(signed), rules.threshold
                )
            )
        return sorted(found, key=lambda each: [*KEYS].index(each.role))

    def _sign_timestamp(self, leave_out: Sequence[str]) -> None:
        """The control plane may have renewed it since it was read here: its version never goes back."""
        with (self.metadata / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.exists:
                newest = self._read("timestamp.json", Timestamp).signed.version
                timestamp = self._roles["timestamp"].signed
                timestamp.version = max(timestamp.version, newest)
            self._sign("timestamp", leave_out)

    def _sign(self, role: str, leave_out: Sequence[str]) -> bytes:
        metadata = self._roles[role]
        metadata.signed.version += 1
        metadata.signed.expires = (self._now + timedelta(days=EXPIRES_DAYS[role])).replace(microsecond=0)
        metadata.signatures.clear()
        for name in self._root_signers() if role == "root" else KEYS[role]:
            if name not in leave_out:
                metadata.sign(self._signer(name), append=True)
        data = metadata.to_bytes()
        name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
        _write(self.metadata / name, data)
        return data

    def _root_signers(self) -> list[str]:
        """Every key in the folder that is the root's, or was until this change: both must sign a rotation."""
        root: Root = self._roles["root"].signed
        wanted = {*root.roles["root"].keyids, self._leaving}
        names = sorted(path.stem for path in self._keys.glob("root-*.pem"))
        return [name for name in names if self._signer(name).public_key.keyid in wanted]

    def _signer(self, name: str) -> CryptoSigner:
        path = self._keys / f"{name}.pem"
        try:
            content = path.read_bytes()[:KEY_BYTES_MAX]
            private = load_pem_private_key(content, None)
        except (OSError, ValueError, TypeError) as error:
            raise RefusedError(f"{path} is no private key that can be read: {error}; bring it") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise RefusedError(f"{path} is no Ed25519 key; make one with: python -m firmware_tools keys")
        return CryptoSigner(private)

    def _read(self, name: str, kind: type[Any]) -> Metadata[Any]:
        found: Metadata[Any] = Metadata.from_bytes((self.metadata / name).read_bytes())
        if not isinstance(found.signed, kind):
            raise ValueError(f"{name} is no {kind.__name__.lower()}")  # noqa: TRY004 - a damaged file
        return found


def _meta(metadata: Metadata[Any], data: bytes) -> MetaFile:
    digest = hashlib.sha256(data).hexdigest()
    return MetaFile(metadata.signed.version, len(data), {"sha256": digest})


def _published(target: TargetFile) -> Published:
    custom = target.unrecognized_fields.get("custom", {})
    return Published(
        path=target.path,
        version=str(custom.get("version", "")),
        size=target.length,
        sha256=target.hashes["sha256"],
        published_at=str(custom.get("published_at", "")),
    )


def _write(path: Path, data: bytes) -> None:
    """The old file or the new one, never half of it: devices read while this is written."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
