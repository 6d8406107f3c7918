"""The device listener: who comes in, and what becomes of certificates."""

import http.client
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cloud.database.models.devices import Device
from cloud.database.models.enrolment import DeviceCertificate, EnrolmentRefusal
from cloud.enrolment import authority, members, pki
from cloud.enrolment.refusals import EnrolmentRefusedError
from cloud.enrolment.revocations import Revocations
from contract.enrolment import PROVEN_PATH
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
    assert row.state == "trial"
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
        refused = {row.cause: row.count for row in session.scalars(sa.select(EnrolmentRefusal))}
    assert refused == {"out-of-service": 1, "revoked-certificate": 1}


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


def proven(port, folder, pair):
    """What the device listener says to somebody who has a link with `pair`."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(*pair)
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
    try:
        connection.request("POST", PROVEN_PATH)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def listed(sessions, folder, desk):
    return Revocations(sessions, folder)


@pytest.fixture
def states(sessions):
    def tell():
        with sessions() as session:
            rows = sa.select(DeviceCertificate.state).order_by(DeviceCertificate.issued_at)
            return list(session.scalars(rows))

    return tell


def issue(desk, sessions, tmp_path, by, at):
    """A certificate of the device, which the database knows, with its files."""
    place = tmp_path / by
    place.mkdir()
    certificate, pair = signed_by(desk.issuer, place, NAME, at)
    with sessions.begin() as session:
        members.record(session, certificate, NAME, by, at)
    return certificate, pair


def test_the_old_certificate_ends_after_the_new_one_was_proven(
    device_port, sessions, desk, token, tmp_path, folder, now, states, listed
):
    old, old_pair = issue(desk, sessions, tmp_path, "token", now())
    assert whoami(device_port, folder, old_pair)[0] == 200
    assert proven(device_port, folder, old_pair) == (204, b"")
    new, new_pair = issue(desk, sessions, tmp_path, "renewal", now())
    assert states() == ["active", "issued"]
    assert whoami(device_port, folder, new_pair)[0] == 200
    assert states() == ["active", "trial"], "to connect alone ends nothing"
    assert proven(device_port, folder, new_pair) == (204, b"")
    assert states() == ["superseded", "active"]
    assert proven(device_port, folder, new_pair) == (204, b""), "said again, after a lost answer"
    assert whoami(device_port, folder, old_pair)[0] == 200, "what is on its way is let through"
    status, body = proven(device_port, folder, old_pair)
    assert (status, b"superseded-certificate" in body) == (409, True)
    members.sweep(sessions, now())
    assert states() == ["superseded", "active"]
    members.sweep(sessions, now() + members.SUPERSEDED_GRACE)
    assert states() == ["revoked", "active"]
    status, body = whoami(device_port, folder, old_pair)
    assert (status, b"revoked-certificate" in body) == (403, True)
    assert listed.publish(now())
    assert old.serial_number in {entry.serial_number for entry in pki.revocations(folder)[0]}
    assert new.serial_number not in {entry.serial_number for entry in pki.revocations(folder)[0]}
    assert pki.revocations(folder)[0].is_signature_valid(desk.issuer.certificate.public_key())


def test_the_first_certificate_is_proven_the_same_way(device_port, folder, enrolled, states):
    assert proven(device_port, folder, enrolled) == (204, b"")
    assert states() == ["active"]


def test_of_two_that_are_proven_the_first_stays(sessions, desk, token, tmp_path, now, states):
    old, _ = issue(desk, sessions, tmp_path, "token", now())
    new, _ = issue(desk, sessions, tmp_path, "renewal", now())
    with sessions.begin() as session:
        members.admit(session, old, now())
        members.admit(session, new, now())
        members.prove(session, new, now())
    with sessions() as session, pytest.raises(EnrolmentRefusedError, match="another certificate"):
        members.prove(session, old, now())
    assert states() == ["superseded", "active"]


def test_the_revocation_list_is_renewed_and_forgets_what_has_expired(
    sessions, desk, token, tmp_path, folder, now, listed
):
    at = now()
    certificate, _ = signed_by(desk.issuer, tmp_path, NAME, at)
    with sessions.begin() as session:
        members.record(session, certificate, NAME, "token", at)
        members.revoke(session, NAME, "stolen", at)
    number = x509.CRLNumber
    assert listed.publish(at)
    assert pki.revocations(folder)[0].extensions.get_extension_for_class(number).value.crl_number == 2
    assert not listed.publish(at + timedelta(days=1))
    assert listed.publish(at + timedelta(days=16))
    assert listed.publish(at + timedelta(days=32))
    assert pki.revocations(folder)[0].extensions.get_extension_for_class(number).value.crl_number == 4
    serials = {entry.serial_number for entry in pki.revocations(folder)[0]}
    assert certificate.serial_number not in serials
    assert len(serials) == 1, "the canary"


def test_another_process_may_sign_the_list_too(sessions, desk, token, tmp_path, folder, now, listed):
    canary = listed.canary(now())
    assert listed.canary(now()) is canary
    certificate, _ = signed_by(desk.issuer, tmp_path, NAME, now())
    with sessions.begin() as session:
        members.record(session, certificate, NAME, "token", now())
        members.revoke(session, NAME, "stolen", now())
    assert Revocations(sessions, folder).publish(now())
    newer = listed.canary(now())
    assert newer is not canary, "the list has changed since, so the old canary would prove nothing"
    serials = {entry.serial_number for entry in pki.revocations(folder)[0]}
    assert serials == {certificate.serial_number, newer.serial}


def test_processes_that_sign_at_once_give_each_list_a_number_of_its_own(
    sessions, desk, folder, now, monkeypatch
):
    """A command that revokes once met the sweep, and found its file taken away under its hands."""
    written = []
    write = pki.write_revocations

    def noted(where, listed):
        write(where, listed)
        written.append(listed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)

    monkeypatch.setattr(pki, "write_revocations", noted)
    signers = [Revocations(sessions, folder) for _ in range(8)]
    with ThreadPoolExecutor(len(signers)) as pool:
        canaries = list(pool.map(lambda each: each.canary(now()), signers))
    assert len({each.serial for each in canaries}) == len(signers)
    assert written == sorted(set(written))


def test_expired_certificates_are_marked(sessions, desk, token, tmp_path, folder, now, states):
    at = now()
    certificate, _ = signed_by(desk.issuer, tmp_path, NAME, at)
    with sessions.begin() as session:
        members.record(session, certificate, NAME, "token", at)
    members.sweep(sessions, at + timedelta(days=30, seconds=1))
    assert states() == ["expired"]
