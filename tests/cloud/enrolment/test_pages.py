"""The operators' page: a token, the certificates, revocation, refusals."""

import html
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from cloud.database.models.devices import Device
from cloud.database.models.enrolment import ConnectionDrop, EnrolmentToken
from cloud.database.models.operators import AuditEntry
from cloud.enrolment import api as enrolment_api
from cloud.enrolment import authority, drops, ends, issuers, members, pki, tokens
from cloud.enrolment import pages as enrolment_pages
from cloud.enrolment.causes import Cause
from cloud.enrolment.drops import Trouble
from cloud.enrolment.ends import End, What
from cloud.enrolment.office import Office
from cloud.enrolment.refusals import count
from cloud.enrolment.wording import TROUBLES
from tests.cloud.enrolment.test_members import signed_by
from tests.cloud.enrolment.test_succession import distrust, take_over


@pytest.fixture
def signed():
    """How often the revocation list was asked for."""
    return []


@pytest.fixture
def staff(pages_app, sessions, sign_in, signed, folder):
    office = Office(
        sessions,
        signed.append,
        lambda _session, _device: None,
        lambda: issuers.read(folder),
        lambda: ends.read(folder),
    )
    return sign_in(pages_app(enrolment_pages.router(office), enrolment_api.router(office)))


@pytest.fixture
def certify(desk, sessions, tmp_path):
    """Gives `kiosk-01` a certificate of a moment."""

    def give(at):
        certificate, _ = signed_by(desk.issuer, tmp_path, "kiosk-01", at)
        with sessions.begin() as session:
            members.record(session, certificate, "kiosk-01", "token", at)
        return certificate

    return give


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


def test_certificates_are_listed_and_revoked(staff, sessions, certify, clock, signed):
    issue(staff)
    certify(clock())
    assert "Issued" in staff.client.get("/enrolment").text
    assert "Revoke kiosk-01 now" in staff.client.get("/enrolment/kiosk-01").text
    answer = staff.client.post("/enrolment/kiosk-01/revoke", data={"csrf": staff.csrf})
    assert answer.headers["location"] == "/enrolment/kiosk-01"
    page = staff.client.get("/enrolment/kiosk-01").text
    assert "Revoked" in page
    assert "by staff" in page
    assert "about to close its connection" in page
    assert "/revoke" not in page
    assert signed == [clock()]
    assert "still connected?" in staff.client.get("/enrolment").text
    with sessions() as session:
        actions = [entry.action for entry in session.scalars(sa.select(AuditEntry))]
    assert actions == ["issue-enrolment-token", "revoke-device"]


@pytest.mark.parametrize("trouble", Trouble)
def test_what_keeps_a_device_connected_is_said(staff, sessions, clock, trouble):
    issue(staff)
    with sessions.begin() as session:
        drops.ask(session, "kiosk-01", clock())
        session.get(ConnectionDrop, "kiosk-01").trouble = trouble
    assert TROUBLES[trouble] in html.unescape(staff.client.get("/enrolment/kiosk-01").text)


def test_out_of_service_wants_the_name_typed(staff, sessions, certify, clock):
    issue(staff)
    certify(clock())

    def take_out(confirm):
        data = {"csrf": staff.csrf, "confirm": confirm}
        return staff.client.post("/enrolment/kiosk-01/decommission", data=data)

    refused = take_out("kiosk-02")
    assert refused.status_code == 422
    assert "Nothing was done" in refused.text
    with sessions() as session:
        assert members.good(session, "kiosk-01", clock()) == 1
    assert take_out("kiosk-01").status_code == 303
    page = staff.client.get("/enrolment/kiosk-01").text
    assert "taken out of service" in page
    assert "/decommission" not in page
    staff.client.post("/enrolment/kiosk-01/readmit", data={"csrf": staff.csrf})
    assert "in service" in staff.client.get("/enrolment/kiosk-01").text


def test_a_device_that_nobody_knows_is_not_found(staff):
    assert staff.client.get("/enrolment/kiosk-99").status_code == 404
    gone = staff.client.post("/enrolment/kiosk-99/revoke", data={"csrf": staff.csrf})
    assert gone.status_code == 409


@pytest.mark.parametrize(("age", "warned"), [(22, False), (24, True)])
def test_who_cannot_renew_is_warned_of_in_time(staff, certify, clock, age, warned):
    issue(staff)
    certify(clock() - timedelta(days=age))
    page = staff.client.get("/enrolment").text
    assert ("ends within 7 days: 1." in page) is warned
    assert ('<span class="chip warn">6</span>' in page) is warned
    assert ("ends soon" in staff.client.get("/enrolment/kiosk-01").text) is warned


def test_refusals_are_counted_by_cause(staff, sessions, clock):
    for _ in range(3):
        count(sessions, Cause.WRONG_TOKEN, clock())
    page = staff.client.get("/enrolment").text
    assert "The token was wrong, used or too old" in page
    assert re.search(r'class="number">3<', page)


def test_a_token_that_ended_before_its_device_came_is_marked(staff, sessions, certify, clock):
    issue(staff)
    assert '<span class="chip info">awaited</span>' in staff.client.get("/enrolment").text
    with sessions.begin() as session:
        tokens.end(session, "kiosk-01", clock())
    assert '<span class="chip warn">no token</span>' in staff.client.get("/enrolment").text
    certify(clock())
    page = staff.client.get("/enrolment").text
    assert "awaited" not in page
    assert "no token" not in page


