"""Whether a firmware image holds: its own hash by `contract.firmware`, its Ed25519 signature here."""

import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from contract import firmware
from contract.errors import MalformedError
from contract.firmware import Image
from firmware_tools.errors import RefusedError

KEY_BYTES_MAX: Final = 4096


def parse(data: bytes) -> Image:
    """Read an image and hold its hash against its bytes.

    Raises:
        RefusedError: not an image, truncated, too large, encrypted, malformed, or altered.
    """
    try:
        return firmware.parse(data)
    except MalformedError as error:
        raise RefusedError(str(error)) from error


def read_key(pem: bytes) -> Ed25519PublicKey:
    """The public key of a PEM file.

    Raises:
        RefusedError: no PEM, or no Ed25519 public key.
    """
    wrong = "not an Ed25519 public key in PEM; write one with imgtool getpub -e pem"
    if len(pem) > KEY_BYTES_MAX:
        raise RefusedError(f"key: {wrong}")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RefusedError(f"key: {wrong}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise RefusedError(f"key: {wrong}")
    return key


def verify(image: Image, key: Ed25519PublicKey) -> None:
    """Hold an image's signature against a key.

    Raises:
        RefusedError: not signed by Ed25519, signed by another key, or the signature does not hold.
    """
    if image.signature is None or image.key_hash is None:
        raise RefusedError(
            "not signed: it carries no Ed25519 signature with a key hash; sign it with imgtool -k"
        )
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if hashlib.sha256(spki).digest() != image.key_hash:
        raise RefusedError(
            f"foreign key: it was signed for key {image.key_hash.hex()[:16]}…, not for this one; "
            "do not flash it, ask who built it"
        )
    try:
        key.verify(image.signature, image.sha256)
    except InvalidSignature as error:
        raise RefusedError(
            "altered: the signature does not hold for its hash; do not flash it, fetch it again"
        ) from error
