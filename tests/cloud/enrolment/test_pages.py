"""The operators' page: a token, the certificates, revocation, refusals."""

import re

import pytest
import sqlalchemy as sa

from cloud.database.models.devices import Device
from cloud.database.models.enrolment import EnrolmentToken
from cloud.database.models.operators import AuditEntry
from cloud.enrolment import members, tokens
from cloud.enrolment import pages as enrolment_pages
from cloud.enrolment.refusals import Cause, count
from tests.cloud.enrolment.test_members import signed_by


@pytest.fixture
def signed():
    """How often the revocation list was asked for."""
    return []


@pytest.fixture
def staff(pages_app, sessions, sign_in, signed):
    return sign_in(pages_app(enrolment_pages.router(sessions, lambda: signed.append(1))))


def issue(staff, **fields):
    data = {"device": "kiosk-01", "kind": "kiosk", "site": "Dardania", "csrf": staff.csrf}
    return staff.client.post("/enrolment", data=data | fields)


def test_a_token_is_shown_once_and_kept_as_its_digest(staff, sessions, clock):
    page = issue(staff).text
    token = re.search(r'class="token">(\w{32})<', page)[1]
    assert token not in staff.client.get("/enrolment").text
    with sessions.begin() as session:
        assert token not in session.scalars(sa.select(EnrolmentToken)).one().token_sha256
        assert tokens.find(session, "kiosk-01", token, clock()).kind == "kiosk"
        entry = session.scalars(sa.select(AuditEntry)).one()
    assert (entry.action, entry.subject, entry.actor) == ("issue-enrolment-token", "kiosk-01", "ana")
    assert token not in str(entry.details)


@pytest.mark.parametrize(
    "fields", [{"device": "svc-control"}, {"device": "A b"}, {"kind": "toaster"}, {"site": "  "}]
)
def test_what_cannot_be_a_device_is_explained(staff, sessions, fields):
    answer = issue(staff, **fields)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    with sessions() as session:
        assert session.scalars(sa.select(Device)).all() == []


def test_a_name_of_another_kind_is_taken(staff):
    issue(staff)
    assert "of another kind" in issue(staff, kind="recorder").text


def test_certificates_are_listed_and_revoked(staff, sessions, desk, tmp_path, clock, signed):
    issue(staff)
    certificate, _ = signed_by(desk.issuer, tmp_path, "kiosk-01", clock())
    with sessions.begin() as session:
        members.record(session, certificate, "kiosk-01", "token", clock())
    assert "Issued" in staff.client.get("/enrolment").text
    answer = staff.client.post("/enrolment/kiosk-01/revoke", data={"csrf": staff.csrf})
    assert answer.headers["location"] == "/enrolment"
    page = staff.client.get("/enrolment").text
    assert "Revoked" in page
    assert "/revoke" not in page
    assert signed == [1]
    with sessions() as session:
        actions = [entry.action for entry in session.scalars(sa.select(AuditEntry))]
    assert actions == ["issue-enrolment-token", "revoke-device"]


def test_refusals_are_counted_by_cause(staff, sessions, clock):
    for _ in range(3):
        count(sessions, Cause.WRONG_TOKEN, clock())
    page = staff.client.get("/enrolment").text
    assert "The token was wrong, used or too old" in page
    assert re.search(r'class="number">3<', page)


def test_many_devices_come_page_by_page(staff, sessions, clock):
    with sessions.begin() as session:
        for i in range(120):
            session.add(Device(device=f"kiosk-{i:03}", kind="kiosk", site="x", registered_at=clock()))
    seen, address = [], "/enrolment"
    while address:
        page = staff.client.get(address).text
        seen += re.findall(r'scope="row">(kiosk-\d{3})<', page)
        further = re.search(r'href="(/enrolment\?after=[\w-]+)"', page)
        address = further[1] if further else None
    assert seen == [f"kiosk-{i:03}" for i in range(120)]
