"""Watermarks and refused messages in a database: the events lane in the main one, telemetry in its own."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.link import ForgottenBoots, Quarantined, RefusalCount, WatermarkRow
from cloud.database.writing import insert
from cloud.refusals import Refusal
from cloud.watermark import Key, Tally, Watermark, missing

NOTHING = Tally()

BOOTS_MAX = 64
"""Boots remembered of each device and lane; a device restarts for a year before the first is forgotten."""
QUARANTINED_MAX = 50
"""Refused messages described of each device; all are counted."""


def load(session: Session, key: Key) -> Watermark | None:
    """The watermark of `key`; None when nothing has come under it yet."""
    row = session.get(WatermarkRow, (key.device, key.boot, key.lane))
    return Watermark(row.seq, tuple(row.above)) if row else None


def save(
    session: Session, marks: Mapping[Key, Watermark], tallies: Mapping[Key, Tally], now: datetime
) -> None:
    """Write `marks` over what is there, and add their `tallies` to what was counted."""
    if not marks:
        return
    new = insert(session, WatermarkRow)
    statement = new.on_conflict_do_update(
        index_elements=["device", "boot", "lane"],
        set_={name: new.excluded[name] for name in ("seq", "above", "missing", "moved_at")}
        | {name: getattr(WatermarkRow, name) + new.excluded[name] for name in Tally._fields},
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
                "missing": missing(mark),
                "moved_at": now,
                **tallies.get(key, NOTHING)._asdict(),
            }
            for key, mark in marks.items()
        ],
    )


def forget_old_boots(session: Session, device: str, lane: str) -> None:
    """Keep the newest `BOOTS_MAX` boots of `device` in `lane`; call it when a new one has appeared.

    What was counted of the others stays counted; what was missing of them is given up.
    """
    rows = sa.select(WatermarkRow).where(WatermarkRow.device == device, WatermarkRow.lane == lane)
    old = session.scalars(rows.order_by(WatermarkRow.moved_at.desc()).offset(BOOTS_MAX)).all()
    if not old:
        return
    counted = {name: sum(getattr(row, name) for row in old) for name in Tally._fields}
    counted["given_up"] += sum(row.missing for row in old)
    counted["boots"] = len(old)
    new = insert(session, ForgottenBoots).values(device=device, lane=lane, **counted)
    session.execute(
        new.on_conflict_do_update(
            index_elements=["device", "lane"],
            set_={name: getattr(ForgottenBoots, name) + count for name, count in counted.items()},
        )
    )
    for row in old:
        session.delete(row)


def quarantine(session: Session, refused: Refusal, now: datetime) -> None:
    """Count `refused`, describe it, and forget the oldest description of its device beyond the bound."""
    quarantine_all(session, [refused], now)


def quarantine_all(session: Session, refusals: Sequence[Refusal], now: datetime) -> None:
    """Count `refusals`, describe them, and forget the oldest descriptions of each device beyond the bound."""
    counts = Counter((refused.device, refused.reason.value) for refused in refusals)
    for (device, reason), times in counts.items():
        count(session, device, reason, now, times)
    for device in {refused.device for refused in refusals}:
        newest = [refused for refused in refusals if refused.device == device][-QUARANTINED_MAX:]
        session.add_all(
            Quarantined(
                device=device,
                topic_name=refused.topic_name,
                reason=refused.reason.value,
                size=refused.size,
                sha256=refused.sha256,
                at=now,
            )
            for refused in newest
        )
        session.flush()
        ids = sa.select(Quarantined.id).where(Quarantined.device == device)
        last = session.scalar(ids.order_by(Quarantined.id.desc()).offset(QUARANTINED_MAX).limit(1))
        if last is not None:
            session.execute(
                sa.delete(Quarantined).where(Quarantined.device == device, Quarantined.id <= last)
            )


def count(session: Session, device: str, reason: str, now: datetime, times: int = 1) -> None:
    """`times` more of `device` were refused for `reason`."""
    new = insert(session, RefusalCount).values(device=device, reason=reason, count=times, last_at=now)
    session.execute(
        new.on_conflict_do_update(
            index_elements=["device", "reason"],
            set_={"count": RefusalCount.count + times, "last_at": now},
        )
    )


def refusals(session: Session) -> dict[str, int]:
    """How many messages were refused, by reason."""
    rows = session.execute(
        sa.select(RefusalCount.reason, sa.func.sum(RefusalCount.count)).group_by(RefusalCount.reason)
    )
    return {reason: int(count) for reason, count in rows}
