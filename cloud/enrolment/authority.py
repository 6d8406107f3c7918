"""The city's certificate authorities: a root that signs one other, which signs everything else.

That one signs devices, our own services, and lists of what is revoked. Nothing of a request is copied into a
certificate but the public key (RFC 7030 leaves the rest to us).
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloud.errors import MalformedError
from contract.enrolment import BACKDATED_S

BACKDATED = timedelta(seconds=BACKDATED_S)
"""A device whose clock is behind takes its certificate at once, and a broker the list of revoked ones."""
ROOT_AGE = timedelta(days=7300)
ISSUING_AGE = timedelta(days=1825)
DEVICE_AGE = timedelta(days=30)
SERVICE_AGE = timedelta(days=365)
CRL_AGE = timedelta(days=30)
RSA_BITS_MIN = 2048
RSA_BITS_MAX = 4096
CURVES = (ec.SECP256R1, ec.SECP384R1)
_KEYS_TAKEN = f"the key must be EC P-256 or P-384, or RSA of {RSA_BITS_MIN} to {RSA_BITS_MAX} bits"


@dataclass(frozen=True)
class Authority:
    """A key and its certificate; `above` holds those that vouch for it, the root last, none for a root."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """Its own certificate and those above it, the root last."""
        return (self.certificate, *self.above)

    def issuing(self, key: ec.EllipticCurvePrivateKey, name: str, now: datetime) -> "Authority":
        """The authority of `key`, called `name`, which this one vouches for; it may sign no further one."""
        certificate = (
            _certificate(
                key.public_key(), _name(name), self.certificate.subject, now, self._until(now, ISSUING_AGE)
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(self._authority_key(), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Authority(key, certificate, self.chain)

    def device(
        self,
        key: CertificatePublicKeyTypes,
        device: str,
        kind: str,
        now: datetime,
        age: timedelta = DEVICE_AGE,
    ) -> x509.Certificate:
        """A certificate for the device whose public key is `key`; it lives for `age`, TLS client only."""
        uri = x509.UniformResourceIdentifier(f"urn:civic-fleet:{kind}:{device}")
        return self._leaf(key, device, now, age, [uri], ExtendedKeyUsageOID.CLIENT_AUTH)

    def server(
        self, key: CertificatePublicKeyTypes, name: str, hosts: Sequence[str], now: datetime
    ) -> x509.Certificate:
        """A certificate for a TLS server that is reached under `hosts` (names and addresses)."""
        return self._leaf(
            key, name, now, SERVICE_AGE, [_host(host) for host in hosts], ExtendedKeyUsageOID.SERVER_AUTH
        )

    def service(self, key: CertificatePublicKeyTypes, name: str, now: datetime) -> x509.Certificate:
        """A certificate for a service of ours, which is called `name` at the broker."""
        return self._leaf(key, name, now, SERVICE_AGE, [x509.DNSName(name)], ExtendedKeyUsageOID.CLIENT_AUTH)

    def seal(self, key: CertificatePublicKeyTypes, name: str, now: datetime) -> x509.Certificate:
        """A certificate for sealing documents: it signs and cannot be denied, and opens no connection."""
        return self._leaf(key, name, now, SERVICE_AGE * 2, [], None, content_commitment=True)

    def revocations(
        self,
        revoked: Iterable[tuple[int, datetime]],
        number: int,
        now: datetime,
        age: timedelta = CRL_AGE,
    ) -> x509.CertificateRevocationList:
        """The signed list of revoked serial numbers with their times; `number` only grows."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - BACKDATED)
            .next_update(now + age)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(self._authority_key(), critical=False)
        )
        for serial, at in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, hashes.SHA256())

    def _leaf(
        self,
        key: CertificatePublicKeyTypes,
        name: str,
        now: datetime,
        age: timedelta,
        names: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier | None,
        *,
        content_commitment: bool = False,
    ) -> x509.Certificate:
        builder = (
            _certificate(key, _name(name), self.certificate.subject, now, self._until(now, age))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True, content_commitment=content_commitment), True)
            .add_extension(self._authority_key(), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def _until(self, now: datetime, age: timedelta) -> datetime:
        """Nothing outlives who vouches for it."""
        return min(now + age, self.certificate.not_valid_after_utc)

    def _authority_key(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())


def found(name: str, now: datetime) -> Authority:
    """A new root, called `name`, that signs itself; one authority may stand below it."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _certificate(key.public_key(), _name(name), _name(name), now, now + ROOT_AGE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate)


def key_id(certificate: x509.Certificate) -> str:
    """Which key an authority has, hexadecimal; it is the same after a renewal with that key."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return found.digest.hex()


def issuer_id(signed: x509.Certificate | x509.CertificateRevocationList) -> str:
    """The `key_id` of who has signed a certificate or a list; empty where that is not said."""
    try:
        found = signed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return ""
    return (found.key_identifier or b"").hex()


def common_name(name: x509.Name) -> str:
    """The common name in `name`; empty where there is not exactly one."""
    names = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


class AnotherNameError(MalformedError):
    """The request is for somebody else."""


def check_request(der: bytes, device: str) -> x509.CertificateSigningRequest:
    """The PKCS#10 request `der`, if it is whole and for `device`; of it only the public key may be used.

    Raises:
        MalformedError: not a request, or a signature or key that is not taken.
        AnotherNameError: it is not for `device`.
    """
    try:
        request = x509.load_der_x509_csr(der)
        signed = request.is_signature_valid
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        key = request.public_key()
    except UnsupportedAlgorithm as error:
        raise MalformedError(_KEYS_TAKEN) from error
    except ValueError as error:
        raise MalformedError("the body holds no PKCS#10 request in DER; make it with openssl req") from error
    if not signed:
        raise MalformedError("the request is not signed by the key in it")
    if [name.value for name in names] != [device]:
        raise AnotherNameError(f"the request must have the common name {device} and no other")
    if isinstance(key, rsa.RSAPublicKey):
        taken = RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX
    else:
        taken = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES)
    if not taken:
        raise MalformedError(_KEYS_TAKEN)
    return request


def _certificate(
    key: CertificatePublicKeyTypes, subject: x509.Name, issuer: x509.Name, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(
    *,
    digital_signature: bool = False,
    content_commitment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
