"""Signing in, the first password, signing out, the audit; as a browser does it."""

import re

import sqlalchemy as sa

from cloud.database.models.operators import AuditEntry
from cloud.operators.access import Actor, audit
from cloud.operators.roles import Role
from tests.cloud.operators.conftest import PASSWORD

NEW = "kalaja e Prizrenit"


def sign_in(browser, password=PASSWORD, **more):
    return browser.post("/sign-in", data={"name": "ana", "password": password, **more})


def csrf(browser, path="/password"):
    return re.search(r'name="csrf" value="(\w+)"', browser.get(path).text)[1]


def choose(browser, old=PASSWORD, new=NEW, again=NEW):
    data = {"csrf": csrf(browser), "old": old, "new": new, "again": again}
    return browser.post("/password", data=data)


def test_the_first_sign_in_leads_to_a_password_of_ones_own(browser):
    answer = sign_in(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/password")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert browser.get("/audit").headers["location"] == "/password"
    page = browser.get("/password")
    assert "one-time password" in page.text
    assert choose(browser).headers["location"] == "/status"
    assert browser.get("/audit").status_code == 200


def test_a_wrong_password_says_so_and_nothing_more(browser):
    answer = sign_in(browser, "wrong")
    assert answer.status_code == 403
    assert 'role="alert"' in answer.text
    assert "set-cookie" not in answer.headers


def test_wrong_new_passwords_are_explained(browser):
    sign_in(browser)
    assert "differ" in choose(browser, again="another one").text
    assert "cannot be taken" in choose(browser, new="short", again="short").text
    assert "present password is wrong" in choose(browser, old="wrong").text


def test_after_signing_in_one_is_where_one_wanted_to_be(browser):
    sign_in(browser)
    choose(browser)
    for wish, got in {
        "/audit?before=3": "/audit?before=3",
        "//evil.example": "/status",
        "https://evil.example/": "/status",
        "/\\evil.example": "/status",
        "javascript:alert(1)": "/status",
    }.items():
        assert sign_in(browser, NEW, next=wish).headers["location"] == got


def test_signing_in_again_ends_the_session_before(browser):
    sign_in(browser)
    choose(browser)
    old = browser.cookies["session"]
    sign_in(browser, NEW)
    assert browser.cookies["session"] != old
    browser.cookies.clear()
    browser.cookies.set("session", old)
    assert browser.get("/audit").status_code == 303


def test_signing_out_ends_the_session(browser):
    sign_in(browser)
    choose(browser)
    token = browser.cookies["session"]
    answer = browser.post("/sign-out", data={"csrf": csrf(browser)})
    assert answer.headers["location"] == "/sign-in"
    assert "session" not in browser.cookies
    browser.cookies.set("session", token)
    assert browser.get("/audit").status_code == 303


def test_a_secure_cookie_where_pages_have_tls(sessions, accounts, clock, pages):
    from fastapi.testclient import TestClient

    from cloud.operators import access
    from cloud.operators import pages as operator_pages
    from cloud.web.application import build_pages

    accounts.create("ana", PASSWORD, clock(), Role.CLERK)
    router = operator_pages.router(sessions, accounts, now=clock, secure=True)
    app = build_pages("test", [router], pages=pages, secure=True)
    access.protect(app, sessions, now=clock, secure=True)
    browser = TestClient(app, base_url="https://fleet.example", follow_redirects=False)
    answer = sign_in(browser)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-session=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "strict-transport-security" in answer.headers


def test_the_audit_lists_what_was_done_page_by_page(browser, sessions, clock):
    with sessions.begin() as session:
        for i in range(120):
            audit(session, Actor("ana", clock()), "create-job", f"job-{i:03}", {"device": "kiosk-01"})
    sign_in(browser)
    choose(browser)
    first = browser.get("/audit").text
    assert "Changed the password" in first
    assert "job-119" in first
    assert "<td><code>job-060</code></td>" not in first
    seen, address = set(), "/audit"
    while address:
        page = browser.get(address).text
        seen |= set(re.findall(r"job-\d{3}", page))
        older = re.search(r'href="(/audit\?before=\d+)"', page)
        address = older[1] if older else None
    assert len(seen) == 120


def test_what_is_in_an_entry_cannot_become_markup(browser, sessions, clock):
    with sessions.begin() as session:
        audit(session, Actor("ana", clock()), "x", "<script>", {"<b>": "<i>"})
    sign_in(browser)
    choose(browser)
    page = browser.get("/audit").text
    assert "&lt;script&gt;" in page
    assert "<b>" not in page
    with sessions() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(AuditEntry)) == 3
