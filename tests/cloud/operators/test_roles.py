"""The table of roles and scopes, held against every route that is served."""

import re
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from starlette.routing import Mount

from cloud import main
from cloud.operators import api_tokens
from cloud.operators.roles import (
    AREAS,
    NEVER_BY_TOKEN,
    Area,
    Role,
    allowed,
    area_of,
    scope,
    scopes_of,
)
from cloud.web.public import is_public
from tests.cloud.conftest import sign_in_as

WANTED = {
    Role.ADMINISTRATOR: set(Area),
    Role.OPERATOR: {"status", "devices", "jobs", "documents", "enrolment", "updates", "own"},
    Role.CLERK: {"captions", "recordings", "assembly", "own"},
}
"""The table once more, so that a change of it is seen."""


@pytest.fixture(scope="module")
def app(ground, ways):
    return main.pages_app(ground, ways)


@pytest.fixture(scope="module")
def staff(app, ground):
    now = datetime.now(UTC)
    return {role: sign_in_as(f"role-{role}", app, ground.sessions, now, role) for role in Role}


def make_token(sessions, scopes, name=None, days=1):
    with sessions.begin() as session:
        return api_tokens.create(
            session,
            name or secrets.token_hex(8),
            scopes,
            days,
            offered=scopes,
            by="ana",
            now=datetime.now(UTC),
            random=secrets.token_urlsafe(32),
        )


def closed(app):
    """Each route that is not public, with each of its methods."""
    for route in app.router.routes:
        if isinstance(route, Mount) or is_public(route.endpoint):
            continue
        for method in sorted(route.methods):
            yield route, method


