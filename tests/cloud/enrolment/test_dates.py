"""Certificates outside of their time, on both listeners, with `openssl` and `curl`."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from cloud.database.models.enrolment import DeviceCertificate, EnrolmentRefusal
from cloud.enrolment import authority, members, registry
from contract.enrolment import PROVEN_PATH
from tests.cloud.enrolment.conftest import NAME
from tests.cloud.enrolment.hardened import make_client

RENEWAL = "/.well-known/est/simplereenroll"
SHOWN = ("--cert", f"{NAME}.pem", "--key", f"{NAME}.key")


@pytest.fixture
def issued(technician, desk, sessions, now):
    """Gives the technician a certificate of the device that was issued so many days ago."""

    def issue(days, *, device=NAME):
        at = now() - timedelta(days=days)
        certificate = make_client(desk.issuer, technician.folder, device, at=at)
        with sessions.begin() as session:
            registry.register(session, device, "kiosk", "Dardania", at)
            members.record(session, certificate, device, "token", at)
        return certificate

    return issue


@pytest.fixture
def causes(sessions):
    def tell():
        with sessions() as session:
            return {row.cause: row.count for row in session.scalars(sa.select(EnrolmentRefusal))}

    return tell


def renew(technician, port, shown=SHOWN):
    return technician.est(port, "simplereenroll", *shown, data=technician.request(NAME, key="next.key"))


@pytest.mark.parametrize("swept", [False, True])
def test_one_that_has_expired_is_renewed_and_does_nothing_else(
    technician, bootstrap_port, device_port, issued, sessions, handshakes, causes, now, swept
):
    issued(35)
    if swept:
        members.sweep(sessions, now())
    for path in ("/api/v1/whoami", PROVEN_PATH):
        assert technician.alert(device_port, path, *SHOWN) == "certificate expired"
    technician.keep(renew(technician, bootstrap_port), "next.pem")
    fresh = ("--cert", "next.pem", "--key", "next.key")
    assert technician.curl(device_port, PROVEN_PATH, *fresh, data=b"").status == 204
    late = renew(technician, bootstrap_port)
    assert (late.status, b"expired-certificate" in late.body) == (403, True), "another was proven since"
    handshakes.store(sessions, now())
    assert causes() == {"expired-certificate": 3}
    handshakes.store(sessions, now())
    assert causes() == {"expired-certificate": 3}


def test_the_grace_ends(technician, bootstrap_port, issued, causes):
    issued(30 + 90)
    assert renew(technician, bootstrap_port).status == 403
    assert causes() == {"expired-certificate": 1}


def test_expired_and_revoked_or_out_of_service_is_refused(
    technician, bootstrap_port, issued, sessions, causes, now
):
    issued(35)
    with sessions.begin() as session:
        members.revoke(session, NAME, "stolen", now())
    assert renew(technician, bootstrap_port).status == 403
    with sessions.begin() as session:
        registry.take_out(session, NAME, now())
    assert renew(technician, bootstrap_port).status == 403
    assert causes() == {"revoked-certificate": 1, "out-of-service": 1}


def test_not_valid_yet_is_refused_on_both(
    technician, bootstrap_port, device_port, issued, sessions, handshakes, causes, now
):
    issued(-3)
    early = renew(technician, bootstrap_port)
    assert (early.status, b"the server's clock" in early.body) == (403, True)
    assert technician.alert(device_port, "/api/v1/whoami", *SHOWN) == "bad certificate"
    handshakes.store(sessions, now())
    assert causes() == {"not-yet-valid": 2}


def test_a_clock_that_is_a_day_behind_takes_a_new_certificate(
    technician, bootstrap_port, issued, folder, now
):
    issued(0)
    technician.keep(renew(technician, bootstrap_port), "next.pem")
    behind = int((now() - timedelta(hours=23, minutes=59)).timestamp())
    trust = ("-CAfile", str(folder / "ca.pem"), "-untrusted", str(folder / "authorities.pem"))
    technician.run("openssl", "verify", "-attime", str(behind), *trust, "next.pem")


def test_of_a_rogue_authority_is_refused_on_both_whatever_its_dates(
    technician, bootstrap_port, device_port, sessions, handshakes, causes, now
):
    rogue = authority.found("Civic Fleet Authority", now())
    for days in (0, 35):
        make_client(rogue, technician.folder, NAME, at=now() - timedelta(days=days))
        assert technician.alert(bootstrap_port, RENEWAL, *SHOWN) == "unknown ca"
        assert technician.alert(device_port, "/api/v1/whoami", *SHOWN) == "unknown ca"
    assert technician.alert(device_port, "/api/v1/whoami") == "certificate required"
    handshakes.store(sessions, now())
    assert causes() == {"foreign-certificate": 4, "no-certificate": 1}


def test_one_for_another_name_of_ours_is_unknown_and_another_devices_request_is_refused(
    technician, bootstrap_port, desk, issued, causes
):
    issued(0)
    other = technician.est(
        bootstrap_port, "simplereenroll", *SHOWN, data=technician.request("kiosk-02", key="next.key")
    )
    assert other.status == 403
    make_client(desk.issuer, technician.folder, "svc-evil")
    unknown = renew(technician, bootstrap_port, ("--cert", "svc-evil.pem", "--key", "svc-evil.key"))
    assert unknown.status == 403
    assert causes() == {"another-device": 1, "unknown-certificate": 1}


def test_a_short_life_has_its_own_pace(technician, bootstrap_port, desk, issued, sessions, now, monkeypatch):
    """Tests and cautious cities let certificates live for minutes; the limit of a day would stop them."""
    monkeypatch.setattr("cloud.enrolment.est.CERTIFICATES_MAX", 3)
    issued(0)
    minutes = type(desk)(desk.issuer, desk.sessions, now, timedelta(minutes=5))
    for _ in range(6):
        now.ahead_s += 120
        body = technician.request(NAME, key="next.key")
        with sessions() as session:
            held = session.scalars(
                sa.select(DeviceCertificate).order_by(DeviceCertificate.issued_at.desc()).limit(1)
            ).one()
        made = minutes.renew(members.x509.load_der_x509_certificate(held.certificate), body)
        assert made.not_valid_after_utc - now() <= timedelta(minutes=5)
