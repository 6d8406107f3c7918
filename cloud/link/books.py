"""The ledger as it is read: both databases put together, for pages, programs and metrics alike.

Events stand in the main database, telemetry in its own; each number is read where it is counted and nowhere
else.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

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
from cloud.link.core import Counted, Declared, Drop, Mark, Numbers, place, reconcile
from cloud.link.identity import is_shared

FRESH_FOR = timedelta(seconds=5)
"""Many look at the same ledger; both databases are read once for all of them."""
DEVICES_ASKED_MAX = 500
"""Devices in one question; databases take no endless lists."""
NOTHING = Numbers()
Key = tuple[str, str, str]
"""Device, boot and lane."""


@dataclass(frozen=True)
class Account:
    """One registered device; `refused` by reason, `skew_ms` its clock minus ours, at least."""

    device: str
    kind: str
    site: str
    numbers: Numbers
    refused: Mapping[str, int]
    skew_ms: int | None
    returns: int
    shared: bool

    @property
    def place(self) -> str:
        """Where it stands in the list, as text that sorts: devices with something missing first."""
        return f"{0 if self.numbers.missing else 1}.{self.device}"


@dataclass(frozen=True)
class Ledger:
    """Everything at `at`. The totals hold devices that are out of service, too, so that they only grow."""

    at: datetime
    accounts: list[Account]
    numbers: Numbers
    refused: Mapping[str, int]
    returns: int

    @property
    def with_missing(self) -> int:
        """How many devices have something missing."""
        return sum(account.numbers.missing > 0 for account in self.accounts)

    @property
    def shared(self) -> int:
        """How many identities two machines use."""
        return sum(account.shared for account in self.accounts)

    def page(self, after: str, limit: int) -> tuple[list[Account], str | None]:
        """At most `limit` accounts beyond the cursor `after`, and the cursor of the next page."""
        rest = [account for account in self.accounts if account.place > after]
        shown = rest[:limit]
        return shown, shown[-1].place if len(rest) > limit else None


class Books:
    """Reads both databases; several threads may ask."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        telemetry: sessionmaker[Session],
        clock: Callable[[], datetime],
    ) -> None:
        self.sessions = sessions
        self.telemetry = telemetry
        self.clock = clock
        self._one = threading.Lock()
        self._last: Ledger | None = None

    def ledger(self) -> Ledger:
        """The whole ledger as it is now, or was less than five seconds ago."""
        with self._one:
            now = self.clock()
            if self._last is None or not timedelta(0) <= now - self._last.at < FRESH_FOR:
                self._last = self._read(now)
            return self._last

    def _read(self, now: datetime) -> Ledger:
        with self.sessions() as session:
            devices = session.execute(
                sa.select(Device.device, Device.kind, Device.site).where(Device.decommissioned_at.is_(None))
            ).all()
            sightings = {row.device: row for row in session.scalars(sa.select(Sighting))}
            declared, drops = declared_of(session), drops_of(session)
            marks = _marks(session, {device for device, _, _ in declared})
            sums, keyed = _sums(session), _keyed(session)
            refused = _refused(session)
        with self.telemetry() as session:
            skews = {row.device: row.skew_ms for row in session.scalars(sa.select(SkewRow))}
            for device, sent in _sums(session).items():
                sums[device] = sums.get(device, NOTHING).plus(sent)
            keyed |= _keyed(session)
            marks |= _marks(session, {device for device, _, _ in declared})
            for device, reasons in _refused(session).items():
                refused.setdefault(device, Counter()).update(reasons)
        for key in keyed.keys() | declared.keys():
            counted = keyed.get(key, Counted())
            said = place(declared.get(key, Declared()), counted, marks.get(key), drops.get(key, []))
            more = reconcile(counted, said)
            sums[key[0]] = sums.get(key[0], NOTHING).plus(more)
        accounts = [
            _account(device, kind, site, sums, refused, skews, sightings, now)
            for device, kind, site in devices
        ]
        return Ledger(
            at=now,
            accounts=sorted(accounts, key=lambda account: account.place),
            numbers=_total(sums.values()),
            refused=sum(refused.values(), Counter()),
            returns=sum(row.returns for row in sightings.values()),
        )


