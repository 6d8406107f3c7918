"""The ledger of one device, by boot and lane, with the reasons that it gave."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device
from cloud.database.models.link import (
    DeclaredDrops,
    DeclaredRange,
    ForgottenBoots,
    RefusalCount,
    Sighting,
    SkewRow,
    WatermarkRow,
)
from cloud.link.books import Books, Key, declared_of, drops_of, shared
from cloud.link.core import Counted, Declared, Drop, Numbers, gaps, place, reconcile

BOOTS_SHOWN = 64
GAPS_SHOWN = 5
RANGES_SHOWN = 50


@dataclass(frozen=True)
class BootAccount:
    """One boot and lane; everything up to `seq` is accounted for, `gaps` are the first that are missing."""

    boot: str
    lane: str
    seq: int
    numbers: Numbers
    gaps: list[tuple[int, int]]
    moved_at: datetime | None


@dataclass(frozen=True)
class Told:
    """One range that the device declared; both ends are 0 where the messages never had a number."""

    boot: str
    lane: str
    from_seq: int
    to_seq: int
    count: int
    why: str
    declared_at: datetime


@dataclass(frozen=True)
class DeviceLedger:
    """One device: boots newest first, numbers of all of them, why it dropped what, what was refused of it.

    `forgotten_boots` are no longer kept apart and are in `numbers`. `skew_ms` was reckoned at `skew_at`.
    """

    device: str
    numbers: Numbers
    boots: list[BootAccount]
    forgotten_boots: int
    why: Mapping[str, int]
    drops: list[Told]
    refused: Mapping[str, int]
    skew_ms: int | None
    skew_at: datetime | None
    returns: int
    returned_at: datetime | None
    shared: bool


def read(books: Books, device: str) -> DeviceLedger | None:
    """The ledger of `device`; None where there is no such device."""
    with books.sessions() as session:
        if session.get(Device, device) is None:
            return None
        boots, old = _rows(session, device)
        declared, dropped = declared_of(session, device), drops_of(session, device)
        why = _why(session, device)
        drops = _drops(session, device)
        refused = Counter(_refused(session, device))
        sighting = session.get(Sighting, device)
    with books.telemetry() as session:
        more, older = _rows(session, device)
        refused.update(_refused(session, device))
        skew = session.get(SkewRow, device)
    accounts = [_account(row, declared, dropped) for row in [*boots, *more]]
    known = {(account.boot, account.lane) for account in accounts}
    forgotten = [*old, *older]
    rest = _beyond(declared, known, forgotten)
    total = Numbers()
    for numbers in [*(account.numbers for account in accounts), *rest]:
        total = total.plus(numbers)
    returned_at = sighting.returned_at if sighting else None
    accounts.sort(key=lambda account: (account.moved_at is not None, account.moved_at), reverse=True)
    return DeviceLedger(
        device=device,
        numbers=total,
        boots=accounts[:BOOTS_SHOWN],
        forgotten_boots=sum(row.boots for row in forgotten),
        why=why,
        drops=drops[:RANGES_SHOWN],
        refused=refused,
        skew_ms=skew.skew_ms if skew else None,
        skew_at=skew.changed_at if skew else None,
        returns=sighting.returns if sighting else 0,
        returned_at=returned_at,
        shared=shared(returned_at, books.clock()),
    )


def _rows(session: Session, device: str) -> tuple[list[WatermarkRow], list[ForgottenBoots]]:
    return (
        list(session.scalars(sa.select(WatermarkRow).where(WatermarkRow.device == device))),
        list(session.scalars(sa.select(ForgottenBoots).where(ForgottenBoots.device == device))),
    )


def _account(
    row: WatermarkRow, declared: Mapping[Key, Declared], dropped: Mapping[Key, list[Drop]]
) -> BootAccount:
    key = row.device, row.boot, row.lane
    drops = dropped.get(key, [])
    whole = [(drop.first, drop.last) for drop in drops if drop.total == drop.last - drop.first + 1]
    counted = Counted(row.stored, row.refused, row.missing, row.dropped, row.given_up, row.repeated)
    return BootAccount(
        boot=row.boot,
        lane=row.lane,
        seq=row.seq,
        numbers=reconcile(
            counted, place(declared.get(key, Declared()), counted, (row.seq, row.above), drops)
        ),
        gaps=gaps(row.seq, row.above, whole, GAPS_SHOWN),
        moved_at=row.moved_at,
    )


def _beyond(
    declared: Mapping[Key, Declared],
    known: set[tuple[str, str]],
    forgotten: list[ForgottenBoots],
) -> list[Numbers]:
    """What is not in the list of boots: forgotten ones, and drops of boots of which nothing came."""
    old = {
        ("", row.lane): Counted(row.stored, row.refused, 0, row.dropped, row.given_up, row.repeated)
        for row in forgotten
    }
    said = {(boot, lane): each for (_, boot, lane), each in declared.items() if (boot, lane) not in known}
    found = []
    for key in old.keys() | said.keys():
        counted = old.get(key, Counted())
        found.append(reconcile(counted, place(said.get(key, Declared()), counted, None, [])))
    return found


def _why(session: Session, device: str) -> dict[str, int]:
    count = sa.func.sum(DeclaredDrops.numbered + DeclaredDrops.unnumbered)
    rows = sa.select(DeclaredDrops.why, count).where(DeclaredDrops.device == device)
    return {why: int(n) for why, n in session.execute(rows.group_by(DeclaredDrops.why))}


def _drops(session: Session, device: str) -> list[Told]:
    rows = sa.select(DeclaredRange).where(DeclaredRange.device == device)
    newest = rows.order_by(DeclaredRange.id.desc())
    return [
        Told(row.boot, row.lane, row.from_seq, row.to_seq, row.count, row.why, row.declared_at)
        for row in session.scalars(newest)
    ]


def _refused(session: Session, device: str) -> dict[str, int]:
    rows = session.scalars(sa.select(RefusalCount).where(RefusalCount.device == device))
    return {row.reason: row.count for row in rows}
