"""The lists of revoked certificates: signed when they have changed, and proof of whether a broker read them.

There is one of each issuing authority that is trusted, all in one file. Nobody says when a broker has read it
anew. So the list of the present authority also holds a canary: a certificate made for this list alone, whose
key is in memory only. A broker that refuses the canary as revoked has read the file.
"""

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
from cloud.enrolment import issuers, pki
from cloud.enrolment.authority import CRL_AGE, Authority, issuer_id, key_id

CANARY = "svc-canary"
"""Its common name; no device may be called so, and the broker's rules give it nothing."""
CANARY_AGE = timedelta(days=1)


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


Revoked = dict[int, datetime]
"""Serial numbers, and since when."""


class Revocations:
    """Whoever signs the lists in the folder `pki_dir`; one a process, safe to use from several threads.

    The authorities are read each time, because a command may replace them beside a control plane that runs.
    """

    def __init__(self, sessions: sessionmaker[Session], pki_dir: Path, key_file: Path | None = None) -> None:
        self._sessions = sessions
        self._folder = pki_dir
        self._key_file = key_file
        self._lock = threading.Lock()
        self._canary: FleetingPair | None = None
        self._canary_until: datetime | None = None
        self._signed_by: dict[int, str] = {}
        """Of each revoked certificate the id of its authority, so that it is decoded once."""

    def publish(self, now: datetime) -> bool:
        """Sign the lists anew when they have changed or end soon; gives whether they were written.

        Raises:
            SettingsError: there is no list yet, or an authority cannot be read.
        """
        with self._alone():
            lists = {issuer_id(each): each for each in pki.revocations(self._folder)}
            revoked = self._revoked(now)
            if lists.keys() == revoked.keys() and all(
                _stands(listed, revoked[signer], now) for signer, listed in lists.items()
            ):
                return False
            self._sign(lists, revoked, now)
            return True

    def canary(self, now: datetime) -> FleetingPair:
        """The canary of the list as it stands, which is up to date after this.

        Raises:
            SettingsError: there is no list yet, or an authority cannot be read.
        """
        self.publish(now)
        with self._alone():
            listed = pki.revocations(self._folder)
            fresh = self._canary_until is not None and now < self._canary_until
            if self._canary is None or not fresh or not _holds(listed[0], self._canary.serial):
                self._sign({issuer_id(each): each for each in listed}, self._revoked(now), now)
            assert self._canary is not None
            return self._canary

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock, pki.alone(self._folder):
            yield

    def _revoked(self, now: datetime) -> dict[str, Revoked]:
        """What each authority that is trusted has revoked, by the authority's id."""
        found: dict[str, Revoked] = {key_id(each): {} for each in issuers.read(self._folder).trusted}
        with self._sessions() as session:
            rows = session.scalars(
                sa.select(DeviceCertificate).where(
                    DeviceCertificate.state == "revoked", DeviceCertificate.expires_at > now
                )
            ).all()
        known = {int(row.serial, 16): row for row in rows}
        self._signed_by = {
            serial: self._signed_by.get(serial) or _signer(row.certificate) for serial, row in known.items()
        }
        for serial, row in known.items():
            signer = self._signed_by[serial]
            # One that was not kept, by an early release, may be anybody's.
            for of_one in found.values() if not signer else [found[signer]] if signer in found else []:
                of_one[serial] = row.ended_at or now
        return found

    def _sign(
        self, before: dict[str, x509.CertificateRevocationList], revoked: dict[str, Revoked], now: datetime
    ) -> None:
        present, *former = issuers.load(self._folder, self._key_file)
        canary = fleeting(present, CANARY, now, CANARY_AGE)
        lists = []
        for each in (present, *former):
            signer = key_id(each.certificate)
            entries = [*revoked[signer].items(), *([(canary.serial, now)] if each is present else [])]
            number = _number(before[signer]) + 1 if signer in before else 1
            lists.append(each.revocations(entries, number, now))
        pki.write_revocations(self._folder, *lists)
        self._canary, self._canary_until = canary, now + CANARY_AGE / 2


def _stands(listed: x509.CertificateRevocationList, revoked: Revoked, now: datetime) -> bool:
    """One more than the database knows is the canary, of this process or of another."""
    serials = {entry.serial_number for entry in listed}
    until = listed.next_update_utc
    same = revoked.keys() <= serials and len(serials) <= len(revoked) + 1
    return same and until is not None and until - now > CRL_AGE / 2


def _signer(certificate: bytes | None) -> str:
    return issuer_id(x509.load_der_x509_certificate(certificate)) if certificate is not None else ""


def _number(listed: x509.CertificateRevocationList) -> int:
    return listed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _holds(listed: x509.CertificateRevocationList, serial: int) -> bool:
    return listed.get_revoked_certificate_by_serial_number(serial) is not None
