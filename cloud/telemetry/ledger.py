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
from cloud.database.models.link import (
    ForgottenBoots,
    LinkMinute,
    LinkTotal,
    Quarantined,
    RefusalCount,
    SkewRow,
    WatermarkRow,
)
from cloud.errors import UnavailableError
from cloud.refusals import Reason
from cloud.skew import Skew, note
from cloud.telemetry.core import Sorted
from cloud.watermark import Key, Watermark
from contract.messages import Lane

MINUTES_KEPT = timedelta(hours=24)
KNOWN_MAX = 50_000
"""Watermarks kept in memory; beyond it all are forgotten and read again."""
TABLES = [
    cast(sa.Table, table.__table__)
    for table in (
        WatermarkRow,
        ForgottenBoots,
        Quarantined,
        RefusalCount,
        LinkMinute,
        LinkTotal,
        SkewRow,
    )
]
SKEW_STEP_MS = 20
"""A skew that has changed by less is not written again."""


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
        _widen(self._engine)
        self._sessions = sessionmaker(self._engine)
        self._known: dict[Key, Watermark] = {}
        self._skews: dict[str, Skew] = {}
        with self._sessions.begin() as session:
            self._stored_skews = {row.device: row.skew_ms for row in session.scalars(sa.select(SkewRow))}

    @property
    def sessions(self) -> sessionmaker[Session]:
        """For reading by others."""
        return self._sessions

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
                arrivals.save(session, batch.marks, batch.tallies, now)
                for key in new:
                    arrivals.forget_old_boots(session, key.device, key.lane)
                arrivals.quarantine_all(session, batch.refused, now)
                for device, excess in batch.excess.items():
                    arrivals.count(session, device, Reason.EXCESS.value, now, excess)
                skews = self._reckon(batch, now)
                _write_skews(session, skews, now)
                if batch.messages:
                    _add(session, batch, now)
        except sa.exc.SQLAlchemyError as error:
            raise UnavailableError(f"the telemetry database does not take watermarks: {error}") from error
        self._known.update(batch.marks)
        self._stored_skews |= skews

    def _reckon(self, batch: Sorted, now: datetime) -> dict[str, int]:
        """Note how long messages were on their way; the skews that have to be written."""
        changed = {}
        for device, lead_ms in batch.leads.items():
            before = self._skews.get(device) or Skew(self._stored_skews.get(device))
            known = self._skews[device] = note(before, lead_ms, now.timestamp())
            stored = self._stored_skews.get(device)
            if known.skew_ms is not None and (stored is None or abs(known.skew_ms - stored) >= SKEW_STEP_MS):
                changed[device] = known.skew_ms
        return changed

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


def _widen(engine: sa.Engine) -> None:
    """Add the columns that an earlier release's file lacks; what had arrived by then counts as stored."""
    table = TABLES[0]
    there = {column["name"] for column in sa.inspect(engine).get_columns(table.name)}
    lacking = [column.name for column in table.columns if column.name not in there]
    if not lacking:
        return
    with engine.begin() as connection:
        for name in lacking:
            column = f"{name} BIGINT DEFAULT '0' NOT NULL"
            connection.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {column}"))
        if "stored" in lacking:
            arrived = WatermarkRow.seq + sa.func.json_array_length(WatermarkRow.above)
            connection.execute(sa.update(WatermarkRow).values(stored=arrived))
        for index in table.indexes:
            index.create(connection, checkfirst=True)


def _write_skews(session: Session, skews: Mapping[str, int], now: datetime) -> None:
    if not skews:
        return
    new = insert(SkewRow)
    session.execute(
        new.on_conflict_do_update(
            index_elements=["device"], set_={name: new.excluded[name] for name in ("skew_ms", "changed_at")}
        ),
        [{"device": device, "skew_ms": skew_ms, "changed_at": now} for device, skew_ms in skews.items()],
    )


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
