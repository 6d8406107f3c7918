"""Passwords, guessing and sessions."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from cloud.database.models.operators import Operator, OperatorSession
from cloud.errors import MalformedError, RefusedError
from cloud.operators import access
from cloud.operators.accounts import ONE_TIME_BYTES, Accounts, Entered, one_time_password
from cloud.operators.roles import Role
from tests.cloud.operators.conftest import PASSWORD

NEW = "kalaja e Prizrenit"


@pytest.fixture
def ana(accounts, clock):
    assert accounts.create("ana", PASSWORD, clock(), Role.CLERK)
    return "ana"


def stored(sessions):
    with sessions() as session:
        return session.scalars(sa.select(Operator)).one()


def test_a_password_is_kept_as_argon2id_only(sessions, clock):
    Accounts(sessions).create("ana", PASSWORD, clock(), Role.CLERK)
    row = stored(sessions)
    assert row.password_hash.startswith("$argon2id$")
    assert PasswordHasher().verify(row.password_hash, PASSWORD)


def test_a_name_is_taken_once(accounts, ana, clock):
    assert not accounts.create("ana", "something else", clock(), Role.CLERK)
    assert accounts.sign_in("ana", PASSWORD, "t", clock())


def test_a_token_is_kept_as_its_digest_only(accounts, ana, sessions, clock):
    accounts.sign_in("ana", PASSWORD, "the token", clock())
    with sessions() as session:
        row = session.scalars(sa.select(OperatorSession)).one()
    assert row.token_sha256 == access.token_digest("the token")


def test_wrong_name_and_wrong_password_get_the_same_answer(accounts, ana, clock):
    answers = set()
    for name, password in (("ana", "wrong"), ("nobody", PASSWORD)):
        with pytest.raises(RefusedError) as refused:
            accounts.sign_in(name, password, "t", clock())
        answers.add(str(refused.value))
    assert len(answers) == 1


def test_guessing_is_slowed_down_but_nobody_is_locked_out(accounts, ana, clock):
    for _ in range(20):
        with pytest.raises(RefusedError):
            accounts.sign_in("ana", "wrong", "t", clock())
    with pytest.raises(RefusedError):
        accounts.sign_in("ana", PASSWORD, "t", clock())
    clock.forward(60)
    assert accounts.sign_in("ana", PASSWORD, "t", clock())


def test_attempts_while_waiting_do_not_lengthen_the_wait(accounts, ana, sessions, clock):
    for _ in range(4):
        with pytest.raises(RefusedError):
            accounts.sign_in("ana", "wrong", "t", clock())
    until = stored(sessions).wait_until
    for _ in range(10):
        with pytest.raises(RefusedError):
            accounts.sign_in("ana", "wrong", "t", clock())
    assert stored(sessions).wait_until == until


def test_many_guesses_at_once_win_nothing(accounts, ana, sessions, clock):
    def guess(i):
        try:
            accounts.sign_in("ana", f"wrong {i}", f"t{i}", clock())
        except RefusedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(guess, range(16)))
    assert stored(sessions).failures == 3


def test_a_new_password_ends_every_other_session(accounts, ana, sessions, clock):
    accounts.sign_in("ana", PASSWORD, "phone", clock())
    accounts.sign_in("ana", PASSWORD, "desk", clock())
    accounts.change_password(stored(sessions).id, PASSWORD, NEW, "desk again", clock())
    with sessions() as session:
        tokens = {row.token_sha256 for row in session.scalars(sa.select(OperatorSession))}
    assert tokens == {access.token_digest("desk again")}
    assert accounts.sign_in("ana", NEW, "t", clock()) == Entered(Role.CLERK, must_change_password=False)
    with pytest.raises(RefusedError):
        accounts.sign_in("ana", PASSWORD, "t2", clock())


@pytest.mark.parametrize("new", ["short", PASSWORD, "x" * 257])
def test_a_bad_password_is_not_taken(accounts, ana, sessions, clock, new):
    with pytest.raises(MalformedError, match="12 to 256"):
        accounts.change_password(stored(sessions).id, PASSWORD, new, "t", clock())


def test_letters_that_keyboards_write_in_two_ways_are_one(accounts, sessions, clock):
    accounts.create("ana", "fjalëkalimi im", clock(), Role.CLERK)
    assert accounts.sign_in("ana", "fjale\u0308kalimi im", "t", clock())


def test_sessions_that_are_over_are_forgotten(accounts, ana, sessions, clock):
    accounts.sign_in("ana", PASSWORD, "t", clock())
    accounts.purge(clock.at + timedelta(minutes=59))
    with sessions() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(OperatorSession)) == 1
    accounts.purge(clock.at + timedelta(minutes=61))
    with sessions() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(OperatorSession)) == 0


def test_a_one_time_password_is_readable():
    made = one_time_password(b"\xff" * ONE_TIME_BYTES)
    assert [len(part) for part in made.split("-")] == [4, 4, 4, 4]
    assert not set("ilo01") & set(made)
    assert made != one_time_password(b"\xfe" * ONE_TIME_BYTES)
