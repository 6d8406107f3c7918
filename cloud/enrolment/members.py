"""Which certificates are good, what becomes of them, and the guard of the device listener."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from fastapi import FastAPI, Request
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from cloud.database.models.devices import Device
from cloud.database.models.enrolment import DeviceCertificate
from cloud.database.writing import hold
from cloud.enrolment import pki, tokens
from cloud.enrolment.authority import CRL_AGE
from cloud.enrolment.refusals import STATUS, Cause, EnrolmentRefusedError, count
from cloud.web.application import put_behind
from cloud.web.listener import certificate as shown_certificate
from cloud.web.problems import ProblemError, respond
from contract.enrolment import CERTIFICATE

SUPERSEDED_GRACE = timedelta(hours=1)
"""How long the old certificate still opens doors after the new one has connected."""
GOOD = frozenset({"issued", "active", "superseded"})


def serial_text(certificate: x509.Certificate) -> str:
    """A serial number as the database keeps it."""
    return f"{certificate.serial_number:x}"


def record(session: Session, certificate: x509.Certificate, device: str, by: str, now: datetime) -> None:
    """Keep a certificate that was just signed; it is `issued` until its device comes with it."""
    session.add(
        DeviceCertificate(
            serial=serial_text(certificate),
            device=device,
            state=CERTIFICATE.apply(CERTIFICATE.initial, "issue"),
            by=by,
            fingerprint_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
            issued_at=now,
            expires_at=certificate.not_valid_after_utc,
        )
    )
    session.execute(
        sa.update(Device).where(Device.device == device, Device.enrolled_at.is_(None)).values(enrolled_at=now)
    )


def admit(session: Session, certificate: x509.Certificate, now: datetime) -> Device:
    """The device that `certificate` (whose chain TLS has checked) belongs to.

    The first time that a new certificate comes, it becomes `active` and the one before it `superseded`.

    Raises:
        EnrolmentRefusedError: the certificate is not of this fleet, or has ended.
    """
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
    if CERTIFICATE.allows(row.state, "connect"):
        hold(session, [row.device])
        session.refresh(row)  # it may have been revoked a moment ago
    if device.decommissioned_at is not None or row.state not in GOOD or row.expires_at <= now:
        raise EnrolmentRefusedError(
            Cause.ENDED_CERTIFICATE,
            f"the certificate of {row.device} has ended; enrol the device again with a new token",
        )
    if CERTIFICATE.allows(row.state, "connect"):
        row.state = CERTIFICATE.apply(row.state, "connect")
        row.connected_at = now
        _supersede(session, row, now)
    return device


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

    A spent token would still serve its own key, and a stolen device has both. The list is signed by the
    next `sweep`.
    """
    hold(session, [device])
    tokens.end(session, device, now)
    return _end(session, DeviceCertificate.device == device, "revoke", reason, now)


def sweep(sessions: sessionmaker[Session], folder: Path, now: datetime) -> bool:
    """End what is over, and sign the revocation list anew when it has changed or ends soon.

    Gives whether the list was written.
    """
    with sessions.begin() as session:
        over = DeviceCertificate.expires_at <= now
        old = sa.and_(
            DeviceCertificate.state == "superseded", DeviceCertificate.ended_at <= now - SUPERSEDED_GRACE
        )
        hold(session, session.scalars(sa.select(DeviceCertificate.device).where(sa.or_(over, old))))
        _end(session, over, "expire", "expired", now)
        _end(session, old, "revoke", "superseded", now)
        revoked = {
            int(row.serial, 16): row.ended_at or now
            for row in session.scalars(
                sa.select(DeviceCertificate).where(DeviceCertificate.state == "revoked")
            )
            if row.expires_at > now
        }
    listed = pki.revocations(folder)
    until = listed.next_update_utc
    same = {entry.serial_number for entry in listed} == set(revoked)
    if same and until is not None and until - now > CRL_AGE / 2:
        return False
    number = listed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
    pki.write_revocations(folder, pki.load(folder).revocations(revoked.items(), number, now))
    return True


def protect(app: FastAPI, sessions: sessionmaker[Session], *, now: Callable[[], datetime]) -> None:
    """Put `DeviceGuard` before every route of the device listener's `app`."""
    put_behind(app, Middleware(DeviceGuard, sessions=sessions, now=now))


class DeviceGuard:
    """Lets only devices of this fleet through, and says to the application which one it is.

    `cloud.web.listener.peer` gives the name to the endpoints. The database is asked at every request, so
    that a revoked device is refused on the connection that it has open.
    """

    def __init__(self, app: ASGIApp, sessions: sessionmaker[Session], now: Callable[[], datetime]) -> None:
        self.app = app
        self.sessions = sessions
        self.now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or answer 403 in the application's place."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served; add WebSockets to the guard first")
        request = Request(scope, receive)
        try:
            request.state.device = await run_in_threadpool(self._admit, request)
        except ProblemError as error:
            await respond(request, error.status, error.detail, code=error.code)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _admit(self, request: Request) -> str:
        now = self.now()
        try:
            shown = shown_certificate(request)
            if shown is None:
                raise EnrolmentRefusedError(
                    Cause.NO_CERTIFICATE, "show the certificate of an enrolled device"
                )
            with self.sessions.begin() as session:
                return admit(session, shown, now).device
        except EnrolmentRefusedError as error:
            count(self.sessions, error.cause, now)
            raise ProblemError(STATUS[error.cause], str(error), code=error.cause) from error


def _supersede(session: Session, new: DeviceCertificate, now: datetime) -> None:
    """The new one has connected: the others of this device are for a while, then no more."""
    others = sa.select(DeviceCertificate).where(
        DeviceCertificate.device == new.device,
        DeviceCertificate.serial != new.serial,
        DeviceCertificate.state == "active",
    )
    for row in session.scalars(others):
        row.state = CERTIFICATE.apply(row.state, "supersede")
        row.ended_at = now


def _end(session: Session, which: sa.ColumnElement[bool], event: str, reason: str, now: datetime) -> int:
    ended = 0
    for row in session.scalars(sa.select(DeviceCertificate).where(which)):
        if CERTIFICATE.allows(row.state, event):
            row.state = CERTIFICATE.apply(row.state, event)
            row.ended_at = now
            row.end_reason = reason
            ended += 1
    return ended
