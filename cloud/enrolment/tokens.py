"""One-time tokens: who holds one may enrol the device that it names, with one key, for a day."""

import hashlib
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.enrolment import EnrolmentToken
from cloud.database.writing import hold
from cloud.errors import MalformedError, RefusedError
from contract import enrolment
from contract.errors import MalformedError as ContractMalformedError

TOKEN_BYTES = 16
TOKEN_AGE = timedelta(hours=24)
KEEP_USED = timedelta(days=30)
"""Used and expired tokens are kept this long, so that their refusal can say what they were."""
REFUSAL = "this token is not for this device, was used, or is too old; ask for a new one with enrol-token"
"""One sentence for all, so that nothing is learnt by trying."""
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
    """A new token for a registered device, made of 16 random bytes; older ones end.

    Raises:
        MalformedError: no device may be called so, or there is no such kind.
    """
    assert len(random) == TOKEN_BYTES
    check_name(device, kind)
    hold(session, [device])
    end(session, device, now)
    token = random.hex()
    session.add(
        EnrolmentToken(
            token_sha256=_digest(token), device=device, kind=kind, issued_at=now, expires_at=now + TOKEN_AGE
        )
    )
    return token


def find(session: Session, device: str, token: str, now: datetime) -> EnrolmentToken:
    """The row of a token that is not too old, locked until the caller's transaction ends.

    Raises:
        RefusedError: there is none for this device.
    """
    row = session.scalar(
        sa.select(EnrolmentToken)
        .where(EnrolmentToken.token_sha256 == _digest(token), EnrolmentToken.device == device)
        .where(EnrolmentToken.expires_at > now)
        .with_for_update()
    )
    if row is None:
        raise RefusedError(REFUSAL)
    return row


def use(row: EnrolmentToken, public_key: bytes, now: datetime) -> None:
    """Spend the token on a public key (DER, SubjectPublicKeyInfo), in the caller's transaction.

    The same key may come again while the token lives: an answer that was lost on its way, or before the
    device had it on its disk, must not cost a journey. Whoever repeats it must hold the private key.

    Raises:
        RefusedError: it was spent on another key.
    """
    digest = hashlib.sha256(public_key).hexdigest()
    if row.used_at is None:
        row.used_at, row.key_sha256 = now, digest
    elif row.key_sha256 != digest:
        raise RefusedError(REFUSAL)


def end(session: Session, device: str, now: datetime) -> None:
    """End every token of `device`, spent or not."""
    session.execute(
        sa.update(EnrolmentToken)
        .where(EnrolmentToken.device == device, EnrolmentToken.expires_at > now)
        .values(expires_at=now)
    )


def purge(session: Session, now: datetime) -> None:
    """Forget tokens that ended long ago."""
    session.execute(sa.delete(EnrolmentToken).where(EnrolmentToken.expires_at < now - KEEP_USED))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
