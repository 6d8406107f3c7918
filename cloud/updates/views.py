"""What pages and the JSON interface show of updates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.updates import UpdateAssignment, UpdateRollout
from contract.updates import BEFORE_ACTIVATION, UPDATE

POSITION_MAX = 2**63 - 1
"""Largest position that a database takes."""


@dataclass(frozen=True)
class Overview:
    """One roll-out; `counts` says how many devices are in which state."""

    position: int
    update: str
    component: str
    path: str
    version: str
    downgrade: bool
    target: str
    created_at: datetime
    created_by: str
    cancelled_at: datetime | None
    counts: dict[str, int]

    @property
    def cancellable(self) -> bool:
        """Whether anything of it can still be taken back."""
        return self.cancelled_at is None and any(state in BEFORE_ACTIVATION for state in self.counts)


@dataclass(frozen=True)
class Row:
    """One roll-out on one device; `runs` is the agent's version that the device has told."""

    device: str
    runs: str
    state: str
    revision: int
    attempt: int
    code: str
    detail: str
    changed_at: datetime


def overviews(session: Session, *, before: int | None, limit: int) -> list[Overview]:
    """At most `limit` roll-outs, newest first, below position `before`."""
    newest = sa.select(UpdateRollout).order_by(UpdateRollout.id.desc()).limit(limit)
    if before is not None:
        newest = newest.where(UpdateRollout.id < before)
    return _counted(session, session.scalars(newest).all())


def overview(session: Session, update: str) -> Overview | None:
    """One roll-out; None if there is none."""
    found = session.scalars(sa.select(UpdateRollout).where(UpdateRollout.update == update)).all()
    return next(iter(_counted(session, found)), None)


def rows(session: Session, update: str) -> list[Row]:
    """Every device of a roll-out, by name."""
    found = session.execute(
        sa.select(UpdateAssignment, Device.agent)
        .join(Device, Device.device == UpdateAssignment.device)
        .where(UpdateAssignment.update == update)
        .order_by(UpdateAssignment.device)
    )
    return [
        Row(
            each.device,
            runs,
            each.state,
            each.revision,
            each.attempt,
            each.code,
            each.detail,
            each.changed_at,
        )
        for each, runs in found
    ]


def devices(session: Session) -> list[str]:
    """Every device of the fleet."""
    listed = sa.select(Device.device).where(Device.decommissioned_at.is_(None)).order_by(Device.device)
    return list(session.scalars(listed))


def _counted(session: Session, rollouts: Sequence[UpdateRollout]) -> list[Overview]:
    counts: dict[str, Counter[str]] = {each.update: Counter() for each in rollouts}
    found = session.execute(
        sa.select(UpdateAssignment.update, UpdateAssignment.state, sa.func.count())
        .where(UpdateAssignment.update.in_(counts))
        .group_by(UpdateAssignment.update, UpdateAssignment.state)
    )
    for update, state, count in found:
        counts[update][state] = count
    return [
        Overview(
            position=each.id,
            update=each.update,
            component=each.component,
            path=each.path,
            version=each.version,
            downgrade=each.downgrade,
            target=each.target,
            created_at=each.created_at,
            created_by=each.created_by,
            cancelled_at=each.cancelled_at,
            counts={
                state: counts[each.update][state] for state in UPDATE.states if counts[each.update][state]
            },
        )
        for each in rollouts
    ]
