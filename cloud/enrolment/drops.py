"""Ends the live connections of devices that have no good certificate any more.

A list of revoked certificates stops the next connection, not the one that stands. What ends that is written
down with the revocation and carried out until it is certain: the broker refuses the list's canary, so it has
read the list, and afterwards the connection was dropped once more. Until then the page says so.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.enrolment import ConnectionDrop
from cloud.database.writing import insert
from cloud.enrolment import core, members
from cloud.enrolment.revocations import FleetingPair, Revocations
from cloud.errors import UnavailableError
from contract import topics

log = logging.getLogger(__name__)

DROPPED_MAX = 20
"""Devices of one round; the next, a second later, takes the others."""


class Trouble(StrEnum):
    """Why it is not certain yet that a device is shut out."""

    NONE = ""
    UNREACHABLE = "unreachable"
    NOT_RELOADED = "not-reloaded"
    WITHOUT_CERTIFICATES = "without-certificates"


class Door(Protocol):
    """The broker's door, as the control plane uses it."""

    def drop(self, device: str, forget: Sequence[str]) -> None:
        """End the live connection of `device`, and forget its session and what is retained on `forget`.

        Raises:
            UnavailableError: the broker does not answer, or does not let us in.
        """

    def refuses(self, pair: FleetingPair) -> bool:
        """Whether the broker refuses `pair` because it was revoked.

        Raises:
            UnavailableError: the broker does not answer.
        """


def ask(session: Session, device: str, now: datetime, *, forget: bool = False) -> None:
    """Have the live connection of `device` ended, in the caller's transaction; `forget` what is retained."""
    values = {
        "asked_at": now,
        "forget": forget,
        "tries": 0,
        "next_at": now,
        "trouble": Trouble.NONE,
        "done_at": None,
    }
    new = insert(session, ConnectionDrop).values(device=device, **values)
    session.execute(new.on_conflict_do_update(index_elements=["device"], set_=values))


class Drops:
    """Carries out what was asked. Without a `door` the broker asks for no certificates, and nothing helps."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        revocations: Revocations,
        door: Door | None,
        root: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._sessions = sessions
        self._revocations = revocations
        self._door = door
        self._root = root
        self._clock = clock

    def noticed(self, device: str) -> None:
        """A device says that it is there: if it has no good certificate, it is dropped (again)."""
        now = self._clock()
        with self._sessions.begin() as session:
            if self._door is None or members.good(session, device, now) > 0:
                return
            known = session.get(ConnectionDrop, device)
            if known is None or known.done_at is not None:  # an open one has its own pace
                log.warning("device_without_certificate_noticed", extra={"device": device})
                ask(session, device, now)

    def carry_out(self) -> int:
        """Drop what is due, once each; gives how many devices are certainly shut out now."""
        now = self._clock()
        with self._sessions() as session:
            rows = sa.select(ConnectionDrop).where(
                ConnectionDrop.done_at.is_(None), ConnectionDrop.next_at <= now
            )
            due = session.scalars(rows.order_by(ConnectionDrop.next_at).limit(DROPPED_MAX)).all()
        if not due:
            return 0
        reloaded = self._reloaded(now)
        return sum(self._drop(each, reloaded) for each in due)

    def _reloaded(self, now: datetime) -> Trouble:
        """NONE if the broker has certainly read the list as it is now."""
        if self._door is None:
            return Trouble.WITHOUT_CERTIFICATES
        try:
            return Trouble.NONE if self._door.refuses(self._revocations.canary(now)) else Trouble.NOT_RELOADED
        except UnavailableError as error:
            log.warning("broker_not_asked", extra={"sentence": str(error)})
            return Trouble.UNREACHABLE

    def _drop(self, asked: ConnectionDrop, trouble: Trouble) -> bool:
        """One try; certain if the broker had read the list before it, or the device is a good one again."""
        if self._door is not None and trouble is not Trouble.UNREACHABLE:
            forget = [topics.build("presence", root=self._root, device=asked.device)] if asked.forget else []
            try:
                self._door.drop(asked.device, forget)
            except UnavailableError as error:
                trouble = Trouble.UNREACHABLE
                log.warning("connection_not_dropped", extra={"device": asked.device, "sentence": str(error)})
        now = self._clock()
        with self._sessions.begin() as session:
            certain = trouble is Trouble.NONE or members.good(session, asked.device, now) > 0
            tries = asked.tries + 1
            session.execute(
                sa.update(ConnectionDrop)
                .where(ConnectionDrop.device == asked.device, ConnectionDrop.asked_at == asked.asked_at)
                .values(
                    tries=tries,
                    trouble=trouble,
                    next_at=now + core.drop_again_after(tries),
                    done_at=now if certain else None,
                )
            )
        if certain:
            log.info("connection_dropped", extra={"device": asked.device, "tries": tries})
        return certain
