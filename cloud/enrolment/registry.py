"""Taking a device into the registry, so that it may be given a token."""

from datetime import datetime

from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.writing import insert
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
        raise RefusedError(f"{device} was taken out of service; give the new device a name of its own")
    if known.kind != kind:
        raise RefusedError(f"{device} is a {known.kind}, not a {kind}; give the new device a name of its own")
    known.site = site.strip()
    return False
