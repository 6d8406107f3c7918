"""The folder with the authority's, the servers' and the services' keys and certificates.

`ca`, `server`, `broker`, `svc-control`, `svc-ingest` and `seal`, each a `.pem` and a `.key` (mode 0600), and
`crl.pem`. All of them are signed by the one authority; the folder itself is 0700.
"""

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from cloud.enrolment import authority
from cloud.enrolment.authority import Authority
from cloud.errors import SettingsError

AUTHORITY_NAME = "Civic Fleet Authority"
SEAL_NAME = "Komuna e Prishtinës"
"""Stands in the seal of every document as who sealed it."""
SERVICES = ("svc-control", "svc-ingest")
RENEW_BEFORE = timedelta(days=30)
"""`prepare` makes a certificate anew that has less than this left."""


def prepare(folder: Path, hosts: Sequence[str], now: datetime) -> None:
    """Make what is missing, what ends soon and what names other `hosts`; leave the rest as it is.

    `hosts` are the names and addresses under which the servers and the broker are reached.

    Raises:
        SettingsError: the folder holds something that is no key or certificate.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "ca.key").exists():
        made = authority.found(AUTHORITY_NAME, now)
        _write_pair(folder, "ca", made.key, made.certificate)
    issuer = load(folder)
    for name in ("server", "broker"):
        if not _stands(folder, name, now, hosts):
            key = ec.generate_private_key(ec.SECP256R1())
            _write_pair(folder, name, key, issuer.server(key.public_key(), hosts[0], hosts, now))
    for name in SERVICES:
        if not _stands(folder, name, now):
            key = ec.generate_private_key(ec.SECP256R1())
            _write_pair(folder, name, key, issuer.service(key.public_key(), name, now))
    if not _stands(folder, "seal", now):
        key = ec.generate_private_key(ec.SECP256R1())
        _write_pair(folder, "seal", key, issuer.seal(key.public_key(), SEAL_NAME, now))
    if not (folder / "crl.pem").exists():
        write_revocations(folder, issuer.revocations([], 1, now))


def load(folder: Path) -> Authority:
    """The authority whose key is in `folder`.

    Raises:
        SettingsError: there is none, or it cannot be read.
    """
    key = _key(folder / "ca.key")
    return Authority(key, _certificate(folder / "ca.pem"))


def revocations(folder: Path) -> x509.CertificateRevocationList:
    """The list that `folder` holds.

    Raises:
        SettingsError: there is none, or it cannot be read.
    """
    path = folder / "crl.pem"
    try:
        return x509.load_pem_x509_crl(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} is no revocation list ({error}); run `python -m cloud init`") from error


def write_revocations(folder: Path, listed: x509.CertificateRevocationList) -> None:
    """Put the list where servers and broker read it."""
    _write(folder / "crl.pem", listed.public_bytes(Encoding.PEM), 0o644)


def _stands(folder: Path, name: str, now: datetime, hosts: Sequence[str] = ()) -> bool:
    if not (folder / f"{name}.key").exists() or not (folder / f"{name}.pem").exists():
        return False
    certificate = _certificate(folder / f"{name}.pem")
    return certificate.not_valid_after_utc - now > RENEW_BEFORE and (
        not hosts or set(_hosts(certificate)) == set(hosts)
    )


def _hosts(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def common_name(certificate: x509.Certificate) -> str:
    """The subject's common name; empty where there is not exactly one."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{path} is no private key ({error}); run `python -m cloud init`") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError(f"{path} is no elliptic-curve key; put the authority's own key there")
    return key


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} is no certificate ({error}); run `python -m cloud init`") from error


def _write_pair(
    folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
) -> None:
    """The key first: a certificate without its key would be taken for done."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(folder / f"{name}.key", private, 0o600)
    _write(folder / f"{name}.pem", certificate.public_bytes(Encoding.PEM), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Replace the file at once; it is never there half."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
