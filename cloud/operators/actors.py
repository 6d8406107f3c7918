"""Who does something, and what is written down of it; whoever has no page does not load the web for it."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from cloud.database.models.operators import AuditEntry
from cloud.operators.roles import AREAS, HOMES, Area, Role

SESSION_AGE_MAX = timedelta(hours=12)
SESSION_IDLE_MAX = timedelta(minutes=60)


@dataclass(frozen=True)
class Actor:
    """Somebody who changes something, at a moment."""

    name: str
    at: datetime


@dataclass(frozen=True)
class SignedIn(Actor):
    """Who makes a request: somebody of the staff, or (`role` None) a program with a token.

    `csrf` goes into every form as the hidden field `csrf`.
    """

    id: int
    csrf: str
    must_change_password: bool
    role: Role | None

    @property
    def areas(self) -> frozenset[Area]:
        """What this person may open; for templates."""
        if self.role is None or self.must_change_password:
            return frozenset()
        return AREAS[self.role]

    @property
    def home(self) -> str:
        """Where this person begins."""
        return HOMES[self.role] if self.role is not None else "/"


def audit(session: Session, operator: Actor, action: str, subject: str, details: dict[str, Any]) -> None:
    """Write down, in the caller's transaction, that `operator` did `action` to `subject`.

    `action` is a verb with its object (`create-job`), `subject` an id; `details` must be nothing personal
    and no secret.
    """
    session.add(
        AuditEntry(at=operator.at, actor=operator.name, action=action, subject=subject, details=details)
    )


def token_digest(token: str) -> str:
    """What the database keeps of a session's token."""
    return hashlib.sha256(token.encode()).hexdigest()
