"""The certificates of the fleet's devices: kept, judged, proven, and ended.

What is decided is in `cloud.enrolment.core`; here it is read and written, in the caller's transaction.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.devices import Device
from cloud.database.models.enrolment import DeviceCertificate
from cloud.database.writing import hold
from cloud.enrolment import core, pki, tokens
from cloud.enrolment.causes import SAYS, Cause
from cloud.enrolment.core import GOOD, Held, Purpose, Standing
from cloud.enrolment.refusals import EnrolmentRefusedError
from contract.enrolment import CERTIFICATE

SUPERSEDED_GRACE = timedelta(minutes=10)
"""How long a certificate still opens doors after another was proven: for what is on its way."""
EXPIRED_GRACE = timedelta(days=90)


def serial_text(certificate: x509.Certificate) -> str:
    """A serial number as the database keeps it."""
    return f"{certificate.serial_number:x}"


def key_digest(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """SHA-256 of the public key (SubjectPublicKeyInfo) in `certificate`, hexadecimal."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def record(session: Session, certificate: x509.Certificate, device: str, by: str, now: datetime) -> None:
    """Keep a certificate that was just signed; it is `issued` until its device comes with it."""
    session.add(
        DeviceCertificate(
            serial=serial_text(certificate),
            device=device,
            state=CERTIFICATE.apply(CERTIFICATE.initial, "issue"),
            by=by,
            fingerprint_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
            key_sha256=key_digest(certificate),
            certificate=certificate.public_bytes(Encoding.DER),
            issued_at=now,
            expires_at=certificate.not_valid_after_utc,
        )
    )
    session.execute(
        sa.update(Device).where(Device.device == device, Device.enrolled_at.is_(None)).values(enrolled_at=now)
    )


def admit(
    session: Session,
    certificate: x509.Certificate,
    now: datetime,
    purpose: Purpose = Purpose.SERVICE,
    expired_grace: timedelta = EXPIRED_GRACE,
) -> Device:
    """The device that `certificate` (whose chain TLS has checked) belongs to.

    The first time that a new certificate comes, it goes on `trial`; the others stay as they are.

    Raises:
        EnrolmentRefusedError: the certificate is not of this fleet, or not good for `purpose`.
    """
    row, device = _known(session, certificate)
    if CERTIFICATE.allows(row.state, "connect"):
        hold(session, [row.device])
        session.refresh(row)  # it may have been revoked a moment ago
    standing = Standing(
        state=row.state,
        valid_from=certificate.not_valid_before_utc,
        expires_at=row.expires_at,
        out_of_service=device.decommissioned_at is not None,
        replaced=_replaced(session, row),
    )
    cause = core.judge(standing, purpose, now, expired_grace)
    if cause is not None:
        raise EnrolmentRefusedError(cause, SAYS[cause].format(device=row.device))
    if CERTIFICATE.allows(row.state, "connect") and now < row.expires_at:
        row.state = CERTIFICATE.apply(row.state, "connect")
        row.connected_at = now
    return device


def prove(session: Session, certificate: x509.Certificate, now: datetime) -> None:
    """A real link has stood with `certificate`, which was just admitted: it is `active`, the others end.

    They are `superseded`, and revoked by the sweep after the grace. Said again, it changes nothing.

    Raises:
        EnrolmentRefusedError: another one was proven since.
    """
    row, device = _known(session, certificate)
    hold(session, [device.device])
    session.refresh(row)
    if row.state == "active":
        return
    if not CERTIFICATE.allows(row.state, "prove"):
        raise EnrolmentRefusedError(
            Cause.SUPERSEDED_CERTIFICATE,
            f"another certificate of {device.device} was proven since; use that one",
        )
    row.state = CERTIFICATE.apply(row.state, "prove")
    row.proven_at = now
    of_device = DeviceCertificate.device == row.device
    _end(session, sa.and_(of_device, DeviceCertificate.serial != row.serial), "supersede", "superseded", now)


