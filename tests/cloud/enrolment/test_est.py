"""EST against the real listener, with openssl and curl."""

import sqlalchemy as sa
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloud.database.models.devices import Device
from cloud.database.models.enrolment import DeviceCertificate, EnrolmentRefusal
from cloud.enrolment import members
from tests.cloud.enrolment.conftest import NAME, make_token

HERE = ["--cert", "cert.pem", "--key", "key.pem"]


def causes(sessions):
    with sessions() as session:
        return {row.cause: row.count for row in session.scalars(sa.select(EnrolmentRefusal))}


def test_cacerts_gives_the_authority(technician, bootstrap_port, folder):
    kept = technician.keep(technician.est(bootstrap_port, "cacerts"), "ca-got.pem")
    got = x509.load_pem_x509_certificate(kept.read_bytes())
    assert got == x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())


def test_a_device_enrols_with_its_token(technician, bootstrap_port, token, folder, sessions):
    path = technician.enrol(bootstrap_port, token)
    technician.run("openssl", "verify", "-CAfile", str(folder / "ca.pem"), "-purpose", "sslclient", str(path))
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    assert certificate.subject.rfc4514_string() == f"CN={NAME}"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"urn:civic-fleet:kiosk:{NAME}"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() / 86400
    assert 30 < days < 30.01
    with sessions() as session:
        row = session.scalars(sa.select(DeviceCertificate)).one()
        assert (row.device, row.state, row.by) == (NAME, "issued", "token")
        assert session.get(Device, NAME).enrolled_at is not None


def test_nothing_of_the_request_is_copied_but_the_key(technician, bootstrap_port, token):
    technician.request(NAME)
    technician.run(
        "openssl", "req", "-new", "-key", "key.pem", "-subj", f"/O=Evil/CN={NAME}", "-outform", "DER",
        "-addext", "subjectAltName=DNS:svc-control", "-addext", "basicConstraints=CA:TRUE", "-out", "csr",
    )  # fmt: skip
    data = technician.run("openssl", "base64", "-in", "csr")
    answer = technician.est(bootstrap_port, "simpleenroll", "-u", f"{NAME}:{token}", data=data)
    certificate = x509.load_pem_x509_certificate(technician.keep(answer).read_bytes())
    assert not certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == []


def test_a_token_is_good_once_and_for_its_device_only(technician, bootstrap_port, token, sessions):
    request = technician.request("kiosk-02")
    other = technician.est(bootstrap_port, "simpleenroll", "-u", f"kiosk-02:{token}", data=request)
    assert other.status == 403
    technician.enrol(bootstrap_port, token)
    again = technician.est(
        bootstrap_port, "simpleenroll", "-u", f"{NAME}:{token}", data=technician.request(NAME)
    )
    assert again.status == 403
    assert b"ask for a new one" in again.body
    wrong = technician.est(
        bootstrap_port, "simpleenroll", "-u", f"{NAME}:nonsense", data=technician.request(NAME)
    )
    assert (wrong.status, wrong.body) == (403, again.body)
    assert causes(sessions) == {"wrong-token": 3}


def test_an_answer_that_was_lost_can_be_asked_for_again_with_the_same_key(
    technician, bootstrap_port, token, sessions, now
):
    request = technician.request(NAME)
    ask = (bootstrap_port, "simpleenroll", "-u", f"{NAME}:{token}")
    first = technician.keep(technician.est(*ask, data=request), "first.pem").read_bytes()
    second = technician.keep(technician.est(*ask, data=request), "second.pem").read_bytes()
    assert first != second
    with sessions.begin() as session:
        assert members.revoke(session, NAME, "stolen", now()) == 2
    assert technician.est(*ask, data=request).status == 403


def test_a_refused_request_leaves_the_token_as_it_was(technician, bootstrap_port, token):
    bad = technician.est(bootstrap_port, "simpleenroll", "-u", f"{NAME}:{token}", data=b"bm8gcmVxdWVzdA==")
    assert bad.status == 400
    technician.enrol(bootstrap_port, token)


