"""Roll-outs: assigned by operators, carried as jobs, told of by devices."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Received
from cloud.database.models.devices import Device
from cloud.database.models.updates import UpdateAssignment, UpdateRollout
from cloud.errors import MalformedError, RefusedError
from cloud.operators.actors import SignedIn, audit
from cloud.updates import core
from cloud.updates.catalogue import Catalogue, Target
from contract.enrolment import KINDS
from contract.jobs import Status
from contract.messages import read
from contract.updates import (
    BEFORE_ACTIVATION,
    ApplyUpdate,
    CancelUpdate,
    Component,
    UpdateCode,
    UpdateNews,
)

log = logging.getLogger(__name__)

ALL = "all"
KEY_LENGTH_MAX = 128
_JOB = "apply-"
_CANCEL = "cancel-"

GROUP = "group:"
"""Before the name of a group, where a target is asked for."""
TARGET_LENGTH_MAX = len(GROUP) + 63

CreateJob = Callable[[Session, str, ApplyUpdate | CancelUpdate, Sequence[str], int | None], None]
"""`create_job(session, job, document, devices, per_minute)`, in the caller's transaction."""
CancelJob = Callable[[Session, str], int]
Details = Callable[[str, str], dict[str, str]]
"""What the execution of a job on a device said last."""


@dataclass(frozen=True)
class Tools:
    """What the service needs from the process."""

    sessions: sessionmaker[Session]
    catalogue: Catalogue
    create_job: CreateJob
    cancel_job: CancelJob
    details: Details
    clock: Callable[[], datetime]
    group_names: Callable[[Session], list[tuple[str, str]]]
    group_members: Callable[[Session, str], list[str]]