def test_many_devices_come_page_by_page(staff, sessions, clock):
    with sessions.begin() as session:
        for i in range(120):
            session.add(Device(device=f"kiosk-{i:03}", kind="kiosk", site="x", registered_at=clock()))
    seen, address = [], "/enrolment"
    while address:
        page = staff.client.get(address).text
        seen += re.findall(r'scope="row"><a href="/enrolment/(kiosk-\d{3})"', page)
        further = re.search(r'href="(/enrolment\?after=[\w-]+)"', page)
        address = further[1] if further else None
    assert seen == [f"kiosk-{i:03}" for i in range(120)]


def test_programs_have_the_same(staff, sessions, certify, clock):
    client, path = staff.client, "/api/v1/enrolment"
    client.headers["X-CSRF-Token"] = staff.csrf
    new = {"device": "kiosk-01", "kind": "kiosk", "site": "Dardania"}
    told = client.post(f"{path}/tokens", json=new)
    assert told.status_code == 201
    with sessions.begin() as session:
        assert tokens.find(session, "kiosk-01", told.json()["token"], clock()).kind == "kiosk"
    certify(clock())
    listed = client.get(f"{path}/devices").json()
    assert listed["next"] is None
    (one,) = listed["devices"]
    assert [(each["state"], each["days_left"]) for each in one["certificates"]] == [("issued", 30)]
    assert one == client.get(f"{path}/devices/kiosk-01").json()
    revoked = client.post(f"{path}/devices/kiosk-01/revoke").json()
    assert [each["state"] for each in revoked["certificates"]] == ["revoked"]
    assert revoked["drop"]["done_at"] is None
    assert revoked["token_until"] is None
    gone = client.post(f"{path}/devices/kiosk-01/decommission").json()
    assert gone["decommissioned_at"] is not None
    assert client.post(f"{path}/tokens", json=new).status_code == 409
    back = client.post(f"{path}/devices/kiosk-01/readmit").json()
    assert back["decommissioned_at"] is None
    count(sessions, Cause.WRONG_TOKEN, clock(), 4)
    assert [(each["cause"], each["count"]) for each in client.get(f"{path}/refusals").json()["refusals"]] == [
        ("wrong-token", 4)
    ]
    for action in ("revoke", "decommission", "readmit"):
        assert client.post(f"{path}/devices/kiosk-99/{action}").status_code == 404
    assert client.post(f"{path}/tokens", json=new | {"device": "svc-evil"}).status_code == 400


def test_who_signs_is_told_and_how_many_devices_have_still_another(
    staff, sessions, certify, clock, folder, tmp_path
):
    def told():
        found = staff.client.get("/api/v1/enrolment/authorities").json()["authorities"]
        return [(each["name"], each["standing"], each["devices"]) for each in found]

    issue(staff)
    certify(clock())
    assert told() == [("Civic Fleet Authority", "present", None)]
    page = staff.client.get("/enrolment").text
    assert "Signs" in page
    assert "Still trusted" not in page
    take_over(folder)
    assert told() == [("Civic Fleet Authority 2", "present", 0), ("Civic Fleet Authority", "former", 1)]
    page = staff.client.get("/enrolment").text
    assert "still use a certificate of Civic Fleet Authority: 1." in page
    (one,) = staff.client.get("/api/v1/enrolment/devices/kiosk-01").json()["certificates"]
    assert one["issuer"] == "Civic Fleet Authority"
    assert "<td>Civic Fleet Authority</td>" in staff.client.get("/enrolment/kiosk-01").text
    newer, _ = signed_by(pki.load(folder), tmp_path, "kiosk-01", clock())
    with sessions.begin() as session:
        members.record(session, newer, "kiosk-01", "renewal", clock())
    assert told()[0][2] == 1, "the youngest, where none is proven"
    page = staff.client.get("/enrolment").text
    assert "No device uses a certificate of Civic Fleet Authority any more" in page
    distrust(folder)
    assert told() == [("Civic Fleet Authority 2", "present", 1), ("Civic Fleet Authority", "distrusted", 0)]


@pytest.mark.parametrize(
    ("what", "days", "sentence"),
    [
        (What.ISSUER, 365, "Civic Fleet Authority signs for 364 days more"),
        (What.ROOT, 730, "Civic Fleet Root, which every device trusts, ends on"),
        (What.SERVERS, 30, "The certificate seal of this platform ends on"),
        (What.REVOCATIONS, 10, "The list of what Civic Fleet Authority has revoked is good until"),
    ],
)
def test_of_what_ends_staff_is_told_in_time_with_what_to_do(
    pages_app, sessions, sign_in, clock, what, days, sentence
):
    name = {What.ROOT: "Civic Fleet Root", What.SERVERS: "seal"}.get(what, "Civic Fleet Authority")
    left = timedelta(days=days)
    root = authority.found("Civic Fleet Root", clock())
    known = issuers.Issuers(root.certificate, root.certificate)
    office = Office(sessions, lambda _at: None, lambda _session, _device: None, lambda: known, lambda: found)
    staff = sign_in(pages_app(enrolment_pages.router(office), enrolment_api.router(office)))
    for late in (timedelta(), timedelta(seconds=1)):
        found = (End(what, name, clock() + left - late),)
        assert (sentence in html.unescape(staff.client.get("/enrolment").text)) is bool(late)
        (told,) = staff.client.get("/api/v1/enrolment/authorities").json()["ends"]
        assert (told["what"], told["name"], told["near"]) == (what, name, bool(late))
    found = (End(what, name, clock() - timedelta(days=3)),)
    assert sentence.replace("364", "0") in html.unescape(staff.client.get("/enrolment").text)
    (told,) = staff.client.get("/api/v1/enrolment/authorities").json()["ends"]
    assert (told["days_left"], told["near"]) == (0, True)
