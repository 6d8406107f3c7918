"""A tiny certificate authority for tests: it signs what it is asked to, for an hour or as it is told."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
BACKDATED = dt.timedelta(minutes=5)
LASTS = dt.timedelta(hours=1)
Life = tuple[dt.datetime, dt.datetime]
"""From when to when a certificate is good."""


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Authority:
    """Issues certificates for servers on this machine and for devices."""

    def __init__(
        self, name: str = "Test fleet", *, servers: Life | None = None, devices: Life | None = None
    ) -> None:
        self._servers = servers
        self._devices = devices
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = named(name)
        self.certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    def device(self, public: ec.EllipticCurvePublicKey, common_name: str) -> x509.Certificate:
        return (
            self._builder(named(common_name), public, self._devices)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def server(self, public: ec.EllipticCurvePublicKey) -> x509.Certificate:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            self._builder(named("localhost"), public, self._servers)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def write_server(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Certificate and key files of a server on this machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _write(folder, name, self.server(key.public_key()), key)

    def write_device(self, folder: Path, common_name: str) -> tuple[Path, Path]:
        """Certificate and key files as the agent keeps them, below `folder`."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _write(folder, "device", self.device(key.public_key(), common_name), key)

    def _builder(
        self,
        subject: x509.Name,
        public: ec.EllipticCurvePublicKey,
        life: Life | None = None,
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        begins, ends = life or (now - BACKDATED, now + LASTS)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
        )


def _write(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    pem, private = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(certificate.public_bytes(PEM))
    private.write_bytes(
        key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    private.chmod(0o600)
    return pem, private
