"""What devices declare as dropped: stored once, by boot, lane and reason."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.broker import Received
from cloud.database.models.link import DeclaredDrops, DeclaredRange
from cloud.database.writing import insert
from contract.link import Dropped, DroppedRange, check_dropped
from contract.messages import read

BOOTS_MAX = 64
"""Boots kept apart of each device; those of older ones are added up under ''."""
RANGES_MAX = 500
"""Ranges kept of each device for people; all are counted."""


def take(message: Received) -> None:
    """The handler of `dropped`; the envelope's watermark sees to it that each declaration is taken once.

    Raises:
        MalformedError: it is no `contract.link.Dropped`, or says the impossible.
    """
    assert message.envelope is not None
    said = read(message.envelope.body, Dropped)
    check_dropped(said)
    for each in said.ranges:
        _add(message.session, message.device, each, message.received_at)
    _forget(message.session, message.device)


def _add(session: Session, device: str, each: DroppedRange, now: datetime) -> None:
    numbered = each.count if each.from_seq else 0
    counts = {"numbered": numbered, "unnumbered": each.count - numbered}
    key = {"device": device, "boot": each.boot, "lane": each.lane.value, "why": each.why.value}
    new = insert(session, DeclaredDrops).values(**key, **counts, declared_at=now)
    session.execute(
        new.on_conflict_do_update(
            index_elements=list(key),
            set_={name: getattr(DeclaredDrops, name) + count for name, count in counts.items()}
            | {"declared_at": now},
        )
    )
    last = session.scalar(
        sa.select(DeclaredRange)
        .where(DeclaredRange.device == device)
        .order_by(DeclaredRange.id.desc())
        .limit(1)
    )
    if last is not None and _goes_on(last, each):
        last.to_seq, last.count, last.declared_at = each.to_seq, last.count + each.count, now
        return
    session.add(
        DeclaredRange(
            device=device,
            boot=each.boot,
            lane=each.lane.value,
            from_seq=each.from_seq,
            to_seq=each.to_seq,
            count=each.count,
            why=each.why.value,
            declared_at=now,
        )
    )


def _goes_on(last: DeclaredRange, each: DroppedRange) -> bool:
    """Whether a range begins where the last one ends, so that a long outage stays one range."""
    same = (last.boot, last.lane, last.why) == (each.boot, each.lane.value, each.why.value)
    return same and 0 < last.to_seq == each.from_seq - 1


def _forget(session: Session, device: str) -> None:
    """Keep the newest ranges and the newest boots apart; no count gets lost."""
    session.flush()
    ids = sa.select(DeclaredRange.id).where(DeclaredRange.device == device)
    last = session.scalar(ids.order_by(DeclaredRange.id.desc()).offset(RANGES_MAX).limit(1))
    if last is not None:
        session.execute(
            sa.delete(DeclaredRange).where(DeclaredRange.device == device, DeclaredRange.id <= last)
        )
    newest = sa.func.max(DeclaredDrops.declared_at)
    boots = sa.select(DeclaredDrops.boot).where(DeclaredDrops.device == device, DeclaredDrops.boot != "")
    old = session.scalars(
        boots.group_by(DeclaredDrops.boot).order_by(newest.desc(), DeclaredDrops.boot).offset(BOOTS_MAX)
    ).all()
    if not old:
        return
    rows = session.scalars(
        sa.select(DeclaredDrops).where(DeclaredDrops.device == device, DeclaredDrops.boot.in_(old))
    ).all()
    for row in rows:
        sums = {"numbered": row.numbered, "unnumbered": row.unnumbered}
        key = {"device": device, "boot": "", "lane": row.lane, "why": row.why}
        new = insert(session, DeclaredDrops).values(**key, **sums, declared_at=row.declared_at)
        session.execute(
            new.on_conflict_do_update(
                index_elements=list(key),
                set_={name: getattr(DeclaredDrops, name) + count for name, count in sums.items()},
            )
        )
        session.delete(row)
