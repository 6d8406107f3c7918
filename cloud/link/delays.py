"""Planned maintenance of the broker: an operator tells devices to stay away for a while after they lose it.

A delay lies in the database until its time is over or somebody ends it. Who is connected is told in
portions, so that our own queue to the broker never overflows; who comes while it is valid is told then.
What a crash cuts off is told again: a device keeps the newest.
"""

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.devices import Device
from cloud.database.models.link import ToldDelay
from cloud.database.writing import insert
from cloud.errors import MalformedError, RefusedError
from cloud.operators.actors import SignedIn, audit
from contract.errors import MalformedError as ContractMalformedError
from contract.link import VALID_S_MAX, Reconnect, check_reconnect
from contract.messages import encode

log = logging.getLogger(__name__)

PORTION = 500
"""Devices that are told in one go; our queue to the broker holds four times as many."""
KEY_LENGTH_MAX = 128
CLEAR = Reconnect(min_s=0.0, max_s=45.0, valid_s=10.0)
"""Takes the place of a delay that was ended: soon over, and no shorter than what devices do by themselves."""
LISTED = 50


class Publish(Protocol):
    """As `cloud.broker.Broker.publish`."""

    def __call__(
        self, topic_name: str, ids: dict[str, str], payload: bytes, *, expiry_s: int | None = None
    ) -> None:
        """Publish."""


class Delays:
    """Safe to use from several threads; `session` is the caller's transaction."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        publish: Publish,
        connected: Callable[[], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self.sessions = sessions
        self.clock = clock
        self._publish = publish
        self._connected = connected

    def tell(
        self,
        session: Session,
        operator: SignedIn,
        *,
        site: str,
        min_s: int,
        max_s: int,
        valid_s: int,
        key: str,
    ) -> str:
        """Begin a delay for a site, or for all (''); its id. The same operator's same `key` is the same one.

        Raises:
            MalformedError: the bounds are none, or longer than the contract allows.
            RefusedError: no device stands at this site.
        """
        if not 1 <= len(key) <= KEY_LENGTH_MAX:
            raise MalformedError(f"an idempotency key has 1 to {KEY_LENGTH_MAX} characters")
        delay = "delay-" + hashlib.sha256(f"{operator.id}:{key}".encode()).hexdigest()[:24]
        if session.get(ToldDelay, delay) is not None:
            return delay
        try:
            check_reconnect(Reconnect(min_s=min_s, max_s=max_s, valid_s=valid_s))
        except ContractMalformedError as error:
            raise MalformedError(str(error)) from None
        if site and site not in sites(session):
            raise RefusedError("no device stands at this site; choose one of the list")
        new = insert(session, ToldDelay).values(
            delay=delay,
            site=site,
            min_s=min_s,
            max_s=max_s,
            created_at=operator.at,
            created_by=operator.name,
            until=operator.at + timedelta(seconds=valid_s),
            told_to="",
            ended_by="",
        )
        if session.scalar(new.on_conflict_do_nothing().returning(ToldDelay.delay)) is None:
            return delay  # the same request has come twice at once
        details = {"site": site, "min_s": min_s, "max_s": max_s, "valid_s": valid_s}
        audit(session, operator, "tell-delay", delay, details)
        log.info("delay_told", extra={"delay": delay, **details})
        return delay

    def end(self, session: Session, operator: SignedIn, delay: str) -> None:
        """Take a delay back before its time; one that is over stays as it is."""
        row = session.get(ToldDelay, delay, with_for_update=True)
        if row is None or row.ended_at is not None or row.until <= operator.at:
            return
        row.ended_at, row.ended_by, row.told_to, row.cleared_to = operator.at, operator.name, None, ""
        audit(session, operator, "end-delay", delay, {"site": row.site})
        log.info("delay_ended", extra={"delay": delay})

    def on_online(self, device: str) -> None:
        """Tell a device that has come what is valid now; after the commit of its presence."""
        now = self.clock()
        with self.sessions() as session:
            row = session.get(Device, device)
            told = current(session, row.site, now) if row else None
        if told is not None:
            self._tell(device, told)

    def sweep(self) -> None:
        """Tell the next portion of those who are connected; again and again, every few seconds."""
        if not self._connected():
            return
        now = self.clock()
        with self.sessions.begin() as session:
            rows = session.scalars(
                sa.select(ToldDelay)
                .where(sa.or_(ToldDelay.told_to.is_not(None), ToldDelay.cleared_to.is_not(None)))
                .order_by(ToldDelay.created_at)
                .with_for_update(skip_locked=True)
            ).all()
            for row in rows:
                self._next_portion(session, row, now)

    def _next_portion(self, session: Session, row: ToldDelay, now: datetime) -> None:
        if row.until <= now:
            row.told_to = row.cleared_to = None  # it has passed by itself on every device
            return
        ending = row.ended_at is not None
        after = (row.cleared_to if ending else row.told_to) or ""
        devices = sa.select(Device.device, Device.site).where(
            Device.device > after, Device.decommissioned_at.is_(None), Device.presence != "offline"
        )
        if row.site:
            devices = devices.where(Device.site == row.site)
        portion = session.execute(devices.order_by(Device.device).limit(PORTION)).all()
        for device, site in portion:
            self._tell(device, current(session, site, now) or CLEAR)
        last = portion[-1].device if len(portion) == PORTION else None
        if ending:
            row.cleared_to = last
        else:
            row.told_to = last

    def _tell(self, device: str, told: Reconnect) -> None:
        self._publish("reconnect", {"device": device}, encode(told), expiry_s=max(1, int(told.valid_s)))


def current(session: Session, site: str, now: datetime) -> Reconnect | None:
    """What a device at `site` is to be told: of all that is valid the newest."""
    row = session.scalar(
        sa.select(ToldDelay)
        .where(ToldDelay.site.in_(["", site]), ToldDelay.until > now, ToldDelay.ended_at.is_(None))
        .order_by(ToldDelay.created_at.desc(), ToldDelay.delay)
        .limit(1)
    )
    if row is None:
        return None
    left_s = min((row.until - now).total_seconds(), VALID_S_MAX)
    return Reconnect(min_s=float(row.min_s), max_s=float(row.max_s), valid_s=left_s)


def sites(session: Session) -> list[str]:
    """The places where devices stand."""
    rows = sa.select(Device.site).where(Device.decommissioned_at.is_(None)).distinct().order_by(Device.site)
    return list(session.scalars(rows))


def listed(session: Session, before: str | None, limit: int) -> list[ToldDelay]:
    """At most `limit` delays, newest first, after the one with the id `before`."""
    rows = sa.select(ToldDelay).order_by(ToldDelay.created_at.desc(), ToldDelay.delay.desc())
    last = session.get(ToldDelay, before) if before else None
    if before and last is None:
        return []
    if last is not None:
        rows = rows.where(
            sa.or_(
                ToldDelay.created_at < last.created_at,
                sa.and_(ToldDelay.created_at == last.created_at, ToldDelay.delay < last.delay),
            )
        )
    return list(session.scalars(rows.limit(limit)))
