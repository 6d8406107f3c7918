"""Private keys on the disk: files of mode 0600, those of the authorities encrypted where a secret is given.

The secret is what a file holds, as on the devices; a module that keeps it elsewhere would stand here.
"""

import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cloud.errors import SettingsError
from cloud.files import write_durably

SECRET_BYTES_MIN = 16
SECRET_BYTES_MAX = 1024


def read(path: Path, key_file: Path | None = None) -> ec.EllipticCurvePrivateKey:
    """The elliptic-curve key in `path`, which is encrypted under what `key_file` holds, if that is given.

    Raises:
        SettingsError: there is none, or the secret does not open it.
    """
    password = _secret(key_file)
    try:
        key = load_pem_private_key(path.read_bytes(), password)
    except TypeError as error:
        what = (
            "is not encrypted" if password else "is encrypted, and the settings name no certificates.key_file"
        )
        raise SettingsError(f"{path} {what}; set the key_file, and run `python -m cloud init`") from error
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; run `python -m cloud init`") from error
    except ValueError as error:
        raise SettingsError(
            f"{path} is no private key, or {key_file} does not open it; put the right file there"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError(f"{path} is no elliptic-curve key; put the authority's own key there")
    return key


def write(path: Path, key: ec.EllipticCurvePrivateKey, key_file: Path | None = None) -> None:
    """Write `key` (mode 0600), encrypted under what `key_file` holds, if that is given.

    Raises:
        SettingsError: `key_file` holds no secret.
    """
    password = _secret(key_file)
    how: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
    write_durably(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how), 0o600)


def encrypt(path: Path, key_file: Path | None) -> None:
    """Encrypt a key that was written down before there was a secret; do nothing where there is none.

    Raises:
        SettingsError: `path` holds no key, or `key_file` no secret.
    """
    if key_file is None or not path.exists():
        return
    try:
        plain = load_pem_private_key(path.read_bytes(), None)
    except TypeError:
        return  # encrypted already
    except ValueError as error:
        raise SettingsError(f"{path} is no private key; put the authority's own key there") from error
    if isinstance(plain, ec.EllipticCurvePrivateKey):
        write(path, plain, key_file)


def _secret(key_file: Path | None) -> bytes | None:
    if key_file is None:
        return None
    try:
        open_to_others = stat.S_IMODE(key_file.stat().st_mode) & 0o077
        secret = key_file.read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"certificates.key_file {key_file}: {error.strerror}; give a file with a secret"
        ) from error
    if open_to_others:
        raise SettingsError(f"certificates.key_file {key_file} can be read by others; chmod 600 it")
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise SettingsError(
            f"certificates.key_file {key_file} holds {len(secret)} bytes; give {SECRET_BYTES_MIN} to "
            f"{SECRET_BYTES_MAX} random ones, such as `openssl rand -hex 32` makes"
        )
    return secret
