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


def test_cacerts_gives_the_issuing_authority_and_the_root(technician, bootstrap_port, folder):
    kept = technician.keep(technician.est(bootstrap_port, "cacerts"), "ca-got.pem")
    got = x509.load_pem_x509_certificates(kept.read_bytes())
    assert len(got) == 2
    assert set(got) == set(x509.load_pem_x509_certificates((folder / "authorities.pem").read_bytes()))


def test_the_lists_of_revoked_certificates_are_published(technician, bootstrap_port, folder):
    answer = technician.curl(bootstrap_port, "/crl.pem")
    assert answer.status == 200
    (technician.folder / "lists.pem").write_bytes(answer.body)
    for authority in ("issuing.pem", "ca.pem"):
        issuer = x509.load_pem_x509_certificate((folder / authority).read_bytes())
        lists = answer.body.split(b"-----END X509 CRL-----\n")[:-1]
        loaded = [x509.load_pem_x509_crl(each + b"-----END X509 CRL-----\n") for each in lists]
        assert [each.is_signature_valid(issuer.public_key()) for each in loaded].count(True) == 1


def test_a_device_enrols_with_its_token(technician, bootstrap_port, token, folder, sessions):
    path = technician.enrol(bootstrap_port, token)
    trust = ("-CAfile", str(folder / "ca.pem"), "-untrusted", str(folder / "authorities.pem"))
    technician.run("openssl", "verify", *trust, "-purpose", "sslclient", str(path))
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    assert certificate.subject.rfc4514_string() == f"CN={NAME}"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"urn:civic-fleet:kiosk:{NAME}"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() / 86400
    assert 31 <= days < 31.01
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
    assert first == second
    with sessions.begin() as session:
        assert members.revoke(session, NAME, "stolen", now()) == 1
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
    assert causes(sessions) == {
        "no-credentials": 1,
        "bad-request": 4,
        "another-device": 1,
        "wrong-media-type": 1,
    }
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
    assert (other.status, b"another-device" in other.body) == (403, True)
    without = technician.est(bootstrap_port, "simplereenroll", data=technician.request(NAME))
    assert without.status == 403
    with sessions() as session:
        states = [(row.by, row.state) for row in session.scalars(sa.select(DeviceCertificate))]
    assert sorted(states) == [("renewal", "issued"), ("token", "trial")]


def test_a_device_that_asks_in_a_loop_is_slowed_down(
    technician, bootstrap_port, token, sessions, monkeypatch
):
    monkeypatch.setattr("cloud.enrolment.est.CERTIFICATES_MAX", 2)
    technician.enrol(bootstrap_port, token)
    for status in (200, 429):
        data = technician.request(NAME, key="next.pem")
        answer = technician.est(bootstrap_port, "simplereenroll", *HERE, data=data)
        assert answer.status == status
    assert "retry-after: 900" in answer.headers.lower()


def test_a_revoked_device_cannot_renew(technician, bootstrap_port, token, sessions, now):
    technician.enrol(bootstrap_port, token)
    with sessions.begin() as session:
        assert members.revoke(session, NAME, "stolen", now()) == 1
    data = technician.request(NAME, key="next.pem")
    refused = technician.est(bootstrap_port, "simplereenroll", *HERE, data=data)
    assert (refused.status, causes(sessions)) == (403, {"revoked-certificate": 1})


def test_a_renewal_is_answered_alike_until_it_is_proven(technician, bootstrap_port, token):
    technician.enrol(bootstrap_port, token)

    def renew(name, cert, key):
        answer = technician.est(bootstrap_port, "simplereenroll", "--cert", cert, "--key", key, data=data)
        return technician.keep(answer, name).read_bytes()

    data = technician.request(NAME, key="next.key")
    first = renew("next.pem", "cert.pem", "key.pem")
    assert renew("again.pem", "cert.pem", "key.pem") == first
    # Whoever shows the certificate itself wants a younger one for the same key.
    assert renew("younger.pem", "next.pem", "next.key") != first


def test_what_a_device_never_proves_is_bounded(technician, bootstrap_port, token, sessions):
    technician.enrol(bootstrap_port, token)
    for _ in range(6):
        data = technician.request(NAME, key="next.pem")
        assert technician.est(bootstrap_port, "simplereenroll", *HERE, data=data).status == 200
    with sessions() as session:
        rows = session.scalars(
            sa.select(DeviceCertificate).order_by(DeviceCertificate.issued_at, DeviceCertificate.by)
        ).all()
    assert [row.state for row in rows] == ["trial"] + ["revoked"] * 3 + ["issued"] * 3
    assert {row.end_reason for row in rows if row.state == "revoked"} == {"unproven"}