def test_a_token_is_good_for_a_day(technician, bootstrap_port, token, now):
    now.ahead_s = 24 * 3600 + 1
    late = technician.est(
        bootstrap_port, "simpleenroll", "-u", f"{NAME}:{token}", data=technician.request(NAME)
    )
    assert late.status == 403


def test_a_new_token_ends_the_one_before(technician, bootstrap_port, token, sessions, now):
    newer = make_token(sessions, NAME, now(), b"another sixteen.")
    old = technician.est(
        bootstrap_port, "simpleenroll", "-u", f"{NAME}:{token}", data=technician.request(NAME)
    )
    assert old.status == 403
    technician.enrol(bootstrap_port, newer)


def test_bad_requests_are_refused_with_a_sentence(technician, bootstrap_port, token, sessions):
    def ask(data, *options, **also):
        return technician.est(bootstrap_port, "simpleenroll", *options, data=data, **also)

    user = ("-u", f"{NAME}:{token}")
    missing = ask(technician.request(NAME))
    assert missing.status == 401
    assert 'www-authenticate: basic realm="enrolment"' in missing.headers.lower()
    assert ask(b"%%%", *user).status == 400
    assert b"common name" in ask(technician.request("kiosk-99"), *user).body
    assert b"P-256" in ask(technician.request(NAME, new=("EC", "P-521")), *user).body
    assert b"2048" in ask(technician.request(NAME, new=("RSA", "1024")), *user).body
    assert ask(technician.request(NAME), *user, media="text/plain").status == 415
    assert ask(b"A" * 20_000, *user).status == 413
    tampered = bytearray(technician.run("openssl", "base64", "-d", data=technician.request(NAME)))
    tampered[-5] ^= 1
    encoded = technician.run("openssl", "base64", data=bytes(tampered))
    assert b"not signed by the key" in ask(encoded, *user).body
    assert causes(sessions) == {"no-credentials": 1, "bad-request": 5, "wrong-media-type": 1}
    technician.enrol(bootstrap_port, token)


def test_rsa_of_2048_bits_is_taken(technician, bootstrap_port, token):
    data = technician.request(NAME, new=("RSA", "2048"))
    technician.keep(technician.est(bootstrap_port, "simpleenroll", "-u", f"{NAME}:{token}", data=data))


def test_renewal_is_for_the_certificate_that_is_shown(technician, bootstrap_port, token, sessions):
    technician.enrol(bootstrap_port, token)
    (technician.folder / "old.pem").write_bytes((technician.folder / "cert.pem").read_bytes())
    (technician.folder / "old.key").write_bytes((technician.folder / "key.pem").read_bytes())
    shown = ("--cert", "old.pem", "--key", "old.key")
    answer = technician.est(bootstrap_port, "simplereenroll", *shown, data=technician.request(NAME))
    technician.keep(answer, "new.pem")
    other = technician.est(bootstrap_port, "simplereenroll", *shown, data=technician.request("kiosk-02"))
    assert other.status == 400
    without = technician.est(bootstrap_port, "simplereenroll", data=technician.request(NAME))
    assert without.status == 403
    with sessions() as session:
        states = [(row.by, row.state) for row in session.scalars(sa.select(DeviceCertificate))]
    assert sorted(states) == [("renewal", "issued"), ("token", "active")]


def test_a_device_that_asks_in_a_loop_is_slowed_down(
    technician, bootstrap_port, token, sessions, monkeypatch
):
    monkeypatch.setattr("cloud.enrolment.est.CERTIFICATES_PER_DAY_MAX", 2)
    technician.enrol(bootstrap_port, token)
    data = technician.request(NAME, key="next.pem")
    assert technician.est(bootstrap_port, "simplereenroll", *HERE, data=data).status == 200
    assert technician.est(bootstrap_port, "simplereenroll", *HERE, data=data).status == 429


def test_a_revoked_device_cannot_renew(technician, bootstrap_port, token, sessions, now):
    technician.enrol(bootstrap_port, token)
    with sessions.begin() as session:
        assert members.revoke(session, NAME, "stolen", now()) == 1
    data = technician.request(NAME, key="next.pem")
    refused = technician.est(bootstrap_port, "simplereenroll", *HERE, data=data)
    assert (refused.status, causes(sessions)) == (403, {"ended-certificate": 1})
