"""Accounts and tokens as an administrator manages them, and as others try to."""

import re

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from cloud.database.models.operators import ApiToken, AuditEntry, Operator, OperatorSession
from cloud.devices import pages as device_pages
from cloud.errors import RefusedError
from cloud.operators import account_pages, token_pages
from cloud.operators import pages as operator_pages
from cloud.operators.access import audit, current_operator, token_digest
from cloud.operators.roles import Area, Role, belongs_to
from tests.cloud.conftest import sign_in_as


def changing(sessions):
    """A router whose one change is audited, as those of every way are."""
    from fastapi import APIRouter, Request

    routes = APIRouter()

    @routes.post("/api/v1/things")
    def change(request: Request) -> dict[str, str]:
        operator = current_operator(request)
        with sessions.begin() as session:
            audit(session, operator, "create-job", "thing", {})
        return {"by": operator.name}

    return belongs_to(Area.JOBS, routes)


@pytest.fixture
def app(pages_app, sessions, accounts, clock):
    return pages_app(
        operator_pages.router(sessions, accounts, now=clock, secure=False),
        account_pages.router(sessions, accounts),
        token_pages.router(sessions),
        device_pages.router(sessions, []),
        changing(sessions),
    )


@pytest.fixture
def admin(app, sessions, clock):
    return sign_in_as("ana", app, sessions, clock(), Role.ADMINISTRATOR)


def post(staff, path, **data):
    return staff.client.post(path, data=data | {"csrf": staff.csrf})


def done(sessions):
    with sessions() as session:
        rows = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id))
        return [(row.actor, row.action, row.subject) for row in rows]


def secret(answer):
    return re.search(r'<code class="token">([^<]+)</code>', answer.text)[1]


def test_an_account_from_its_creation_to_its_first_page(admin, app, sessions):
    made = post(admin, "/accounts", name="besa", role="clerk")
    password = secret(made)
    assert password not in admin.client.get("/accounts").text, "it is shown once"
    browser = TestClient(app, follow_redirects=False, headers={"Accept-Language": "en"})
    entered = browser.post("/sign-in", data={"name": "besa", "password": password})
    assert entered.headers["location"] == "/password"
    csrf = re.search(r'name="csrf" value="(\w+)"', browser.get("/password").text)[1]
    new = "kalaja e Prizrenit"
    chosen = browser.post("/password", data={"csrf": csrf, "old": password, "new": new, "again": new})
    assert chosen.headers["location"] == "/sittings", "where a clerk works"
    listed = admin.client.get("/accounts").text
    assert "besa" in listed
    assert "23 Nov 2026" in listed, "the last sign-in"
    assert ("ana", "create-account", "besa") in done(sessions)


@pytest.mark.parametrize("name", ["", "ana besa", "token:x", "../x", "a" * 65, "-a"])
def test_nobody_is_called_like_that(admin, name):
    answer = post(admin, "/accounts", name=name, role="clerk")
    assert answer.status_code == 422
    with_role = post(admin, "/accounts", name="fine", role="emperor")
    assert with_role.status_code == 422


def test_a_name_is_taken_once(admin):
    assert post(admin, "/accounts", name="besa", role="clerk").status_code == 200
    assert post(admin, "/accounts", name="besa", role="operator").status_code == 409


def test_whoever_is_disabled_or_gets_another_role_is_out_at_once(admin, app, sessions, clock):
    for number, change in enumerate(("disable", "role")):
        other = sign_in_as(f"operator-{number}", app, sessions, clock(), Role.OPERATOR)
        assert other.client.get("/devices").status_code == 200
        post(admin, f"/accounts/operator-{number}/{change}", role="clerk")
        assert other.client.get("/devices").headers["location"] == "/sign-in?next=/devices"
        assert other.client.get("/api/v1/devices").status_code == 401


def test_a_role_that_changes_in_the_middle_counts_at_once(admin, app, sessions, clock):
    """Even for a session that was not ended, such as one that was opened in that moment."""
    other = sign_in_as("besa", app, sessions, clock(), Role.OPERATOR)
    with sessions.begin() as session:
        session.execute(sa.update(Operator).where(Operator.name == "besa").values(role="clerk"))
    assert other.client.get("/devices").status_code == 403
    with sessions.begin() as session:
        session.execute(sa.update(Operator).where(Operator.name == "besa").values(disabled_at=clock()))
    assert other.client.get("/devices").status_code == 303


def test_a_disabled_account_cannot_sign_in_and_an_enabled_one_can(admin, accounts, clock):
    password = secret(post(admin, "/accounts", name="besa", role="clerk"))
    post(admin, "/accounts/besa/disable")
    with pytest.raises(RefusedError, match="name or the password"):
        accounts.sign_in("besa", password, "t", clock())
    clock.forward(120)
    post(admin, "/accounts/besa/enable")
    assert accounts.sign_in("besa", password, "t", clock()).role is Role.CLERK


def test_a_reset_password_ends_every_session(admin, app, sessions, clock, accounts):
    other = sign_in_as("besa", app, sessions, clock(), Role.OPERATOR)
    password = secret(post(admin, "/accounts/besa/password"))
    assert other.client.get("/devices").status_code == 303
    assert accounts.sign_in("besa", password, "t", clock()).must_change_password
    own = post(admin, "/accounts/ana/password")
    assert secret(own)
    assert admin.client.get("/accounts").status_code == 303


