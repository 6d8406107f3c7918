"""One-time tokens: who holds one may enrol the device that it names, once, for a day."""

import hashlib
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.enrolment import EnrolmentToken
from cloud.errors import MalformedError, RefusedError
from contract import enrolment
from contract.errors import MalformedError as ContractMalformedError

TOKEN_BYTES = 16
TOKEN_AGE = timedelta(hours=24)
KEEP_USED = timedelta(days=30)
"""Used and expired tokens are kept this long, so that their refusal can say what they were."""
RESERVED = "svc-"
"""Names of our own services at the broker; a device that had one could act as that service."""


def check_name(device: str, kind: str) -> None:
    """Hold a device's name and kind against the contract.

    Raises:
        MalformedError: no device may be called so, or there is no such kind.
    """
    try:
        enrolment.device_id(device)
    except ContractMalformedError as error:
        raise MalformedError(str(error)) from error
    if device.startswith(RESERVED):
        raise MalformedError(f"{device}: names that begin with {RESERVED!r} are kept for services")
    if kind not in enrolment.KINDS:
        raise MalformedError(f"{kind!r:.40} is no kind of device: choose {' or '.join(enrolment.KINDS)}")


def issue(session: Session, device: str, kind: str, now: datetime, random: bytes) -> str:
    """A new token for a registered device, made of 16 random bytes; older ones that were not used end.

    Raises:
        MalformedError: no device may be called so, or there is no such kind.
    """
    assert len(random) == TOKEN_BYTES
    check_name(device, kind)
    session.execute(
        sa.update(EnrolmentToken)
        .where(EnrolmentToken.device == device, EnrolmentToken.used_at.is_(None))
        .where(EnrolmentToken.expires_at > now)
        .values(expires_at=now)
    )
    token = random.hex()
    session.add(
        EnrolmentToken(
            token_sha256=_digest(token), device=device, kind=kind, issued_at=now, expires_at=now + TOKEN_AGE
        )
    )
    return token


def use(session: Session, device: str, token: str, now: datetime) -> str:
    """Consume the token in the caller's transaction; gives the kind of device that it was issued for.

    Raises:
        RefusedError: there is no such token for this device, or it was used, or it is too old. One sentence
            serves all three, so that nothing is learnt by trying.
    """
    consumed = session.execute(
        sa.update(EnrolmentToken)
        .where(EnrolmentToken.token_sha256 == _digest(token), EnrolmentToken.device == device)
        .where(EnrolmentToken.used_at.is_(None), EnrolmentToken.expires_at > now)
        .values(used_at=now)
        .returning(EnrolmentToken.kind)
    ).scalar_one_or_none()
    if consumed is None:
        raise RefusedError(
            "this token is not for this device, was used, or is too old; ask for a new one with enrol-token"
        )
    return consumed


def purge(session: Session, now: datetime) -> None:
    """Forget tokens that ended long ago."""
    session.execute(sa.delete(EnrolmentToken).where(EnrolmentToken.expires_at < now - KEEP_USED))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
