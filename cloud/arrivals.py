"""Watermarks and refused messages in a database: the events lane in the main one, telemetry in its own."""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.link import Quarantined, RefusalCount, WatermarkRow
from cloud.database.writing import insert
from cloud.refusals import Refusal
from cloud.watermark import Key, Watermark

BOOTS_MAX = 64
"""Boots remembered of each device and lane; a device restarts for a year before the first is forgotten."""
QUARANTINED_MAX = 50
"""Refused messages described of each device; all are counted."""


def load(session: Session, key: Key) -> Watermark | None:
    """The watermark of `key`; None when nothing has come under it yet."""
    row = session.get(WatermarkRow, (key.device, key.boot, key.lane))
    return Watermark(row.seq, tuple(row.above)) if row else None


def save(session: Session, marks: Mapping[Key, Watermark], now: datetime) -> None:
    """Write `marks` over what is there."""
    if not marks:
        return
    new = insert(session, WatermarkRow)
    statement = new.on_conflict_do_update(
        index_elements=["device", "boot", "lane"],
        set_={name: new.excluded[name] for name in ("seq", "above", "moved_at")},
    )
    session.execute(
        statement,
        [
            {
                "device": key.device,
                "boot": key.boot,
                "lane": key.lane,
                "seq": mark.seq,
                "above": list(mark.above),
                "moved_at": now,
            }
            for key, mark in marks.items()
        ],
    )


def forget_old_boots(session: Session, device: str, lane: str) -> None:
    """Keep the newest `BOOTS_MAX` boots of `device` in `lane`; call it when a new one has appeared."""
    rows = sa.select(WatermarkRow.boot).where(WatermarkRow.device == device, WatermarkRow.lane == lane)
    old = session.scalars(rows.order_by(WatermarkRow.moved_at.desc()).offset(BOOTS_MAX)).all()
    if old:
        session.execute(
            sa.delete(WatermarkRow).where(
                WatermarkRow.device == device, WatermarkRow.lane == lane, WatermarkRow.boot.in_(old)
            )
        )


def quarantine(session: Session, refused: Refusal, now: datetime) -> None:
    """Count `refused`, describe it, and forget the oldest description of its device beyond the bound."""
    count(session, refused.device, refused.reason.value, now)
    session.add(
        Quarantined(
            device=refused.device,
            topic_name=refused.topic_name,
            reason=refused.reason.value,
            size=refused.size,
            sha256=refused.sha256,
            at=now,
        )
    )
    session.flush()
    ids = sa.select(Quarantined.id).where(Quarantined.device == refused.device)
    last = session.scalar(ids.order_by(Quarantined.id.desc()).offset(QUARANTINED_MAX).limit(1))
    if last is not None:
        session.execute(
            sa.delete(Quarantined).where(Quarantined.device == refused.device, Quarantined.id <= last)
        )


def count(session: Session, device: str, reason: str, now: datetime) -> None:
    """One more of `device` was refused for `reason`."""
    new = insert(session, RefusalCount).values(device=device, reason=reason, count=1, last_at=now)
    session.execute(
        new.on_conflict_do_update(
            index_elements=["device", "reason"],
            set_={"count": RefusalCount.count + 1, "last_at": now},
        )
    )


def refusals(session: Session) -> dict[str, int]:
    """How many messages were refused, by reason."""
    rows = session.execute(
        sa.select(RefusalCount.reason, sa.func.sum(RefusalCount.count)).group_by(RefusalCount.reason)
    )
    return {reason: int(count) for reason, count in rows}
