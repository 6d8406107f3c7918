"""Accounts with a fast hash, and the operators' pages."""

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from cloud.operators import pages as operator_pages
from cloud.operators.accounts import Accounts
from cloud.operators.roles import Role

PASSWORD = "one-time-password"


@pytest.fixture
def accounts(sessions):
    return Accounts(sessions, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def browser(pages_app, sessions, accounts, clock):
    """A browser at the operators' pages; `ana` has the one-time password `PASSWORD`."""
    accounts.create("ana", PASSWORD, clock(), Role.ADMINISTRATOR)
    app = pages_app(operator_pages.router(sessions, accounts, now=clock, secure=False))
    return TestClient(app, follow_redirects=False, headers={"Accept-Language": "en"})
