"""Operators: their accounts, their tokens, and what is forgotten of them."""

from fastapi import APIRouter

from cloud.enrolment import tokens
from cloud.operators import account_pages, pages, token_pages
from cloud.operators.accounts import Accounts
from cloud.wiring.ground import Chore, Ground

SWEEP_SESSIONS_S = 600.0


def pages_routers(ground: Ground) -> list[APIRouter]:
    """Signing in, and the pages of accounts and tokens."""
    accounts = Accounts(ground.sessions)
    return [
        pages.router(ground.sessions, accounts, now=ground.clock, secure=ground.settings.https_pages),
        account_pages.router(ground.sessions, accounts),
        token_pages.router(ground.sessions),
    ]


def chores(ground: Ground) -> list[Chore]:
    """Sessions that have ended, and with them the one-time tokens of devices."""
    accounts = Accounts(ground.sessions)

    def forget() -> None:
        accounts.purge(ground.clock())
        with ground.sessions.begin() as session:
            tokens.purge(session, ground.clock())

    return [Chore("sessions", SWEEP_SESSIONS_S, forget)]
