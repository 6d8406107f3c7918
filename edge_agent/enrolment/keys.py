"""The device's key, the request made of it, and the certificate that comes back, checked before it is kept.

The only module of the agent that needs `cryptography` (10 MB of memory); it runs in a process that ends.
"""

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from edge_agent.errors import MalformedError, SettingsError
from edge_agent.files import write_durably

PEM = serialization.Encoding.PEM


def own_key(path: Path, password: bytes) -> ec.EllipticCurvePrivateKey:
    """The key in `path`; made and written down, encrypted, if there is none that can be read.

    Raises:
        UnavailableError: the disk does not take it.
    """
    found = _readable(path, password)
    if found is not None:
        return found
    key = new_key()
    keep(key, path, password)
    return key


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key that lies nowhere yet."""
    return ec.generate_private_key(ec.SECP256R1())


def keep(key: ec.EllipticCurvePrivateKey, path: Path, password: bytes) -> None:
    """Write `key` down, encrypted.

    Raises:
        UnavailableError: the disk does not take it.
    """
    write_durably(path, _encrypted(key, password))


def encrypt(path: Path, password: bytes) -> None:
    """Put the key in `path`, which lies there in plain, under `password`; one rename.

    Raises:
        SettingsError: there is no key that can be read.
        UnavailableError: the disk does not take it.
    """
    key = _readable(path, password)
    if key is None:
        raise SettingsError(f"{path} holds no key that can be read; remove it and enrol again")
    write_durably(path, _encrypted(key, password))


def _readable(path: Path, password: bytes) -> ec.EllipticCurvePrivateKey | None:
    try:
        content = path.read_bytes()
        found = serialization.load_pem_private_key(content, password if b"ENCRYPTED" in content else None)
    except (FileNotFoundError, ValueError, TypeError):
        return None  # none yet, or one that nobody can use: no certificate hangs on it
    return found if isinstance(found, ec.EllipticCurvePrivateKey) else None


def _encrypted(key: ec.EllipticCurvePrivateKey, password: bytes) -> bytes:
    """PKCS#8 (RFC 5958), PBES2 with AES-256; the password is a random key, so that few rounds do."""
    return key.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(password)
    )


def request(key: ec.EllipticCurvePrivateKey, device: str) -> bytes:
    """A PKCS#10 request (DER) with the device's id as its common name."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def issued(
    answer: bytes, authorities: bytes, key: ec.EllipticCurvePrivateKey, device: str
) -> x509.Certificate:
    """The certificate in `answer` that is for this key and device and comes from one of `authorities`.

    Raises:
        MalformedError: there is none; the control plane has made a mistake, or is not ours.
    """
    trusted = _certificates(authorities)
    for certificate in _certificates(answer):
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if [name.value for name in names] != [device] or certificate.public_key() != key.public_key():
            continue
        if any(_issued_by(certificate, authority) for authority in trusted):
            return certificate
    raise MalformedError(
        f"the control plane sent no certificate for {device} and this device's key; ask its operators"
    )


def _certificates(der: bytes) -> list[x509.Certificate]:
    try:
        return pkcs7.load_der_pkcs7_certificates(der)
    except ValueError as error:
        raise MalformedError("the control plane's answer is no PKCS#7 with certificates") from error


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
