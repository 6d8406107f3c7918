"""The list of revoked certificates: signed when it has changed, and proof of whether a broker has read it.

Nobody says when a broker has read its list anew. So each list also holds a canary: a certificate made for
this list alone, whose key is in memory only. A broker that refuses the canary as revoked has read the list.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.enrolment import DeviceCertificate
from cloud.enrolment import pki
from cloud.enrolment.authority import CRL_AGE, Authority

CANARY = "svc-canary"
"""Its common name; no device may be called so, and the broker's rules give it nothing."""
CANARY_AGE = timedelta(days=1)
LOCK = "crl.lock"
"""In the folder; whoever signs holds it, because commands revoke beside a control plane that runs."""


@dataclass(frozen=True)
class FleetingPair:
    """A certificate with its chain and its key, PEM, neither of which is ever written down."""

    certificates: bytes
    key: bytes
    serial: int


def fleeting(issuer: Authority, name: str, now: datetime, age: timedelta) -> FleetingPair:
    """A pair that the broker takes for `name`, for `age`. The device listener does not know it."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = issuer.device(key.public_key(), name, "control", now, age)
    shown = [made, *issuer.chain[:-1]]
    return FleetingPair(
        b"".join(each.public_bytes(Encoding.PEM) for each in shown),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        made.serial_number,
    )


class Revocations:
    """Whoever signs the list in the folder `pki_dir`; one a process, safe to use from several threads."""

    def __init__(self, sessions: sessionmaker[Session], pki_dir: Path, issuer: Authority) -> None:
        self._sessions = sessions
        self._folder = pki_dir
        self._issuer = issuer
        self._lock = threading.Lock()
        self._canary: FleetingPair | None = None
        self._canary_until: datetime | None = None

    def publish(self, now: datetime) -> bool:
        """Sign the list anew when it has changed or ends soon; gives whether it was written.

        Raises:
            SettingsError: there is no list yet.
        """
        with self._alone():
            revoked = self._revoked(now)
            listed = pki.revocations(self._folder)
            serials = {entry.serial_number for entry in listed}
            until = listed.next_update_utc
            # One more than the database knows is the canary, of this process or of another.
            same = set(revoked) <= serials and len(serials) <= len(revoked) + 1
            if same and until is not None and until - now > CRL_AGE / 2:
                return False
            self._sign(listed, revoked, now)
            return True

    def canary(self, now: datetime) -> FleetingPair:
        """The canary of the list as it stands, which is up to date after this.

        Raises:
            SettingsError: there is no list yet.
        """
        self.publish(now)
        with self._alone():
            listed = pki.revocations(self._folder)
            fresh = self._canary_until is not None and now < self._canary_until
            if self._canary is None or not fresh or not _holds(listed, self._canary.serial):
                self._sign(listed, self._revoked(now), now)
            assert self._canary is not None
            return self._canary

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread and no other process signs meanwhile; a number is given to one list only."""
        with self._lock:
            descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    def _revoked(self, now: datetime) -> dict[int, datetime]:
        with self._sessions() as session:
            rows = sa.select(DeviceCertificate).where(
                DeviceCertificate.state == "revoked", DeviceCertificate.expires_at > now
            )
            return {int(row.serial, 16): row.ended_at or now for row in session.scalars(rows)}

    def _sign(
        self, before: x509.CertificateRevocationList, revoked: dict[int, datetime], now: datetime
    ) -> None:
        number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
        canary = fleeting(self._issuer, CANARY, now, CANARY_AGE)
        entries = [*revoked.items(), (canary.serial, now)]
        pki.write_revocations(self._folder, self._issuer.revocations(entries, number, now))
        self._canary, self._canary_until = canary, now + CANARY_AGE / 2


def _holds(listed: x509.CertificateRevocationList, serial: int) -> bool:
    return listed.get_revoked_certificate_by_serial_number(serial) is not None
