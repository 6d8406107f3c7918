"""Tokens for programs: shown once, kept as a digest, good for named scopes and at most a year."""

import hashlib
import re
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.operators import ApiToken
from cloud.database.writing import insert
from cloud.errors import MalformedError, RefusedError

BEGIN = "fleet_"
"""What every token begins with, so that scanners of leaked secrets find it."""
SECRET_BYTES = 32
PREFIX_LENGTH = 12
"""Letters that are kept to recognise a token by: six of its 43 random ones."""
LIFE_MAX = timedelta(days=365)
DAYS_MAX = 365
NAME_LENGTH_MAX = 48
TOKENS_MAX = 200
"""Tokens that are good at the same time."""
USED_EVERY = timedelta(seconds=60)
"""How exactly the last use is kept."""
FAILURES_MAX = 60
FAILURES_WITHIN = timedelta(minutes=1)
ACTOR = "token:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")


@dataclass(frozen=True)
class Bearer:
    """The token behind a request."""

    name: str
    scopes: frozenset[str]


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def create(
    session: Session,
    name: str,
    scopes: Collection[str],
    days: int,
    *,
    offered: Sequence[str],
    by: str,
    now: datetime,
    random: str,
) -> str:
    """A new token made of `random` (32 bytes as text); it is nowhere but in the answer.

    Raises:
        MalformedError: the name, the scopes or the days cannot be.
        RefusedError: there was a token of this name before, or there are too many.
    """
    name = name.strip()
    if not _NAME.fullmatch(name) or len(name) > NAME_LENGTH_MAX:
        raise MalformedError(
            f"a token is called by 1 to {NAME_LENGTH_MAX} letters, digits, spaces, '.', '-' and '_'"
        )
    if not scopes or not set(scopes) <= set(offered):
        raise MalformedError(f"scopes are one or more of {', '.join(offered)}")
    if not 1 <= days <= DAYS_MAX:
        raise MalformedError(f"a token lives 1 to {DAYS_MAX} days")
    good = sa.select(sa.func.count()).select_from(ApiToken)
    if (session.scalar(good.where(*_alive(now))) or 0) >= TOKENS_MAX:
        raise RefusedError(f"there are {TOKENS_MAX} tokens already; revoke those that nobody uses")
    token = BEGIN + random
    new = insert(session, ApiToken).values(
        name=name,
        prefix=token[:PREFIX_LENGTH],
        token_sha256=digest(token),
        scopes=sorted(set(scopes)),
        created_by=by,
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    made = new.on_conflict_do_nothing(index_elements=["name"]).returning(ApiToken.id)
    if session.scalar(made) is None:
        raise RefusedError(f"there was a token called {name} already; the audit needs another name")
    return token


def listed(session: Session) -> list[ApiToken]:
    """Every token that there was, the newest first."""
    return list(session.scalars(sa.select(ApiToken).order_by(ApiToken.id.desc()).limit(TOKENS_MAX)))


def revoke(session: Session, number: int, now: datetime) -> str:
    """End a token at once; gives its name. Doing it again changes nothing.

    Raises:
        RefusedError: there is no such token.
    """
    row = session.get(ApiToken, number, with_for_update=True)
    if row is None:
        raise RefusedError(f"there is no token {number}; choose one from the list")
    row.revoked_at = row.revoked_at or now
    return row.name


def look_up(session: Session, token: str, now: datetime) -> tuple[int, Bearer, bool] | None:
    """The token's number, what it may, and whether its use is to be noted; None for one that is not good."""
    rows = sa.select(ApiToken).where(ApiToken.token_sha256 == digest(token), *_alive(now))
    row = session.scalar(rows)
    if row is None:
        return None
    stale = row.last_used_at is None or now - row.last_used_at >= USED_EVERY
    return row.id, Bearer(row.name, frozenset(row.scopes)), stale


def note_use(session: Session, number: int, now: datetime) -> None:
    """Write down that the token was used."""
    session.execute(sa.update(ApiToken).where(ApiToken.id == number).values(last_used_at=now))


def _alive(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return ApiToken.revoked_at.is_(None), ApiToken.expires_at > now


class Failures:
    """Counts tokens that are not good, of everybody together: a good one is never kept waiting by them."""

    def __init__(self) -> None:
        self._begun: datetime | None = None
        self._count = 0
        self._guard = threading.Lock()

    def too_many(self, now: datetime) -> bool:
        """Count one more; whether there were too many within the minute."""
        with self._guard:
            if self._begun is None or now - self._begun >= FAILURES_WITHIN:
                self._begun, self._count = now, 0
            self._count += 1
            return self._count > FAILURES_MAX
