"""Accounts of operators: passwords, signing in and out.

Passwords are kept as Argon2id hashes with the parameters of RFC 9106's second recommendation (64 MiB),
which is argon2-cffi's default.
"""

import re
import threading
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.operators import Operator, OperatorSession
from cloud.database.writing import insert
from cloud.errors import MalformedError, RefusedError, UnavailableError
from cloud.operators.actors import SESSION_AGE_MAX, SESSION_IDLE_MAX, token_digest
from cloud.operators.roles import Role

NAME_LENGTH_MAX = 64
PASSWORD_LENGTH_MIN = 12
PASSWORD_LENGTH_MAX = 256
ONE_TIME_BYTES = 10
FREE_ATTEMPTS = 3
"""Wrong passwords before an account makes its next visitor wait; the wait doubles, up to `WAIT_MAX`."""
WAIT_MAX = timedelta(seconds=60)
HASHES_AT_ONCE_MAX = 2
"""Each takes 64 MiB; without a bound, a crowd at the sign-in page could take all memory."""
HASH_WAIT_S = 10.0

REFUSAL = "the name or the password is wrong, or there were too many attempts"
_NAME = re.compile(rf"[^\W_][\w.-]{{0,{NAME_LENGTH_MAX - 1}}}")
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""31 letters that nobody mistakes for another when they are copied by hand."""


@dataclass(frozen=True)
class Entered:
    """Who has just signed in."""

    role: Role
    must_change_password: bool


@dataclass(frozen=True)
class _Attempt:
    operator: int
    password_hash: str
    may_try: bool


class Accounts:
    """The accounts in the database behind `sessions`."""

    def __init__(self, sessions: sessionmaker[Session], hasher: PasswordHasher | None = None) -> None:
        self._sessions = sessions
        self._hasher = hasher or PasswordHasher()
        self._slots = threading.BoundedSemaphore(HASHES_AT_ONCE_MAX)
        self._nobody = self._hasher.hash("nobody has this password")

    def create(self, name: str, password: str, now: datetime, role: Role) -> bool:
        """An account with a one-time password; False, and nothing changed, if the name is taken.

        Raises:
            MalformedError: nobody can be called so.
        """
        if not _NAME.fullmatch(name):
            raise MalformedError(
                f"an account is called by 1 to {NAME_LENGTH_MAX} letters, digits, '.', '-' and '_'"
            )
        hashed = self._hash(password)
        with self._sessions.begin() as session:
            new = insert(session, Operator).values(
                name=name, password_hash=hashed, role=role.value, must_change_password=True, created_at=now
            )
            made = new.on_conflict_do_nothing(index_elements=["name"]).returning(Operator.id)
            return session.scalar(made) is not None

    def reset(self, name: str, password: str) -> None:
        """Replace a forgotten password by a one-time password, and end the account's sessions.

        Raises:
            RefusedError: there is no such account.
        """
        hashed = self._hash(password)
        with self._sessions.begin() as session:
            row = session.scalar(sa.select(Operator).where(Operator.name == name))
            if row is None:
                raise RefusedError(f"there is no operator {name!r:.64}")
            row.password_hash = hashed
            row.must_change_password = True
            row.failures = 0
            row.wait_until = None
            session.execute(sa.delete(OperatorSession).where(OperatorSession.operator_id == row.id))

    def sign_in(self, name: str, password: str, token: str, now: datetime) -> "Entered":
        """Open a session under `token`; gives who has entered.

        An attempt counts before the password is looked at, so that many at once win nothing. An unknown
        name, a wrong password, an account that waits and a disabled one take the same time and get the same
        answer.

        Raises:
            RefusedError: name or password is wrong, or the account waits or is disabled.
            UnavailableError: too many people sign in at this moment.
        """
        attempt = self._attempt(name, now)
        hashed = attempt.password_hash if attempt else self._nobody
        right = self._verify(hashed, password)
        if attempt is None or not attempt.may_try or not right:
            raise RefusedError(REFUSAL)
        with self._sessions.begin() as session:
            operator = session.get_one(Operator, attempt.operator, with_for_update=True)
            if operator.disabled_at is not None or operator.password_hash != hashed:
                raise RefusedError(REFUSAL)  # disabled, or given another password, in this moment
            operator.failures = 0
            operator.wait_until = None
            operator.last_sign_in_at = now
            _open_session(session, operator.id, token, now)
            return Entered(Role(operator.role), operator.must_change_password)

    def change_password(self, operator: int, old: str, new: str, token: str, now: datetime) -> None:
        """Give the account a new password, end all its sessions and open a new one under `token`.

        Raises:
            RefusedError: `old` is not the password, or there were too many attempts.
            MalformedError: `new` is too short, too long, the old one or the name.
            UnavailableError: too many people sign in at this moment.
        """
        with self._sessions() as session:
            name = session.get_one(Operator, operator).name
        if not PASSWORD_LENGTH_MIN <= len(new) <= PASSWORD_LENGTH_MAX or new in (old, name):
            raise MalformedError(
                f"a password has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters and is neither "
                "the old one nor the name"
            )
        attempt = self._attempt(name, now)
        if attempt is None or not attempt.may_try or not self._verify(attempt.password_hash, old):
            raise RefusedError("the password is wrong, or there were too many attempts")
        hashed = self._hash(new)
        with self._sessions.begin() as session:
            row = session.get_one(Operator, operator)
            row.password_hash = hashed
            row.must_change_password = False
            row.failures = 0
            row.wait_until = None
            session.execute(sa.delete(OperatorSession).where(OperatorSession.operator_id == operator))
            _open_session(session, operator, token, now)

    def sign_out(self, token: str) -> None:
        """End the session under `token`."""
        with self._sessions.begin() as session:
            ended = OperatorSession.token_sha256 == token_digest(token)
            session.execute(sa.delete(OperatorSession).where(ended))

    def purge(self, now: datetime) -> None:
        """Forget sessions that are over."""
        over = sa.or_(
            OperatorSession.created_at < now - SESSION_AGE_MAX,
            OperatorSession.seen_at < now - SESSION_IDLE_MAX,
        )
        with self._sessions.begin() as session:
            session.execute(sa.delete(OperatorSession).where(over))

    def _attempt(self, name: str, now: datetime) -> _Attempt | None:
        """Count the attempt as failed, until it is known better; while the account waits, none counts."""
        with self._sessions.begin() as session:
            row = session.scalar(sa.select(Operator).where(Operator.name == name).with_for_update())
            if row is None:
                return None
            may_try = row.wait_until is None or row.wait_until <= now
            if may_try:
                row.failures += 1
                row.wait_until = now + _wait(row.failures)
            return _Attempt(row.id, row.password_hash, may_try)

    def _verify(self, hashed: str, password: str) -> bool:
        with _Slot(self._slots):
            try:
                return self._hasher.verify(hashed, _normal(password))
            except (VerificationError, InvalidHashError):
                return False

    def _hash(self, password: str) -> str:
        with _Slot(self._slots):
            return self._hasher.hash(_normal(password))


def one_time_password(random: bytes) -> str:
    """A password made of ten random bytes (79 bits are used), in four groups: `k3mf-9w2c-tq7n-hx4e`."""
    assert len(random) == ONE_TIME_BYTES
    value = int.from_bytes(random, "big")
    letters = ""
    for _ in range(16):
        value, place = divmod(value, len(_LETTERS))
        letters += _LETTERS[place]
    return "-".join(letters[i : i + 4] for i in range(0, 16, 4))


class _Slot:
    """One of the few places for hashing, or `UnavailableError`."""

    def __init__(self, slots: threading.BoundedSemaphore) -> None:
        self._slots = slots

    def __enter__(self) -> None:
        if not self._slots.acquire(timeout=HASH_WAIT_S):
            raise UnavailableError("too many people sign in at this moment; try again in a minute")

    def __exit__(self, *_error: object) -> None:
        self._slots.release()


def _open_session(session: Session, operator: int, token: str, now: datetime) -> None:
    session.add(
        OperatorSession(token_sha256=token_digest(token), operator_id=operator, created_at=now, seen_at=now)
    )


def _wait(failures: int) -> timedelta:
    over = failures - FREE_ATTEMPTS
    return min(timedelta(seconds=2 ** min(over, 10)), WAIT_MAX) if over >= 0 else timedelta(0)


def _normal(password: str) -> str:
    """One form for letters that keyboards write in several ways (NIST SP 800-63B, section 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
