"""The telemetry database's own tables: watermarks, refusals and counts of the telemetry lane."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session, sessionmaker

from cloud import arrivals
from cloud.database.engine import connect
from cloud.database.models.base import Base
from cloud.database.models.link import LinkMinute, LinkTotal, Quarantined, RefusalCount, WatermarkRow
from cloud.errors import UnavailableError
from cloud.telemetry.core import Sorted
from cloud.watermark import Key, Watermark
from contract.messages import Lane

MINUTES_KEPT = timedelta(hours=24)
KNOWN_MAX = 50_000
"""Watermarks kept in memory; beyond it all are forgotten and read again."""
TABLES = [
    cast(sa.Table, table.__table__)
    for table in (WatermarkRow, Quarantined, RefusalCount, LinkMinute, LinkTotal)
]


@dataclass(frozen=True)
class Figures:
    """Values stored since the beginning; samples in the last full minute; messages refused by reason."""

    points: int
    samples_last_minute: int
    refused: Mapping[str, int]


class Ledger:
    """Written by one ingest process only; its watermarks are kept in memory, too."""

    def __init__(self, path: Path) -> None:
        self._engine = connect(f"sqlite:///{path}")
        Base.metadata.create_all(self._engine, tables=TABLES)
        self._sessions = sessionmaker(self._engine)
        self._known: dict[Key, Watermark] = {}

    def standing(self, key: Key) -> Watermark:
        """The watermark of `key`; one at zero where nothing has come yet."""
        known = self._known.get(key)
        if known is None:
            with self._sessions.begin() as session:
                known = arrivals.load(session, key) or Watermark()
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[key] = known
        return known

    def record(self, batch: Sorted, now: datetime) -> None:
        """Write down, in one transaction, what became of a batch whose points are stored.

        Raises:
            UnavailableError: the database does not take it.
        """
        new = [key for key in batch.marks if self.standing(key) == Watermark()]
        try:
            with self._sessions.begin() as session:
                arrivals.save(session, batch.marks, now)
                for key in new:
                    arrivals.forget_old_boots(session, key.device, key.lane)
                for refused in batch.refused:
                    arrivals.quarantine(session, refused, now)
                if batch.messages:
                    _add(session, batch, now)
        except sa.exc.SQLAlchemyError as error:
            raise UnavailableError(f"the telemetry database does not take watermarks: {error}") from error
        self._known.update(batch.marks)

    def figures(self, now: datetime) -> Figures:
        """What has come, for the status page; read by another process than the one that writes."""
        minute = now.replace(second=0, microsecond=0) - timedelta(minutes=1)
        with self._sessions.begin() as session:
            total = session.get(LinkTotal, Lane.TELEMETRY.value)
            last = session.get(LinkMinute, (minute, Lane.TELEMETRY.value))
            return Figures(
                points=total.points if total else 0,
                samples_last_minute=last.samples if last else 0,
                refused=arrivals.refusals(session),
            )

    def forget(self, now: datetime) -> None:
        """Drop the minutes that nobody looks at any more."""
        with self._sessions.begin() as session:
            session.execute(sa.delete(LinkMinute).where(LinkMinute.minute < now - MINUTES_KEPT))

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()


def _add(session: Session, batch: Sorted, now: datetime) -> None:
    counted = {"messages": batch.messages, "samples": batch.samples, "points": batch.values}
    keys: Mapping[type[LinkMinute | LinkTotal], dict[str, object]] = {
        LinkMinute: {"minute": now.replace(second=0, microsecond=0), "lane": Lane.TELEMETRY.value},
        LinkTotal: {"lane": Lane.TELEMETRY.value},
    }
    for table, key in keys.items():
        session.execute(
            insert(table)
            .values(**key, **counted)
            .on_conflict_do_update(
                index_elements=list(key),
                set_={name: getattr(table, name) + count for name, count in counted.items()},
            )
        )
