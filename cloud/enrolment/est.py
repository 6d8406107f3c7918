"""Enrolment over secure transport (RFC 7030): the routes of the bootstrap listener.

The answers are base64 in one line; strongSwan's client reads no other form.
"""

import base64
import binascii
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7
from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from cloud.database.models.devices import Device
from cloud.database.models.enrolment import DeviceCertificate
from cloud.database.writing import hold
from cloud.enrolment import authority, members, pki, tokens
from cloud.enrolment.authority import DEVICE_AGE, Authority, issuer_id, key_id
from cloud.enrolment.causes import RETRY_AFTER_S, SAYS, STATUS, Cause
from cloud.enrolment.core import Purpose
from cloud.enrolment.line import Line, LineFullError
from cloud.enrolment.refusals import EnrolmentRefusedError, count
from cloud.errors import MalformedError, RefusedError
from cloud.web.listener import certificate as shown_certificate
from cloud.web.problems import ProblemError
from cloud.web.public import public
from contract.enrolment import EST_PREFIX, REVOKED_PATH

T = TypeVar("T")
log = logging.getLogger(__name__)

BODY_BYTES_MAX = 16_384
"""A request with an RSA-4096 key is about 2 KiB."""
CERTIFICATES_MAX = 20
"""Of one device within a day, or a life if that is shorter; a loop in its renewal does not fill our disk."""
DAY = timedelta(days=1)
CHALLENGE = {"WWW-Authenticate": 'Basic realm="enrolment", charset="UTF-8"'}


MEDIA_REQUEST = "application/pkcs10"
MEDIA_PEM = "application/x-pem-file"
MEDIA_CERTIFICATES = "application/pkcs7-mime; smime-type=certs-only"


@dataclass(frozen=True)
class Desk:
    """What enrolment needs: the authority, the database and the clock, and how long certificates live."""

    issuer: Authority
    sessions: sessionmaker[Session]
    now: Callable[[], datetime]
    age: timedelta = DEVICE_AGE
    expired_grace: timedelta = members.EXPIRED_GRACE

    def enrol(self, device: str, token: str, body: bytes) -> x509.Certificate:
        """A first certificate for the holder of a one-time token.

        Token and certificate are one transaction: a refused request leaves the token as it was.

        Raises:
            EnrolmentRefusedError: for the token, the request, or because it is too often.
        """
        now = self.now()
        with self.sessions.begin() as session:
            hold(session, [device])
            found = _right(lambda: tokens.find(session, device, token, now))
            if session.get_one(Device, device).decommissioned_at is not None:
                raise EnrolmentRefusedError(
                    Cause.OUT_OF_SERVICE, SAYS[Cause.OUT_OF_SERVICE].format(device=device)
                )
            request = _request(body, device)
            der = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            _right(lambda: tokens.use(found, der, now))
            return self._issue(session, device, found.kind, request, None, now)

    def renew(self, shown: x509.Certificate, body: bytes) -> x509.Certificate:
        """A new certificate for the device that has shown one of its own; that one stays as it is.

        The shown one may have expired, within the grace.

        Raises:
            EnrolmentRefusedError: for the certificate, the request, or because it is too often.
        """
        now = self.now()
        with self.sessions.begin() as session:
            hold(session, [pki.common_name(shown)])
            device = members.admit(session, shown, now, Purpose.RENEWAL, self.expired_grace)
            request = _request(body, device.device)
            return self._issue(session, device.device, device.kind, request, shown, now)

    def _issue(
        self,
        session: Session,
        device: str,
        kind: str,
        request: x509.CertificateSigningRequest,
        shown: x509.Certificate | None,
        now: datetime,
    ) -> x509.Certificate:
        """The same certificate for the same key while it is unproven; else a new one.

        One of an authority that was replaced is not given again: `cacerts` does not name its issuer.
        """
        serial = members.serial_text(shown) if shown is not None else None
        again = members.given_again(session, device, members.key_digest(request), serial, now)
        if again is not None and issuer_id(again) == key_id(self.issuer.certificate):
            log.info("certificate_given_again", extra={"device": device})
            return again
        _check_pace(session, device, now, min(DAY, self.age))
        by = "token" if shown is None else "renewal"
        certificate = self.issuer.device(request.public_key(), device, kind, now, self.age)
        members.record(session, certificate, device, by, now)
        kept = {members.serial_text(certificate), serial or ""}
        members.end_surplus(session, device, kept, now)
        log.info("certificate_issued", extra={"device": device, "by": by})
        return certificate


