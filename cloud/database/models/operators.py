"""Accounts of staff, their sessions, what they did, and tokens for programs."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from cloud.database.models.base import Base


class Operator(Base):
    """One account; `role` is one of `cloud.operators.roles.Role`.

    `wait_until` slows down guessing; the account is never locked for good, but for `disabled_at`.
    """

    __tablename__ = "operators"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(sa.String(255))
    role: Mapped[str] = mapped_column(sa.String(16))
    must_change_password: Mapped[bool]
    failures: Mapped[int] = mapped_column(default=0)
    wait_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    last_sign_in_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]


class OperatorSession(Base):
    """One browser that is signed in; the token itself is only in its cookie."""

    __tablename__ = "operator_sessions"

    token_sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    operator_id: Mapped[int] = mapped_column(sa.ForeignKey("operators.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime] = mapped_column(index=True)

    operator: Mapped[Operator] = relationship(lazy="joined", innerjoin=True)


class AuditEntry(Base):
    """One change that a person made; `details` holds ids and states, nothing personal and no secret."""

    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(sa.String(64))
    action: Mapped[str] = mapped_column(sa.String(64))
    subject: Mapped[str] = mapped_column(sa.String(128))
    details: Mapped[dict[str, Any]]


class ApiToken(Base):
    """A right of a program; the token itself is only with whoever it was shown to.

    `scopes` are those of `cloud.operators.roles.scope`. A name is used once: it is the actor in the audit.
    """

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(48), unique=True)
    prefix: Mapped[str] = mapped_column(sa.String(16))
    token_sha256: Mapped[str] = mapped_column(sa.String(64), unique=True)
    scopes: Mapped[list[str]] = mapped_column(sa.JSON)
    created_by: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