def given_again(
    session: Session, device: str, key_sha256: str, shown: str | None, now: datetime
) -> x509.Certificate | None:
    """The certificate that answers a request for the same key once more, if there is one."""
    serial = core.given_again(_held(session, device), key_sha256, shown, now)
    row = session.get(DeviceCertificate, serial) if serial is not None else None
    if row is None or row.certificate is None:
        return None
    return x509.load_der_x509_certificate(row.certificate)


def end_surplus(session: Session, device: str, keep: Collection[str], now: datetime) -> None:
    """Revoke what a device has asked for and never proven, beyond `core.UNPROVEN_MAX`."""
    serials = core.surplus(_held(session, device), keep)
    _end(session, DeviceCertificate.serial.in_(serials), "revoke", "unproven", now)


def good(session: Session, device: str, now: datetime) -> int:
    """How many certificates of `device` open doors now."""
    rows = sa.select(sa.func.count()).where(
        DeviceCertificate.device == device,
        DeviceCertificate.state.in_(GOOD),
        DeviceCertificate.expires_at > now,
    )
    return session.scalar(rows) or 0


def revoke(session: Session, device: str, reason: str, now: datetime) -> int:
    """Revoke every certificate of `device`, and its tokens with them; gives how many certificates.

    A spent token would still serve its own key, and a stolen device has both. The list is signed by
    `cloud.enrolment.revocations`, the live connection ended by `cloud.enrolment.drops`.
    """
    hold(session, [device])
    tokens.end(session, device, now)
    return _end(session, DeviceCertificate.device == device, "revoke", reason, now)


def sweep(sessions: sessionmaker[Session], now: datetime, grace: timedelta = SUPERSEDED_GRACE) -> None:
    """End what is over: what has expired, and what was superseded `grace` ago."""
    with sessions.begin() as session:
        over = sa.and_(DeviceCertificate.expires_at <= now, DeviceCertificate.state.in_(GOOD))
        old = sa.and_(DeviceCertificate.state == "superseded", DeviceCertificate.ended_at <= now - grace)
        hold(session, session.scalars(sa.select(DeviceCertificate.device).where(sa.or_(over, old))))
        _end(session, old, "revoke", "superseded", now)
        _end(session, over, "expire", "expired", now)


def _known(session: Session, certificate: x509.Certificate) -> tuple[DeviceCertificate, Device]:
    row = session.get(DeviceCertificate, serial_text(certificate))
    device = session.get(Device, row.device) if row is not None else None
    if (
        row is None
        or device is None
        or row.fingerprint_sha256 != certificate.fingerprint(hashes.SHA256()).hex()
        or row.device != pki.common_name(certificate)
    ):
        raise EnrolmentRefusedError(
            Cause.UNKNOWN_CERTIFICATE, "this certificate is of no device of this fleet; enrol the device"
        )
    return row, device


def _replaced(session: Session, row: DeviceCertificate) -> bool:
    """Whether the device has proven one that was issued after this."""
    younger = sa.select(DeviceCertificate.serial).where(
        DeviceCertificate.device == row.device,
        DeviceCertificate.serial != row.serial,
        DeviceCertificate.issued_at >= row.issued_at,
        DeviceCertificate.proven_at.is_not(None),
    )
    return session.scalar(younger.limit(1)) is not None


def _held(session: Session, device: str) -> list[Held]:
    session.flush()
    rows = session.scalars(sa.select(DeviceCertificate).where(DeviceCertificate.device == device))
    return [Held(row.serial, row.state, row.key_sha256, row.issued_at, row.expires_at) for row in rows]


def _end(session: Session, which: sa.ColumnElement[bool], event: str, reason: str, now: datetime) -> int:
    ended = 0
    for row in session.scalars(sa.select(DeviceCertificate).where(which)):
        if CERTIFICATE.allows(row.state, event):
            row.state = CERTIFICATE.apply(row.state, event)
            row.ended_at = now
            row.end_reason = reason
            ended += 1
    return ended