class Updates:
    """The updates of the fleet; safe to use from several threads. `session` is the caller's transaction."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.sessions = tools.sessions
        self.catalogue = tools.catalogue

    def assign(
        self,
        session: Session,
        operator: SignedIn,
        *,
        path: str,
        target: str,
        downgrade: bool,
        key: str,
        per_minute: int | None = None,
    ) -> str:
        """Assign a published target to a device, a kind of device, a group, or all; the id of the roll-out.

        With `per_minute` so many devices learn of it a minute, else all at once. The same operator's same
        `key` is the same roll-out.

        Raises:
            MalformedError: no key.
            RefusedError: nothing of this name is published, there is no such group, or no device for it.
        """
        if not 1 <= len(key) <= KEY_LENGTH_MAX:
            raise MalformedError(f"an idempotency key has 1 to {KEY_LENGTH_MAX} characters")
        update = "up-" + hashlib.sha256(f"{operator.id}:{key}".encode()).hexdigest()[:24]
        if session.scalar(sa.select(UpdateRollout.id).where(UpdateRollout.update == update)) is not None:
            return update
        chosen = self._published(path)
        devices = self._devices(session, chosen.component, target)
        order = ApplyUpdate(
            update=update,
            component=chosen.component,
            path=chosen.path,
            version=chosen.version,
            downgrade=downgrade,
        )
        session.add(
            UpdateRollout(
                update=update,
                component=order.component.value,
                path=order.path,
                version=order.version,
                downgrade=downgrade,
                target=target,
                created_at=operator.at,
                created_by=operator.name,
            )
        )
        session.flush()
        session.add_all(_row(update, device, operator.at) for device in devices)
        session.flush()
        self._tools.create_job(session, _JOB + update, order, devices, per_minute)
        details = {"version": order.version, "component": order.component.value, "devices": len(devices)}
        audit(session, operator, "assign-update", update, details)
        log.info("update_assigned", extra={"update": update, **details})
        return update

    def cancel(self, session: Session, operator: SignedIn, update: str) -> None:
        """Take back what has not been activated. A device that is away learns of it when it is back.

        Raises:
            RefusedError: there is no such roll-out, or nothing of it can be taken back any more.
        """
        rollout = session.scalar(sa.select(UpdateRollout).where(UpdateRollout.update == update))
        if rollout is None:
            raise RefusedError("there is no such update; choose one from the list")
        devices = list(
            session.scalars(
                sa.select(UpdateAssignment.device).where(
                    UpdateAssignment.update == update, UpdateAssignment.state.in_(BEFORE_ACTIVATION)
                )
            )
        )
        if rollout.cancelled_at is not None:
            return
        if not devices:
            raise RefusedError("every device has activated it already; assign the other version instead")
        rollout.cancelled_at = operator.at
        self._tools.cancel_job(session, _JOB + update)
        self._tools.create_job(session, _CANCEL + update, CancelUpdate(update=update), devices, None)
        audit(session, operator, "cancel-update", update, {"devices": len(devices)})

    def group_names(self, session: Session) -> list[tuple[str, str]]:
        """Every group's name and title."""
        return self._tools.group_names(session)

    def on_news(self, message: Received) -> None:
        """Handler of `updates` at the broker, in its transaction.

        Raises:
            MalformedError: the body is no news, or of another update than its topic.
            RefusedError: this device was never assigned that update.
        """
        assert message.envelope is not None, "news travels in an envelope"
        news = read(message.envelope.body, UpdateNews)
        if news.update != message.ids["update"]:
            raise MalformedError("the news is of another update than its topic")
        row = message.session.get(UpdateAssignment, (news.update, message.device), with_for_update=True)
        if row is None:
            raise RefusedError("this device was not assigned that update")
        if _store(row, core.take(_standing(row), news), message.received_at):
            extra = {"update": news.update, "device": message.device, "state": news.state, "code": news.code}
            log.info("update_told", extra=extra)

    def on_job_ended(self, job: str, device: str, status: Status) -> None:
        """Hook of the jobs, for every job's end: an assignment that the device has not taken has failed."""
        if not job.startswith(_JOB) or status is Status.SUCCEEDED:
            return
        update = job.removeprefix(_JOB)
        code = UpdateCode.CANCELLED if status is Status.CANCELED else UpdateCode.NOT_TAKEN
        detail = self._tools.details(job, device).get("reason", "")
        with self.sessions.begin() as session:
            row = session.get(UpdateAssignment, (update, device), with_for_update=True)
            if row is not None:
                _store(row, core.not_taken(_standing(row), code, detail), self._tools.clock())

    def _published(self, path: str) -> Target:
        for target in self.catalogue.targets():
            if target.path == path:
                return target
        raise RefusedError("nothing of this name is published; choose a target from the list")

    def _devices(self, session: Session, component: Component, target: str) -> list[str]:
        rows = sa.select(Device.device).where(Device.decommissioned_at.is_(None)).order_by(Device.device)
        if component is Component.FIRMWARE:
            rows = rows.where(Device.kind == "kiosk")  # only kiosks have an I/O board
        if target in KINDS:
            rows = rows.where(Device.kind == target)
        elif target.startswith(GROUP):
            members = self._tools.group_members(session, target.removeprefix(GROUP))
            rows = rows.where(Device.device.in_(members))
        elif target != ALL:
            rows = rows.where(Device.device == target)
        devices = list(session.scalars(rows))
        if not devices:
            raise RefusedError("there is no device to take it; choose another from the list")
        return devices


def _row(update: str, device: str, at: datetime) -> UpdateAssignment:
    return UpdateAssignment(update=update, device=device, changed_at=at, **vars(core.BEGIN))


def _standing(row: UpdateAssignment) -> core.Standing:
    return core.Standing(row.state, row.revision, row.attempt, row.code, row.detail)


def _store(row: UpdateAssignment, after: core.Standing, at: datetime) -> bool:
    if after == _standing(row):
        return False
    for name, value in vars(after).items():
        setattr(row, name, value)
    row.changed_at = at
    return True
