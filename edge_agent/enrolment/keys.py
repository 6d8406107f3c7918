"""The device's key, the request made of it, and the certificate that comes back, checked before it is kept.

The only module of the agent that needs `cryptography` (10 MB of memory); it runs in a process that ends.
"""

import os
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from edge_agent.errors import MalformedError

PEM = serialization.Encoding.PEM


def own_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in `path`; made and written down (mode 0600) if there is none that can be read."""
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), None)
        if isinstance(found, ec.EllipticCurvePrivateKey):
            return found
    except (FileNotFoundError, ValueError, TypeError):
        pass  # none yet, or one that nobody can use: no certificate hangs on it
    key = ec.generate_private_key(ec.SECP256R1())
    write_durably(
        path, key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return key


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


def write_durably(path: Path, data: bytes) -> None:
    """Replace `path` by a file of mode 0600 that is whole or not there, whenever the power goes."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
