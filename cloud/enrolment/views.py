"""What pages and programs are shown of devices' certificates."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import sqlalchemy as sa
from cryptography import x509
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.enrolment import (
    ConnectionDrop,
    DeviceCertificate,
    EnrolmentRefusal,
    EnrolmentToken,
)
from cloud.enrolment import issuers
from cloud.enrolment.authority import common_name, issuer_id, key_id
from cloud.enrolment.core import GOOD
from cloud.enrolment.ends import End
from cloud.enrolment.issuers import Issuers

ENDS_SOON = timedelta(days=7)
"""A device renews long before; one that has so little left cannot, and somebody must look."""
CERTIFICATES_SHOWN_MAX = 50
DECODED_MAX = 50_000
"""Certificates whose issuer is remembered, so that each is decoded once."""


@dataclass(frozen=True)
class CertificateView:
    """One certificate; `days_left` is None where it opens no doors any more.

    `issuer` is what the authority that signed it is called, empty where an early release did not keep it.
    """

    serial: str
    state: str
    by: str
    issued_at: datetime
    connected_at: datetime | None
    proven_at: datetime | None
    expires_at: datetime
    ended_at: datetime | None
    end_reason: str
    days_left: int | None
    issuer: str

    @property
    def ends_soon(self) -> bool:
        """Whether somebody must look."""
        return self.days_left is not None and self.days_left < ENDS_SOON.days


@dataclass(frozen=True)
class DropView:
    """A connection that is to end, or has ended at `done_at`."""

    asked_at: datetime
    tries: int
    trouble: str
    done_at: datetime | None


@dataclass(frozen=True)
class MemberView:
    """A device with its certificates: first the one that it uses, then the youngest."""

    device: str
    kind: str
    site: str
    registered_at: datetime
    decommissioned_at: datetime | None
    token_until: datetime | None
    certificates: list[CertificateView]
    drop: DropView | None

    @property
    def good(self) -> bool:
        """Whether anything can be revoked."""
        return any(each.days_left is not None for each in self.certificates) or self.token_until is not None


@dataclass(frozen=True)
class AuthorityView:
    """An authority that signs certificates, or did; `standing` is `present`, `former` or `distrusted`.

    `devices` in service have a certificate of it in use; None where there was never another authority.
    """

    name: str
    standing: str
    expires_at: datetime
    days_left: int
    devices: int | None


@dataclass(frozen=True)
class EndView:
    """What the fleet's trust hangs on, good until `ends_at`; `near` where somebody must do something.

    `what` is one of `cloud.enrolment.ends.What`; `days_left` is 0 where it has ended.
    """

    what: str
    name: str
    ends_at: datetime
    days_left: int
    near: bool


@dataclass(frozen=True)
class RefusalView:
    """How often something was refused for `cause`."""

    cause: str
    count: int
    last_at: datetime


def listed(session: Session, now: datetime, *, after: str, limit: int) -> list[MemberView]:
    """At most `limit` devices after `after`, by id; those out of service too."""
    rows = sa.select(Device).where(Device.device > after).order_by(Device.device).limit(limit)
    return _members(session, session.scalars(rows).all(), now)


def one(session: Session, device: str, now: datetime) -> MemberView | None:
    """One device; None where there is none of this name."""
    row = session.get(Device, device)
    return _members(session, [row], now)[0] if row is not None else None


def ending_soon(session: Session, now: datetime) -> int:
    """How many devices in service have nothing but certificates that end soon."""
    of_device = sa.select(DeviceCertificate.device).where(
        DeviceCertificate.state.in_(GOOD), DeviceCertificate.expires_at > now
    )
    last = of_device.group_by(DeviceCertificate.device).having(
        sa.func.max(DeviceCertificate.expires_at) < now + ENDS_SOON
    )
    rows = sa.select(sa.func.count()).where(Device.device.in_(last), Device.decommissioned_at.is_(None))
    return session.scalar(rows) or 0


def authorities(session: Session, known: Issuers, now: datetime) -> list[AuthorityView]:
    """Who signs certificates and who did, the present one first."""
    several = bool(known.former or known.distrusted)
    using = _using(session, now) if several else Counter()
    standings = [("present", known.present)]
    standings += [("former", each) for each in known.former]
    standings += [("distrusted", each) for each in known.distrusted]
    return [
        AuthorityView(
            common_name(each.subject),
            standing,
            each.not_valid_after_utc,
            max(0, (each.not_valid_after_utc - now).days),
            using[key_id(each)] if several else None,
        )
        for standing, each in standings
    ]


def former_devices(listed: Iterable[AuthorityView]) -> int:
    """How many devices in service have a certificate in use of an authority before the present one."""
    return sum(each.devices or 0 for each in listed if each.standing == "former")


def ends(found: Iterable[End], now: datetime) -> list[EndView]:
    """What ends, as it is shown."""
    return [
        EndView(each.what, each.name, each.at, max(0, int(each.days_left(now))), each.near(now))
        for each in found
    ]


def _using(session: Session, now: datetime) -> Counter[str]:
    """How many devices in service use a certificate of each authority, by the authority's id."""
    rows = session.execute(
        sa.select(DeviceCertificate.device, DeviceCertificate.certificate)
        .join(Device, Device.device == DeviceCertificate.device)
        .where(
            Device.decommissioned_at.is_(None),
            DeviceCertificate.state.in_(GOOD),
            DeviceCertificate.expires_at > now,
        )
        # The one that is proven counts; where none is, the youngest.
        .order_by(DeviceCertificate.state == "active", DeviceCertificate.issued_at)
    )
    in_use = {row.device: row.certificate for row in rows}
    return Counter(_signed_by(each)[0] for each in in_use.values() if each is not None)


