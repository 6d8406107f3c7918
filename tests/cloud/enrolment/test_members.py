"""The device listener: who comes in, and what becomes of certificates."""

import http.client
import ssl
from datetime import timedelta

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cloud.database.models.devices import Device
from cloud.database.models.enrolment import DeviceCertificate, EnrolmentRefusal
from cloud.enrolment import authority, members, pki
from tests.cloud.enrolment.conftest import NAME


def whoami(port, folder, certificate=None):
    """Status and body for a client that was written with Python's ssl only."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if certificate:
        context.load_cert_chain(*certificate)
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
    try:
        connection.request("GET", "/api/v1/whoami")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def signed_by(issuer, folder, device, now):
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issuer.device(key.public_key(), device, "kiosk", now)
    (folder / "x.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "x.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, (folder / "x.pem", folder / "x.key")


@pytest.fixture
def enrolled(technician, bootstrap_port, token):
    path = technician.enrol(bootstrap_port, token)
    return path, technician.folder / "key.pem"


def test_a_device_is_known_by_its_certificate(device_port, folder, enrolled, sessions):
    assert whoami(device_port, folder, enrolled) == (200, b'{"device":"kiosk-01"}')
    with sessions() as session:
        row = session.scalars(sa.select(DeviceCertificate)).one()
    assert row.state == "active"
    assert row.connected_at is not None


def test_without_or_with_a_foreign_certificate_tls_ends(device_port, folder, tmp_path, now):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        whoami(device_port, folder)
    rogue = authority.found("Civic Fleet Authority", now())
    _, pair = signed_by(rogue, tmp_path, NAME, now())
    with pytest.raises((ssl.SSLError, ConnectionError)):
        whoami(device_port, folder, pair)


def test_a_server_certificate_is_no_client(device_port, folder):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        whoami(device_port, folder, (folder / "server.pem", folder / "server.key"))


def test_a_certificate_that_we_signed_but_do_not_know_is_refused(device_port, folder, desk, tmp_path, now):
    service = (folder / "svc-control.pem", folder / "svc-control.key")
    status, body = whoami(device_port, folder, service)
    assert (status, b"unknown-certificate" in body) == (403, True)
    _, pair = signed_by(desk.issuer, tmp_path, NAME, now())
    assert whoami(device_port, folder, pair)[0] == 403


def test_revoked_and_decommissioned_devices_are_refused(device_port, folder, enrolled, sessions, now):
    assert whoami(device_port, folder, enrolled)[0] == 200
    with sessions.begin() as session:
        session.get(Device, NAME).decommissioned_at = now()
    assert whoami(device_port, folder, enrolled)[0] == 403
    with sessions.begin() as session:
        session.get(Device, NAME).decommissioned_at = None
        members.revoke(session, NAME, "stolen", now())
    assert whoami(device_port, folder, enrolled)[0] == 403
    with sessions() as session:
        assert session.get(EnrolmentRefusal, "ended-certificate").count == 2


def test_a_revoked_device_is_refused_on_the_connection_it_has(device_port, folder, enrolled, sessions, now):
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(*enrolled)
    connection = http.client.HTTPSConnection("localhost", device_port, context=context, timeout=10)
    connection.request("GET", "/api/v1/whoami")
    first = connection.getresponse()
    assert (first.status, first.read()) == (200, b'{"device":"kiosk-01"}')
    with sessions.begin() as session:
        members.revoke(session, NAME, "stolen", now())
    connection.request("GET", "/api/v1/whoami")
    assert connection.getresponse().status == 403
    connection.close()


def test_the_old_certificate_ends_after_the_new_one_has_connected(
    sessions, desk, token, tmp_path, folder, now
):
    at = now()
    old, _ = signed_by(desk.issuer, tmp_path, NAME, at)
    new, _ = signed_by(desk.issuer, tmp_path, NAME, at)
    with sessions.begin() as session:
        members.record(session, old, NAME, "token", at)
        members.record(session, new, NAME, "renewal", at)

    def states():
        with sessions() as session:
            return [session.get(DeviceCertificate, members.serial_text(each)).state for each in (old, new)]

    with sessions.begin() as session:
        members.admit(session, old, at)
    assert states() == ["active", "issued"]
    with sessions.begin() as session:
        members.admit(session, new, at)
    assert states() == ["superseded", "active"]
    with sessions.begin() as session:
        members.admit(session, old, at)
    assert not members.sweep(sessions, folder, at)
    assert members.sweep(sessions, folder, at + members.SUPERSEDED_GRACE)
    assert states() == ["revoked", "active"]
    listed = pki.revocations(folder)
    assert [entry.serial_number for entry in listed] == [old.serial_number]
    assert listed.is_signature_valid(desk.issuer.certificate.public_key())


def test_the_revocation_list_is_renewed_and_forgets_what_has_expired(
    sessions, desk, token, tmp_path, folder, now
):
    at = now()
    certificate, _ = signed_by(desk.issuer, tmp_path, NAME, at)
    with sessions.begin() as session:
        members.record(session, certificate, NAME, "token", at)
        members.revoke(session, NAME, "stolen", at)
    number = x509.CRLNumber
    assert members.sweep(sessions, folder, at)
    assert pki.revocations(folder).extensions.get_extension_for_class(number).value.crl_number == 2
    assert not members.sweep(sessions, folder, at + timedelta(days=1))
    assert members.sweep(sessions, folder, at + timedelta(days=16))
    assert members.sweep(sessions, folder, at + timedelta(days=31))
    assert len(list(pki.revocations(folder))) == 0


def test_expired_certificates_are_marked(sessions, desk, token, tmp_path, folder, now):
    at = now()
    certificate, _ = signed_by(desk.issuer, tmp_path, NAME, at)
    with sessions.begin() as session:
        members.record(session, certificate, NAME, "token", at)
    members.sweep(sessions, folder, at + timedelta(days=30, seconds=1))
    with sessions() as session:
        assert session.get(DeviceCertificate, members.serial_text(certificate)).state == "expired"
