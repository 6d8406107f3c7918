"""What a certificate is good for, and what becomes of a device's others. Nothing here reads a clock."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from cloud.enrolment.causes import Cause

GOOD = frozenset({"issued", "trial", "active", "superseded"})
"""States in which a certificate opens doors, as long as it has not expired."""
UNPROVEN = frozenset({"issued", "trial"})
UNPROVEN_MAX = 4
"""Certificates of one device that it has not proven; more are ended, those first that were never used."""
AGAIN_SHARE = 2 / 3
"""Within this share of its life a certificate is given again for the same key; then it would be renewed."""
DROP_AGAIN_MIN = timedelta(seconds=1)
DROP_AGAIN_MAX = timedelta(seconds=60)
DOUBLINGS_MAX = 10


class Purpose(Enum):
    """What a device wants with its certificate."""

    SERVICE = "service"
    RENEWAL = "renewal"


@dataclass(frozen=True)
class Standing:
    """What is known of a certificate; `replaced` says that its device has proven a younger one."""

    state: str
    valid_from: datetime
    expires_at: datetime
    out_of_service: bool
    replaced: bool


def judge(standing: Standing, purpose: Purpose, now: datetime, expired_grace: timedelta) -> Cause | None:
    """Why the certificate is not good for `purpose`; None if it is.

    One that has expired is good for nothing but its renewal, and for that for `expired_grace` only.
    """
    if standing.out_of_service:
        return Cause.OUT_OF_SERVICE
    if standing.state == "revoked":
        return Cause.REVOKED_CERTIFICATE
    if now < standing.valid_from:
        return Cause.NOT_YET_VALID
    if standing.state in GOOD and now < standing.expires_at:
        return None
    if purpose is Purpose.RENEWAL and not standing.replaced and now - standing.expires_at < expired_grace:
        return None
    return Cause.EXPIRED_CERTIFICATE


@dataclass(frozen=True)
class Held:
    """One certificate of a device; `key_sha256` is the digest of its public key, None if it is not known."""

    serial: str
    state: str
    key_sha256: str | None
    issued_at: datetime
    expires_at: datetime


def given_again(held: Sequence[Held], key_sha256: str, shown: str | None, now: datetime) -> str | None:
    """The serial of the certificate that answers a request for this key once more, if there is one.

    A lost answer, or a power cut before the certificate was on the device's disk, makes no further one. The
    one that the device has `shown` is no answer: whoever shows it wants a younger one for the same key.
    """
    for each in sorted(held, key=lambda each: each.issued_at, reverse=True):
        until = each.issued_at + (each.expires_at - each.issued_at) * AGAIN_SHARE
        if (
            each.key_sha256 == key_sha256
            and each.serial != shown
            and each.state in UNPROVEN | {"active"}
            and now < until
        ):
            return each.serial
    return None


def surplus(held: Sequence[Held], keep: Collection[str]) -> list[str]:
    """The unproven certificates that are too many, without those to `keep`: never used first, then oldest."""
    unproven = [each for each in held if each.state in UNPROVEN]
    endable = sorted(
        (each for each in unproven if each.serial not in keep),
        key=lambda each: (each.state != "issued", each.issued_at),
    )
    return [each.serial for each in endable[: max(0, len(unproven) - UNPROVEN_MAX)]]


def drop_again_after(tries: int) -> timedelta:
    """How long after its `tries`-th try a connection is dropped once more, if it may still stand."""
    return min(DROP_AGAIN_MIN * (1 << min(tries - 1, DOUBLINGS_MAX)), DROP_AGAIN_MAX)
