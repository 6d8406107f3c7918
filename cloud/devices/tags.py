"""Tags of devices: a key with a value, set by staff, for groups and for people's eyes. Nothing personal.

Bounds are those of AWS resource tags: 50 a device, keys of 128 characters, values of 256.
"""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.groups import DeviceTag
from cloud.database.writing import hold
from cloud.devices.problems import DeniedError, Problem, WrongError
from cloud.devices.query import KEY, KEY_LENGTH_MAX
from cloud.operators.actors import Actor, audit

TAGS_MAX = 50
VALUE_LENGTH_MAX = 256


def of(session: Session, device: str) -> dict[str, str]:
    """The tags of one device, by key."""
    return of_many(session, [device]).get(device, {})


def of_many(session: Session, devices: Iterable[str] | None = None) -> dict[str, dict[str, str]]:
    """The tags of `devices` (or of all), by device and key; devices without any are left out."""
    rows = sa.select(DeviceTag.device, DeviceTag.key, DeviceTag.value)
    if devices is not None:
        rows = rows.where(DeviceTag.device.in_(list(devices)))
    found: dict[str, dict[str, str]] = {}
    for device, key, value in session.execute(rows.order_by(DeviceTag.device, DeviceTag.key)):
        found.setdefault(device, {})[key] = value
    return found


def put(session: Session, operator: Actor, device: str, tags: Mapping[str, str]) -> None:
    """Give a device exactly these tags, and write it down.

    Raises:
        WrongError: a key, a value or their number out of bounds.
        DeniedError: there is no such device, or it has left the fleet.
    """
    check(tags)
    hold(session, [device])
    row = session.get(Device, device)
    if row is None or row.decommissioned_at is not None:
        raise DeniedError(Problem.NO_DEVICE, what=device)
    before = of(session, device)
    if before == dict(tags):
        return
    session.execute(sa.delete(DeviceTag).where(DeviceTag.device == device))
    session.add_all(DeviceTag(device=device, key=key, value=value) for key, value in tags.items())
    session.flush()
    changed = sorted(key for key in before.keys() | tags.keys() if before.get(key) != tags.get(key))
    audit(session, operator, "set-tags", device, {"keys": changed})


def check(tags: Mapping[str, str]) -> None:
    """Hold tags against their bounds.

    Raises:
        WrongError: out of bounds.
    """
    if len(tags) > TAGS_MAX:
        raise WrongError(Problem.TAGS_MAX, limit=TAGS_MAX)
    for key, value in tags.items():
        if len(key) > KEY_LENGTH_MAX or not KEY.fullmatch(key):
            raise WrongError(Problem.TAG_KEY, what=key, limit=KEY_LENGTH_MAX)
        if len(value) > VALUE_LENGTH_MAX or not value.isprintable():
            raise WrongError(Problem.TAG_VALUE, what=key, limit=VALUE_LENGTH_MAX)


def read_lines(text: str) -> dict[str, str]:
    """Tags as people type them: a line each, `key: value`; empty lines do not count.

    Raises:
        WrongError: a line without a colon, or a key that comes twice.
    """
    tags: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        key, colon, value = line.partition(":")
        if not colon:
            raise WrongError(Problem.TAG_COLON, at=number)
        if key.strip() in tags:
            raise WrongError(Problem.TAG_TWICE, at=number, what=key.strip())
        tags[key.strip()] = value.strip()
    return tags


def lines(tags: Mapping[str, str]) -> str:
    """Tags as people type them."""
    return "\n".join(f"{key}: {value}" for key, value in tags.items())