@lru_cache(maxsize=DECODED_MAX)
def _signed_by(certificate: bytes) -> tuple[str, str]:
    """Id and name of the authority that signed the certificate (DER)."""
    decoded = x509.load_der_x509_certificate(certificate)
    return issuer_id(decoded), issuers.named(decoded)


def refusals(session: Session) -> list[RefusalView]:
    """By cause."""
    rows = session.scalars(sa.select(EnrolmentRefusal).order_by(EnrolmentRefusal.cause))
    return [RefusalView(row.cause, row.count, row.last_at) for row in rows]


def _members(session: Session, devices: Sequence[Device], now: datetime) -> list[MemberView]:
    names = [row.device for row in devices]
    certificates: dict[str, list[CertificateView]] = defaultdict(list)
    of_these = sa.select(DeviceCertificate).where(DeviceCertificate.device.in_(names))
    for each in session.scalars(of_these.order_by(DeviceCertificate.issued_at.desc())):
        certificates[each.device].append(_certificate(each, now))
    open_tokens = sa.select(EnrolmentToken.device, sa.func.max(EnrolmentToken.expires_at)).where(
        EnrolmentToken.device.in_(names), EnrolmentToken.expires_at > now
    )
    until = {row[0]: row[1] for row in session.execute(open_tokens.group_by(EnrolmentToken.device))}
    dropped = sa.select(ConnectionDrop).where(ConnectionDrop.device.in_(names))
    drops = {row.device: row for row in session.scalars(dropped)}
    return [
        MemberView(
            row.device,
            row.kind,
            row.site,
            row.registered_at,
            row.decommissioned_at,
            until.get(row.device),
            sorted(certificates[row.device], key=_in_use_first)[:CERTIFICATES_SHOWN_MAX],
            _drop(drops.get(row.device)),
        )
        for row in devices
    ]


def _certificate(row: DeviceCertificate, now: datetime) -> CertificateView:
    good = row.state in GOOD and row.expires_at > now
    return CertificateView(
        row.serial,
        row.state,
        row.by,
        row.issued_at,
        row.connected_at,
        row.proven_at,
        row.expires_at,
        row.ended_at,
        row.end_reason,
        (row.expires_at - now).days if good else None,
        _signed_by(row.certificate)[1] if row.certificate is not None else "",
    )


def _in_use_first(each: CertificateView) -> tuple[bool, bool]:
    """Sorting keeps the order of those that are alike: the youngest first."""
    return each.state != "active", each.days_left is None


def _drop(row: ConnectionDrop | None) -> DropView | None:
    return DropView(row.asked_at, row.tries, row.trouble, row.done_at) if row is not None else None
