"""The registry of devices: taken in, shut out, out of service, and taken back."""

from datetime import datetime

from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.writing import hold, insert
from cloud.enrolment import drops, members
from cloud.enrolment.tokens import check_name
from cloud.errors import MalformedError, RefusedError

SITE_LENGTH_MAX = 120


def register(session: Session, device: str, kind: str, site: str, now: datetime) -> bool:
    """Write the device down; False where it was there already. Its site may change, its kind may not.

    Raises:
        MalformedError: no device may be called so, there is no such kind, or the site has no name.
        RefusedError: the device is of another kind, or was taken out of service.
    """
    check_name(device, kind)
    if not 1 <= len(site.strip()) <= SITE_LENGTH_MAX:
        raise MalformedError(f"a site has a name of 1 to {SITE_LENGTH_MAX} characters")
    values = {"device": device, "kind": kind, "site": site.strip(), "registered_at": now}
    new = insert(session, Device).values(values).on_conflict_do_nothing(index_elements=["device"])
    if session.scalar(new.returning(Device.device)) is not None:
        return True
    known = session.get_one(Device, device, with_for_update={"key_share": True})
    if known.decommissioned_at is not None:
        raise RefusedError(
            f"{device} was taken out of service; give the new device a name of its own, or take this one back"
        )
    if known.kind != kind:
        raise RefusedError(f"{device} is a {known.kind}, not a {kind}; give the new device a name of its own")
    known.site = site.strip()
    return False


def shut_out(session: Session, device: str, reason: str, now: datetime) -> int:
    """Revoke all certificates and tokens of `device`, and have its connection ended; how many certificates.

    Raises:
        RefusedError: there is no such device.
    """
    _known(session, device)
    ended = members.revoke(session, device, reason, now)
    drops.ask(session, device, now)
    return ended


def take_out(session: Session, device: str, now: datetime) -> bool:
    """Take `device` out of service for good; False where it was already.

    Its row stays as a tombstone: its name is given to no other device unless somebody takes it back.

    Raises:
        RefusedError: there is no such device.
    """
    row = _known(session, device)
    if row.decommissioned_at is not None:
        return False
    row.decommissioned_at = now
    if row.presence != "offline":  # what the broker says of it from now on is not taken any more
        row.presence, row.presence_at = "offline", now
    members.revoke(session, device, "decommissioned", now)
    drops.ask(session, device, now, forget=True)
    return True


def take_back(session: Session, device: str, now: datetime) -> bool:
    """Let a device that was taken out of service enrol again; False where it is in service.

    Its old certificates stay revoked; it needs a token.

    Raises:
        RefusedError: there is no such device.
    """
    row = _known(session, device)
    if row.decommissioned_at is None:
        return False
    row.decommissioned_at = None
    row.registered_at, row.enrolled_at = now, None
    return True


def _known(session: Session, device: str) -> Device:
    hold(session, [device])
    row = session.get(Device, device)
    if row is None:
        raise RefusedError(f"there is no device {device:.63}; see the list of devices")
    return row
