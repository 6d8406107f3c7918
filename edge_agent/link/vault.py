"""Where the key-encryption key comes from: the secret under which the device's private keys lie on its disk.

A file today; `LoadCredential=` or `LoadCredentialEncrypted=` of systemd puts one in place that only this
service can read, sealed by the machine's TPM where it has one.
"""

import secrets
import stat
from pathlib import Path
from typing import Protocol

from edge_agent.errors import SettingsError
from edge_agent.files import write_durably

SECRET_BYTES = 32
SECRET_LENGTH_MIN = 32
SECRET_LENGTH_MAX = 512
OTHERS = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP
"""Who may not touch the secret. A credential of systemd shows its access list as a group that may read."""


class KeyVault(Protocol):
    """Gives the secret that opens this device's private keys."""

    def password(self) -> bytes:
        """The secret, the same each time; `SECRET_LENGTH_MIN` bytes or more, ASCII.

        Raises:
            SettingsError: there is none, it is none, or others can read it.
        """

    def prepare(self) -> None:
        """Make a secret where there is none yet and this vault can; called before a key is encrypted.

        Raises:
            UnavailableError: it cannot be kept.
        """


class FileVault:
    """A secret in a file; with `own` it is made at the first need, else somebody else puts it there."""

    def __init__(self, path: Path, *, own: bool = False) -> None:
        self._path = path
        self._own = own

    def password(self) -> bytes:
        try:
            mode = self._path.stat().st_mode
            secret = self._path.read_bytes().strip()
        except OSError as error:
            raise SettingsError(
                f"the key-encryption key {self._path}: {error.strerror}; put back the file that the keys of "
                "this device were encrypted with, or remove its certificates and enrol it again"
            ) from error
        if mode & OTHERS:
            raise SettingsError(
                f"the key-encryption key {self._path} is open to others (mode {stat.S_IMODE(mode):04o}); "
                f"chmod 600 {self._path}, and enrol the device again if somebody may have read it"
            )
        if not SECRET_LENGTH_MIN <= len(secret) <= SECRET_LENGTH_MAX or not secret.isascii():
            raise SettingsError(
                f"the key-encryption key {self._path} must be {SECRET_LENGTH_MIN} to {SECRET_LENGTH_MAX} "
                "characters of ASCII, such as `openssl rand -hex 32` gives"
            )
        return secret

    def prepare(self) -> None:
        if self._own and not self._path.exists():
            write_durably(self._path, secrets.token_hex(SECRET_BYTES).encode())


class MemoryVault:
    """A secret for tests; it lives as long as the object."""

    def __init__(self) -> None:
        self._secret = b""

    def password(self) -> bytes:
        if not self._secret:
            raise SettingsError("the key-encryption key was never made")
        return self._secret

    def prepare(self) -> None:
        self._secret = self._secret or b"in-memory-".ljust(SECRET_LENGTH_MIN, b"x")
