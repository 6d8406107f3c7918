"""What the fleet's trust hangs on, and when each of it ends.

Nothing of it is made anew by time alone: a person brings the root's key, runs a command, or looks why
something that should have run did not. So each has a time before its end from which on somebody is told.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509

from cloud.enrolment import issuers, pki
from cloud.enrolment.authority import common_name
from cloud.errors import SettingsError

log = logging.getLogger(__name__)

MEASUREMENT = "authority"
"""What is in it is in `contract.telemetry`."""
DAY = timedelta(days=1)


class What(StrEnum):
    """What ends."""

    ISSUER = "issuer"
    ROOT = "root"
    SERVERS = "servers"
    REVOCATIONS = "revocations"


TOLD_BEFORE = {
    What.ISSUER: timedelta(days=365),
    What.ROOT: timedelta(days=730),
    What.SERVERS: pki.RENEW_BEFORE,
    What.REVOCATIONS: timedelta(days=10),
}
"""Somebody must bring the root's key; enrol every device anew, below another root; run `init`, which does
nothing about it before; and look why a list that is signed anew with 15 days left was not."""


@dataclass(frozen=True)
class End:
    """`what` of this `name` is good until `at`."""

    what: What
    name: str
    at: datetime

    def days_left(self, now: datetime) -> float:
        """Below zero where it has ended."""
        return (self.at - now) / DAY

    def near(self, now: datetime) -> bool:
        """Whether somebody must do something."""
        return self.at - now < TOLD_BEFORE[self.what]


def read(folder: Path) -> tuple[End, ...]:
    """What ends in the folder of `cloud.enrolment.pki`, one of each `What`: of several the first.

    Where one authority is root and issuer there is no issuer. The root's own list is good for as long as the
    root is.

    Raises:
        SettingsError: something there is missing, or is no certificate or list.
    """
    known = issuers.read(folder)
    found = [] if issuers.one_level(folder) else [_certificate(What.ISSUER, known.present)]
    found.append(_certificate(What.ROOT, known.root))
    found.append(_first(_leaf(folder, name) for name in ("server", "broker", *pki.SERVICES, "seal")))
    found.append(
        _first(
            End(What.REVOCATIONS, common_name(each.issuer), each.next_update_utc)
            for each in pki.revocations(folder)
            if each.next_update_utc is not None
        )
    )
    return tuple(found)


def pressing(folder: Path, now: datetime) -> int:
    """For how much of it somebody must act now; 1 where it cannot be read, which wants somebody, too."""
    try:
        return sum(each.near(now) for each in read(folder))
    except SettingsError as error:
        log.warning("ends_not_read", extra={"sentence": str(error)})
        return 1


def values(ends: Iterable[End], former_devices: int, now: datetime) -> tuple[tuple[str, float | int], ...]:
    """The fields of a point; `former_devices` have a certificate of an authority before the present one."""
    left = [(f"{each.what}_days_left", round(each.days_left(now), 3)) for each in ends]
    return (*left, ("former_devices", former_devices))


def _certificate(what: What, certificate: x509.Certificate) -> End:
    return End(what, common_name(certificate.subject), certificate.not_valid_after_utc)


def _leaf(folder: Path, name: str) -> End:
    """By the name of its file, because servers are called by their host."""
    return End(What.SERVERS, name, issuers.certificate(folder / f"{name}.pem").not_valid_after_utc)


def _first(ends: Iterable[End]) -> End:
    return min(ends, key=lambda each: each.at)
