"""Enrolment over secure transport (RFC 7030): the routes of the bootstrap listener.

The answers are base64 in one line; strongSwan's client reads no other form.
"""

import base64
import binascii
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7
from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from cloud.database.models.enrolment import DeviceCertificate
from cloud.database.writing import hold
from cloud.enrolment import authority, members, pki, tokens
from cloud.enrolment.authority import Authority
from cloud.enrolment.refusals import STATUS, Cause, EnrolmentRefusedError, count
from cloud.errors import MalformedError, RefusedError
from cloud.web.listener import certificate as shown_certificate
from cloud.web.problems import ProblemError
from cloud.web.public import public
from contract.enrolment import EST_PREFIX

T = TypeVar("T")
log = logging.getLogger(__name__)

BODY_BYTES_MAX = 16_384
"""A request with an RSA-4096 key is about 2 KiB."""
DAY = timedelta(days=1)
CERTIFICATES_PER_DAY_MAX = 20
"""Of one device; a loop in a device's renewal does not fill our disk."""
CHALLENGE = {"WWW-Authenticate": 'Basic realm="enrolment", charset="UTF-8"'}


MEDIA_REQUEST = "application/pkcs10"
MEDIA_CERTIFICATES = "application/pkcs7-mime; smime-type=certs-only"


@dataclass(frozen=True)
class Desk:
    """What enrolment needs: the authority, the database and the clock."""

    issuer: Authority
    sessions: sessionmaker[Session]
    now: Callable[[], datetime]

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
            key = _key(body, device)
            der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            _right(lambda: tokens.use(found, der, now))
            return self._issue(session, device, found.kind, key, "token", now)

    def renew(self, shown: x509.Certificate, body: bytes) -> x509.Certificate:
        """A new certificate for the device that has shown a good one; the old one stays until it is used.

        Raises:
            EnrolmentRefusedError: for the certificate, the request, or because it is too often.
        """
        now = self.now()
        with self.sessions.begin() as session:
            hold(session, [pki.common_name(shown)])
            device = members.admit(session, shown, now)
            key = _key(body, device.device)
            return self._issue(session, device.device, device.kind, key, "renewal", now)

    def _issue(
        self, session: Session, device: str, kind: str, key: CertificatePublicKeyTypes, by: str, now: datetime
    ) -> x509.Certificate:
        _check_pace(session, device, now)
        certificate = self.issuer.device(key, device, kind, now)
        members.record(session, certificate, device, by, now)
        log.info("certificate_issued", extra={"device": device, "by": by})
        return certificate


def router(desk: Desk) -> APIRouter:
    """The three operations of EST that a device needs."""
    routes = APIRouter(prefix=EST_PREFIX)

    @routes.get("/cacerts")
    @public
    def authority_certificates() -> Response:
        """The certificate to trust; a device compares it with what it was given at installation."""
        return _certificates(desk.issuer.certificate)

    @routes.post("/simpleenroll")
    @public
    async def enrol(request: Request) -> Response:
        """A certificate for a device id and its one-time token (HTTP Basic)."""

        def serve(body: bytes) -> x509.Certificate:
            return desk.enrol(*_credentials(request), body)

        return await _serve(desk, request, serve)

    @routes.post("/simplereenroll")
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

        return await _serve(desk, request, serve)

    return routes


async def _serve(desk: Desk, request: Request, serve: Callable[[bytes], x509.Certificate]) -> Response:
    """Read the body, let `serve` sign, answer; every refusal is counted and says what to do."""
    try:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != MEDIA_REQUEST:
            raise EnrolmentRefusedError(Cause.WRONG_MEDIA_TYPE, f"send the request as {MEDIA_REQUEST}")
        body = await request.body()
        certificate = await run_in_threadpool(serve, body)
    except EnrolmentRefusedError as error:
        await run_in_threadpool(count, desk.sessions, error.cause, desk.now())
        status = STATUS[error.cause]
        headers = CHALLENGE if status == 401 else None
        raise ProblemError(status, str(error), code=error.cause, headers=headers) from error
    return _certificates(certificate)


def _check_pace(session: Session, device: str, now: datetime) -> None:
    recent = session.scalar(
        sa.select(sa.func.count())
        .select_from(DeviceCertificate)
        .where(DeviceCertificate.device == device, DeviceCertificate.issued_at > now - DAY)
    )
    if (recent or 0) >= CERTIFICATES_PER_DAY_MAX:
        raise EnrolmentRefusedError(
            Cause.TOO_OFTEN, f"{device} got {recent} certificates within a day; wait, and look why it asks"
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


def _key(body: bytes, device: str) -> CertificatePublicKeyTypes:
    try:
        return authority.check_request(_decode(body), device)
    except MalformedError as error:
        raise EnrolmentRefusedError(Cause.BAD_REQUEST, str(error)) from error


def _decode(body: bytes) -> bytes:
    """RFC 7030 bodies are base64, with or without line ends."""
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise MalformedError("the body must be a PKCS#10 request in base64") from error


def _certificates(certificate: x509.Certificate) -> Response:
    der = pkcs7.serialize_certificates([certificate], Encoding.DER)
    return Response(
        base64.b64encode(der),
        headers={"Content-Type": MEDIA_CERTIFICATES, "Content-Transfer-Encoding": "base64"},
    )
