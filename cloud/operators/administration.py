"""Accounts as administrators manage them: roles, disabling, and that one administrator is always left."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.operators import Operator, OperatorSession
from cloud.errors import RefusedError
from cloud.operators.actors import Actor, audit
from cloud.operators.roles import Role

LISTED_MAX = 500


class LastAdministratorError(RefusedError):
    """Without this account nobody could manage accounts any more."""


def listed(session: Session) -> list[Operator]:
    """Every account, by name."""
    return list(session.scalars(sa.select(Operator).order_by(Operator.name).limit(LISTED_MAX)))


def change_role(session: Session, actor: Actor, name: str, role: Role) -> None:
    """Give the account another role; its sessions end.

    Raises:
        RefusedError: there is no such account, or it is the last administrator.
    """
    row = _hold(session, name, stays_administrator=role is Role.ADMINISTRATOR)
    if row.role == role:
        return
    audit(session, actor, "change-role", name, {"from": row.role, "to": role.value})
    row.role = role.value
    _end_sessions(session, row)


def disable(session: Session, actor: Actor, name: str) -> None:
    """Let nobody in by this account any more; its sessions end.

    Raises:
        RefusedError: there is no such account, or it is the last administrator.
    """
    row = _hold(session, name, stays_administrator=False)
    if row.disabled_at is None:
        row.disabled_at = actor.at
        audit(session, actor, "disable-account", name, {})
    _end_sessions(session, row)


def enable(session: Session, actor: Actor, name: str) -> None:
    """Let the account in again, with the password that it had.

    Raises:
        RefusedError: there is no such account.
    """
    row = _hold(session, name, stays_administrator=True)
    if row.disabled_at is not None:
        row.disabled_at = None
        audit(session, actor, "enable-account", name, {})


def _hold(session: Session, name: str, *, stays_administrator: bool) -> Operator:
    """The account, to be changed; held with all administrators, so that two cannot remove each other."""
    held = sa.select(Operator.id, Operator.name).where(sa.or_(Operator.name == name, *_administrator()))
    rows = session.execute(held.order_by(Operator.id).with_for_update()).all()
    number = next((row.id for row in rows if row.name == name), None)
    if number is None:
        raise RefusedError(f"there is no account {name!r:.80}; choose one from the list")
    working = set(session.scalars(sa.select(Operator.id).where(*_working())))
    if working == {number} and not stays_administrator:
        raise LastAdministratorError(f"{name} is the last administrator; make somebody else one first")
    return session.get_one(Operator, number, populate_existing=True)


def _administrator() -> tuple[sa.ColumnElement[bool], ...]:
    return (Operator.role == Role.ADMINISTRATOR.value,)


def _working() -> tuple[sa.ColumnElement[bool], ...]:
    return (*_administrator(), Operator.disabled_at.is_(None))


def _end_sessions(session: Session, row: Operator) -> None:
    session.execute(sa.delete(OperatorSession).where(OperatorSession.operator_id == row.id))