def _account(
    device: str,
    kind: str,
    site: str,
    sums: Mapping[str, Numbers],
    refused: Mapping[str, Mapping[str, int]],
    skews: Mapping[str, int],
    sightings: Mapping[str, Sighting],
    now: datetime,
) -> Account:
    sighting = sightings.get(device)
    returned_at = sighting.returned_at if sighting else None
    return Account(
        device=device,
        kind=kind,
        site=site,
        numbers=sums.get(device, NOTHING),
        refused=refused.get(device, {}),
        skew_ms=skews.get(device),
        returns=sighting.returns if sighting else 0,
        shared=shared(returned_at, now),
    )


def shared(returned_at: datetime | None, now: datetime) -> bool:
    """Whether two machines use an identity whose last sign of it was at `returned_at`."""
    return is_shared(_ms(returned_at) if returned_at else None, _ms(now))


def declared_of(session: Session, device: str | None = None) -> dict[Key, Declared]:
    """What devices declared as dropped, by device, boot and lane; of one device or of all."""
    d = DeclaredDrops
    rows = sa.select(d.device, d.boot, d.lane, sa.func.sum(d.numbered), sa.func.sum(d.unnumbered)).group_by(
        d.device, d.boot, d.lane
    )
    if device is not None:
        rows = rows.where(d.device == device)
    return {(name, boot, lane): Declared(int(n), int(u)) for name, boot, lane, n, u in session.execute(rows)}


def drops_of(session: Session, device: str | None = None) -> dict[Key, list[Drop]]:
    """The ranges that devices declared and that had numbers, by device, boot and lane."""
    rows = sa.select(DeclaredRange).where(DeclaredRange.from_seq > 0)
    if device is not None:
        rows = rows.where(DeclaredRange.device == device)
    found: dict[Key, list[Drop]] = {}
    for row in session.scalars(rows):
        drop = Drop(row.from_seq, row.to_seq, row.count)
        found.setdefault((row.device, row.boot, row.lane), []).append(drop)
    return found


def _marks(session: Session, devices: Iterable[str]) -> dict[Key, Mark]:
    """The watermarks of those devices that have declared something."""
    found: dict[Key, Mark] = {}
    ordered = sorted(devices)
    for start in range(0, len(ordered), DEVICES_ASKED_MAX):
        some = ordered[start : start + DEVICES_ASKED_MAX]
        rows = session.scalars(sa.select(WatermarkRow).where(WatermarkRow.device.in_(some)))
        found |= {(row.device, row.boot, row.lane): (row.seq, row.above) for row in rows}
    return found


def _sums(session: Session) -> dict[str, Numbers]:
    """Of each device what needs no reconciling: it is in no other table and no declaration is about it."""
    found: dict[str, Numbers] = {}
    for table in (WatermarkRow, ForgottenBoots):
        total = sa.func.sum
        rows = sa.select(
            table.device,
            total(table.stored),
            total(table.refused),
            total(table.given_up),
            total(table.repeated),
        )
        for device, stored, refused, given_up, repeated in session.execute(rows.group_by(table.device)):
            more = Numbers(
                stored=int(stored), refused=int(refused), lost=int(given_up), repeated=int(repeated)
            )
            found[device] = found.get(device, NOTHING).plus(more)
    return found


def _keyed(session: Session) -> dict[Key, Counted]:
    """The few boots and lanes where something is missing or was dropped; boot '' for forgotten ones."""
    w, f = WatermarkRow, ForgottenBoots
    rows = sa.select(w.device, w.boot, w.lane, w.missing, w.dropped).where((w.missing > 0) | (w.dropped > 0))
    found = {
        (device, boot, lane): Counted(missing=missing, dropped=dropped)
        for device, boot, lane, missing, dropped in session.execute(rows)
    }
    old = sa.select(f.device, f.lane, f.dropped).where(f.dropped > 0)
    return found | {
        (device, "", lane): Counted(dropped=dropped) for device, lane, dropped in session.execute(old)
    }


def _refused(session: Session) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for row in session.scalars(sa.select(RefusalCount)):
        found.setdefault(row.device, Counter())[row.reason] += row.count
    return found


def _total(numbers: Iterable[Numbers]) -> Numbers:
    total = NOTHING
    for each in numbers:
        total = total.plus(each)
    return total


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
