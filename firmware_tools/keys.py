"""The key that firmware is signed with: Ed25519, made here, its private half readable by its owner only."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from firmware_tools.errors import RefusedError
from firmware_tools.files import read, write_new
from firmware_tools.image import KEY_BYTES_MAX

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644


def generate(private: Path, public: Path, passphrase: bytes | None) -> None:
    """Make a key pair; neither file may be there already.

    Raises:
        UnwritableError: a file is there already, or cannot be made; then no key is left.
    """
    key = Ed25519PrivateKey.generate()
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    write_new(
        public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), PUBLIC_MODE
    )
    try:
        write_new(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), PRIVATE_MODE)
    except BaseException:  # whatever ends it: half a pair would refuse the second try
        public.unlink()
        raise


def read_private(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """The private key of a PEM file.

    Raises:
        UnreadableError: no readable file.
        RefusedError: no Ed25519 private key in PEM, or the passphrase is wrong or missing.
    """
    try:
        key = load_pem_private_key(read(path, KEY_BYTES_MAX), passphrase)
    except TypeError as error:
        needs = "needs a passphrase; give --passphrase-file" if passphrase is None else "has no passphrase"
        raise RefusedError(f"key {path.name}: it {needs}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RefusedError(
            f"key {path.name}: not an Ed25519 private key in PEM, or a wrong passphrase; make one with keygen"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise RefusedError(f"key {path.name}: not an Ed25519 private key; make one with keygen")
    return key
