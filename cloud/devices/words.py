"""What is believed of devices, in the database."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.presence import PresenceEars, PresenceHeard, PresenceWords
from cloud.database.models.twin import DeviceTwin
from cloud.devices.presence import OFFLINE, Cause, Known
from contract.twin import Section, sampling_s

EARS_AGE_MAX = timedelta(seconds=30)
"""An ingest that has not said for so long that it listens does not listen."""


@dataclass(frozen=True)
class Standing:
    """One device of the fleet, and what is believed of it."""

    device: str
    site: str
    known: Known
    expected_until: datetime | None


def load(session: Session, row: Device) -> Known:
    """What is believed of the device in `row`."""
    words = session.get(PresenceWords, row.device)
    heard = session.get(PresenceHeard, row.device)
    reported = session.scalar(sa.select(DeviceTwin.reported).where(DeviceTwin.device == row.device))
    return _known(row, words, heard.heard_at if heard else None, reported)


def save(session: Session, row: Device, known: Known) -> None:
    """Write it down; what was heard of the device is the ingest's to write."""
    row.presence, row.presence_at, row.boot = known.state, known.since, known.boot
    words = session.get(PresenceWords, row.device)
    if words is None:
        words = PresenceWords(device=row.device)
        session.add(words)
    words.cause = known.cause.value
    words.boot, words.connection = known.boot, known.connection
    words.came_at, words.ended_at = known.came_at, known.ended_at
    words.comings = [_ms(at) for at in known.comings]


def everybody(session: Session) -> list[Standing]:
    """The whole fleet, without what is out of service."""
    rows = session.execute(
        sa.select(Device, PresenceWords, PresenceHeard.heard_at, DeviceTwin.reported)
        .outerjoin(PresenceWords, PresenceWords.device == Device.device)
        .outerjoin(PresenceHeard, PresenceHeard.device == Device.device)
        .outerjoin(DeviceTwin, DeviceTwin.device == Device.device)
        .where(Device.decommissioned_at.is_(None))
        .order_by(Device.device)
    )
    return [
        Standing(
            row.device,
            row.site,
            _known(row, words, heard, reported),
            words.expected_until if words else None,
        )
        for row, words, heard, reported in rows
    ]


def expect(session: Session, changes: Iterable[tuple[str, datetime | None]]) -> None:
    """Write down until when devices are off as expected."""
    for device, until in changes:
        session.execute(
            sa.update(PresenceWords).where(PresenceWords.device == device).values(expected_until=until)
        )


def data_since(session: Session, now: datetime) -> datetime | None:
    """Since when an ingest listens; None when none does."""
    return session.scalar(
        sa.select(PresenceEars.since)
        .where(PresenceEars.since.is_not(None), PresenceEars.at >= now - EARS_AGE_MAX)
        .order_by(PresenceEars.since)
        .limit(1)
    )


def _known(
    row: Device, words: PresenceWords | None, heard_at: datetime | None, reported: Section | None
) -> Known:
    believed = Known(
        state=row.presence,
        since=row.presence_at,
        boot=row.boot,
        heard_at=heard_at,
        sampling_s=sampling_s(reported or {}),
    )
    if words is not None:
        return replace(
            believed,
            cause=Cause(words.cause),
            connection=words.connection,
            came_at=words.came_at,
            ended_at=words.ended_at,
            comings=tuple(datetime.fromtimestamp(at / 1000, UTC) for at in words.comings),
        )
    if row.boot == "":
        return believed
    # It was known before its words were written down one by one.
    off = row.presence == OFFLINE
    return replace(
        believed,
        cause=Cause.ENDED if off else Cause.WELL,
        came_at=row.presence_at,
        ended_at=row.presence_at if off else None,
    )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