def path_of(route):
    """An address of the route at which nothing is there."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda found: "9" if found[1] == "number" else "nothing", route.path)


def was_refused(answer, code):
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        return answer.status_code == 403 and answer.json()["code"] == code
    return answer.status_code == 403 and "Not for your role" in answer.text


def test_the_table_is_as_it_was_agreed():
    assert {role: set(areas) for role, areas in AREAS.items()} == WANTED


def test_every_route_says_to_which_area_it_belongs(app):
    unmarked = [route.path for route, _ in closed(app) if area_of(route.endpoint) is None]
    assert unmarked == [], "put `return belongs_to(Area.…, routes)` where the router ends"


@pytest.mark.parametrize("role", Role)
def test_each_role_opens_what_is_its_own_and_nothing_else(app, staff, role):
    opened, refused = set(), set()
    for route, method in closed(app):
        if route.path in ("/sign-out", "/password"):
            continue  # they would end the session; everybody has them
        answer = staff[role].client.request(method, path_of(route), headers=staff[role].headers)
        mine = area_of(route.endpoint).value in WANTED[role]
        assert was_refused(answer, "wrong-role") != mine, (role, method, route.path)
        (opened if mine else refused).add(route.path)
    assert opened
    assert bool(refused) == (role is not Role.ADMINISTRATOR)


def test_what_says_nothing_is_refused_to_all_but_administrators():
    assert [role for role in Role if allowed(role, None)] == [Role.ADMINISTRATOR]
    assert scope(None, "GET") is None


@pytest.mark.parametrize("role", Role)
def test_the_navigation_shows_what_one_may_open(app, staff, role):
    client = staff[role].client
    home = client.get({"clerk": "/sittings"}.get(role, "/status")).text
    shown = re.findall(r'<li><a href="(/[a-z]+)">', re.search(r'<nav class="main".*?</nav>', home, re.S)[0])
    assert shown
    for path in shown:
        assert client.get(path).status_code == 200, path
    by_path = {route.path: area_of(route.endpoint) for route, method in closed(app) if method == "GET"}
    pages = {
        "/status",
        "/devices",
        "/incidents",
        "/ledger",
        "/jobs",
        "/updates",
        "/documents",
        "/sittings",
        "/recordings",
        "/assembly",
    }
    pages |= {"/enrolment", "/accounts", "/audit", "/incidents"}
    assert {path for path in pages if allowed(role, by_path[path])} == set(shown) - {"/tokens"}
    assert ("/tokens" in shown) == (role is Role.ADMINISTRATOR)


def test_a_refused_page_says_whom_to_ask(app, staff):
    answer = staff[Role.CLERK].client.get("/jobs", headers={"Accept-Language": "sq"})
    assert answer.status_code == 403
    assert 'lang="sq"' in answer.text
    assert f"role-{Role.ADMINISTRATOR}" in answer.text
    assert 'href="/sittings"' in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_a_token_opens_what_its_scope_names_and_nothing_else(app, ground):
    offered = scopes_of(app.router.routes)
    assert {"jobs:read", "jobs:write", "devices:read", "status:read"} <= set(offered)
    assert not any(each.partition(":")[0] in NEVER_BY_TOKEN for each in offered)
    tokens = {one: make_token(ground.sessions, [one]) for one in offered}
    program = TestClient(app, follow_redirects=False)
    opened = dict.fromkeys(offered, 0)
    for route, method in closed(app):
        needed = scope(area_of(route.endpoint), method)
        for one, token in tokens.items():
            answer = program.request(
                method, path_of(route), headers={"Authorization": f"Bearer {token}", "Accept-Language": "en"}
            )
            if not route.path.startswith("/api/"):
                assert answer.status_code == 403, route.path
            elif one == needed:
                assert answer.status_code not in (401, 403), (method, route.path, answer.text)
                opened[one] += 1
            else:
                code = "not-by-token" if needed is None else "scope"
                assert (answer.status_code, answer.json()["code"]) == (403, code), (method, route.path)
    assert all(opened.values()), opened


def test_a_token_that_is_not_good_opens_nothing(app, ground):
    program = TestClient(app)
    good = make_token(ground.sessions, ["devices:read"], name="soon gone")
    now = datetime.now(UTC)

    def ask(token):
        answer = program.get("/api/v1/devices", headers={"Authorization": f"Bearer {token}"})
        return answer.status_code, answer.json().get("code"), answer.headers.get("www-authenticate")

    assert ask(good)[0] == 200
    for wrong in ("", "fleet_", good[:-1], good + "x", good.upper(), "svc-control"):
        assert ask(wrong) == (401, "wrong-token", "Bearer"), wrong
    with ground.sessions() as session:
        row = next(row for row in api_tokens.listed(session) if row.name == "soon gone")
        assert row.last_used_at is not None
        assert good not in str(vars(row)), "only a digest is kept"
        assert api_tokens.look_up(session, good, now + timedelta(days=1, seconds=1)) is None, "it expires"
    with ground.sessions.begin() as session:
        api_tokens.revoke(session, row.id, now)
    assert ask(good)[0] == 401


def test_wrong_tokens_are_bounded_and_good_ones_do_not_wait(ground, ways):
    app = main.pages_app(ground, ways)  # with a count of its own
    program = TestClient(app)
    good = make_token(ground.sessions, ["devices:read"])

    def ask(token):
        return program.get("/api/v1/devices", headers={"Authorization": f"Bearer {token}"})

    codes = [ask(f"fleet_{number}").status_code for number in range(api_tokens.FAILURES_MAX + 5)]
    assert codes == [401] * api_tokens.FAILURES_MAX + [429] * 5
    assert ask("fleet_x").headers["retry-after"] == "60"
    assert ask(good).status_code == 200


def test_a_cookie_and_a_token_never_mix(app, staff, ground):
    """With a token the cookie is not looked at, however good it is."""
    browser = staff[Role.ADMINISTRATOR].client
    weak = {"Authorization": f"Bearer {make_token(ground.sessions, ['status:read'])}"}
    assert browser.get("/api/v1/devices").status_code == 200
    assert browser.get("/api/v1/devices", headers=weak).json()["code"] == "scope"
    assert browser.get("/api/v1/tokens", headers=weak).json()["code"] == "not-by-token"
    assert browser.get("/accounts", headers=weak).status_code == 403
    wrong = {"Authorization": "Bearer nonsense"}
    assert browser.get("/api/v1/devices", headers=wrong).status_code == 401