def router(desk: Desk, pki_dir: Path, line: Line | None = None) -> APIRouter:
    """The three operations of EST that a device needs, and the lists of what is revoked in `pki_dir`.

    `line` is where requests for certificates wait; one of its own where none is given.
    """
    routes, waits = APIRouter(), line or Line()

    @routes.get(EST_PREFIX + "/cacerts")
    @public
    def authority_certificates() -> Response:
        """The issuing authority and the root; a device compares that with what it was given."""
        return _certificates(*desk.issuer.chain)

    @routes.get(REVOKED_PATH)
    @public
    def revoked() -> Response:
        """The lists of revoked certificates, PEM."""
        return Response(pki.published_revocations(pki_dir), media_type=MEDIA_PEM)

    @routes.post(EST_PREFIX + "/simpleenroll")
    @public
    async def enrol(request: Request) -> Response:
        """A certificate for a device id and its one-time token (HTTP Basic)."""

        def serve(body: bytes) -> x509.Certificate:
            return desk.enrol(*_credentials(request), body)

        return await _serve(desk, waits, request, serve)

    @routes.post(EST_PREFIX + "/simplereenroll")
    @public
    async def renew(request: Request) -> Response:
        """A new certificate for the device that connected with its present one."""

        def serve(body: bytes) -> x509.Certificate:
            shown = shown_certificate(request)
            if shown is None:
                raise EnrolmentRefusedError(
                    Cause.NO_CERTIFICATE, "connect with the device's present certificate to renew it"
                )
            return desk.renew(shown, body)

        return await _serve(desk, waits, request, serve)

    return routes


async def _serve(
    desk: Desk, line: Line, request: Request, serve: Callable[[bytes], x509.Certificate]
) -> Response:
    """Read the body, let `serve` sign, answer; every refusal is counted and says what to do."""
    try:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != MEDIA_REQUEST:
            raise EnrolmentRefusedError(Cause.WRONG_MEDIA_TYPE, f"send the request as {MEDIA_REQUEST}")
        body = await request.body()
        async with line.turn():
            certificate = await run_in_threadpool(serve, body)
    except LineFullError as error:  # counted by the line, in memory
        raise ProblemError(
            STATUS[Cause.BUSY], str(error), code=Cause.BUSY, headers=_headers(Cause.BUSY)
        ) from error
    except EnrolmentRefusedError as error:
        await run_in_threadpool(count, desk.sessions, error.cause, desk.now())
        raise ProblemError(
            error.status, str(error), code=error.cause, headers=_headers(error.cause)
        ) from error
    return _certificates(certificate)


def _headers(cause: Cause) -> dict[str, str]:
    """What is said beside a refusal: with what to come, or when."""
    if cause in RETRY_AFTER_S:
        return {"Retry-After": str(RETRY_AFTER_S[cause])}
    return CHALLENGE if STATUS[cause] == 401 else {}


def _check_pace(session: Session, device: str, now: datetime, within: timedelta) -> None:
    recent = session.scalar(
        sa.select(sa.func.count())
        .select_from(DeviceCertificate)
        .where(DeviceCertificate.device == device, DeviceCertificate.issued_at > now - within)
    )
    if (recent or 0) >= CERTIFICATES_MAX:
        raise EnrolmentRefusedError(
            Cause.TOO_OFTEN, f"{device} got {recent} certificates within {within}; wait, and look why it asks"
        )


def _credentials(request: Request) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            device, colon, token = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
        except ValueError:
            colon = ""
        if colon:
            return device, token
    raise EnrolmentRefusedError(
        Cause.NO_CREDENTIALS, "send the device id and its one-time token by HTTP Basic"
    )


def _right(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except RefusedError as error:
        raise EnrolmentRefusedError(Cause.WRONG_TOKEN, str(error)) from error


def _request(body: bytes, device: str) -> x509.CertificateSigningRequest:
    try:
        return authority.check_request(_decode(body), device)
    except authority.AnotherNameError as error:
        raise EnrolmentRefusedError(Cause.ANOTHER_DEVICE, str(error)) from error
    except MalformedError as error:
        raise EnrolmentRefusedError(Cause.BAD_REQUEST, str(error)) from error


def _decode(body: bytes) -> bytes:
    """RFC 7030 bodies are base64, with or without line ends."""
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise MalformedError("the body must be a PKCS#10 request in base64") from error


def _certificates(*certificates: x509.Certificate) -> Response:
    der = pkcs7.serialize_certificates(list(certificates), Encoding.DER)
    return Response(
        base64.b64encode(der),
        headers={"Content-Type": MEDIA_CERTIFICATES, "Content-Transfer-Encoding": "base64"},
    )