def test_the_last_administrator_stays(admin, sessions, app, clock):
    for path, data in {"disable": {}, "role": {"role": "clerk"}}.items():
        answer = post(admin, f"/accounts/ana/{path}", **data)
        assert answer.status_code == 409
        assert "last administrator" in answer.text
    sign_in_as("besa", app, sessions, clock(), Role.ADMINISTRATOR)
    post(admin, "/accounts/besa/disable")
    assert post(admin, "/accounts/ana/role", role="clerk").status_code == 409, "a disabled one does not count"
    post(admin, "/accounts/besa/enable")
    assert post(admin, "/accounts/ana/role", role="clerk").status_code == 303
    assert post(admin, "/accounts/nobody/disable").status_code == 303, "ana's session has ended"


def test_every_change_is_written_down(admin, sessions):
    post(admin, "/accounts", name="besa", role="clerk")
    for path, data in {
        "role": {"role": "operator"},
        "disable": {},
        "enable": {},
        "password": {},
    }.items():
        post(admin, f"/accounts/besa/{path}", **data)
    actions = [action for _actor, action, subject in done(sessions) if subject == "besa"]
    assert actions == ["create-account", "change-role", "disable-account", "enable-account", "reset-password"]


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.CLERK])
def test_nobody_lifts_himself_up(role, app, sessions, clock):
    other = sign_in_as("besa", app, sessions, clock(), role)
    for path, data in {
        "/accounts": {"name": "mine", "role": "administrator"},
        "/accounts/besa/role": {"role": "administrator"},
        "/accounts/besa/password": {},
        "/tokens": {"name": "mine", "scopes": "jobs:write", "days": "30"},
    }.items():
        assert post(other, path, **data).status_code == 403, path
    wish = {"name": "mine", "scopes": ["jobs:write"], "days": 30}
    answer = other.client.post("/api/v1/tokens", json=wish, headers=other.headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong-role")
    with sessions() as session:
        assert session.scalars(sa.select(Operator.role)).all() == [role.value]
        assert session.scalars(sa.select(ApiToken)).all() == []


def test_changes_of_accounts_need_the_csrf_token(admin, sessions):
    for data in ({}, {"csrf": "wrong"}):
        answer = admin.client.post("/accounts", data={"name": "besa", "role": "clerk"} | data)
        assert answer.status_code == 403
    with sessions() as session:
        assert session.scalars(sa.select(Operator.name)).all() == ["ana"]


def test_a_session_that_was_laid_into_a_browser_is_not_taken_over(admin, app, sessions):
    """Session fixation: signing in makes a new session and ends the one that the browser came with."""
    password = secret(post(admin, "/accounts", name="besa", role="clerk"))
    browser = TestClient(app, follow_redirects=False)
    browser.cookies.set("session", "laid-in")
    browser.post("/sign-in", data={"name": "besa", "password": password})
    with sessions() as session:
        assert session.get(OperatorSession, token_digest("laid-in")) is None
    browser.cookies.clear()
    browser.cookies.set("session", "laid-in")
    assert browser.get("/password").status_code == 303


def test_a_token_from_its_creation_to_its_end(admin, app, sessions):
    made = post(admin, "/tokens", name="statistics", scopes=["devices:read", "jobs:write"], days="30")
    token = secret(made)
    assert token.startswith("fleet_")
    page = admin.client.get("/tokens").text
    assert token not in page
    assert token[:12] in page
    program = TestClient(app, headers={"Authorization": f"Bearer {token}"})
    assert program.get("/api/v1/devices").status_code == 200
    assert program.post("/api/v1/things").json() == {"by": "token:statistics"}, "no CSRF token, no cookie"
    foreign = {"Origin": "https://elsewhere.example"}
    assert program.post("/api/v1/things", headers=foreign).status_code == 200
    number = re.search(r"/tokens/(\d+)/revoke", page)[1]
    assert post(admin, f"/tokens/{number}/revoke").status_code == 303
    assert program.get("/api/v1/devices").status_code == 401
    assert "/revoke" not in admin.client.get("/tokens").text
    assert done(sessions) == [
        ("ana", "create-token", "statistics"),
        ("token:statistics", "create-job", "thing"),
        ("token:statistics", "create-job", "thing"),
        ("ana", "revoke-token", "statistics"),
    ]


def test_tokens_by_the_api(admin):
    wish = {"name": "by api", "scopes": ["devices:read"], "days": 365}
    made = admin.client.post("/api/v1/tokens", json=wish, headers=admin.headers)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    (row,) = admin.client.get("/api/v1/tokens").json()["tokens"]
    assert (row["name"], row["scopes"], row["created_by"]) == ("by api", ["devices:read"], "ana")
    assert made.json()["token"] not in str(row)
    assert admin.client.post("/api/v1/tokens", json=wish, headers=admin.headers).status_code == 409
    for wrong in ({"days": 366}, {"scopes": ["accounts:write"]}, {"scopes": []}, {"name": "a/b"}):
        answer = admin.client.post("/api/v1/tokens", json=wish | wrong, headers=admin.headers)
        assert answer.status_code in (400, 422), wrong
    address = f"/api/v1/tokens/{row['id']}"
    assert admin.client.delete(address, headers=admin.headers).status_code == 204
    assert admin.client.delete("/api/v1/tokens/999", headers=admin.headers).status_code == 404
    assert admin.client.get("/api/v1/tokens").json()["tokens"][0]["revoked_at"]


def test_what_cannot_be_taken_is_said(admin):
    for data in (
        {"name": "x", "days": "30"},
        {"name": "token:x", "scopes": "devices:read", "days": "30"},
        {"name": "x", "scopes": "accounts:write", "days": "30"},
    ):
        answer = post(admin, "/tokens", **data)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
    assert post(admin, "/tokens", name="x", scopes="devices:read", days="366").status_code == 422
