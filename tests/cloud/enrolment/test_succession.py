"""Another issuing authority takes over below the same root: on the disk, at every cut, at a real broker."""

import itertools
import os
import shutil
import subprocess
from datetime import UTC, datetime
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy.orm import sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.enrolment import authority, est, guard, issuers, keys, members, pki, registry, succession
from cloud.enrolment.authority import issuer_id, key_id
from cloud.enrolment.door_mqtt import DoorMqtt
from cloud.enrolment.est import Desk
from cloud.enrolment.revocations import Revocations
from cloud.errors import SettingsError
from cloud.web import listener
from cloud.web.application import build
from contract import topics
from contract.enrolment import PROVEN_PATH
from tests.cloud.enrolment.conftest import NAME
from tests.cloud.enrolment.hardened import hardened, make_client

HOSTS = ["localhost", "127.0.0.1"]
NAMES = ["Civic Fleet Authority 2", "Civic Fleet Authority"]
LEAVES = ["broker", "server", "svc-control", "svc-ingest"]
OTHER = "kiosk-02"
OWN = topics.build("presence", device=NAME)
OTHERS = topics.build("presence", device=OTHER)
TO_OTHER = topics.build("job-notify", device=OTHER)


class PowerCut(BaseException):
    """Nobody catches it."""


@pytest.fixture
def secret(tmp_path):
    made = tmp_path / "secret"
    made.write_text("0123456789abcdef0123456789abcdef\n")
    made.chmod(0o600)
    return made


def root(folder, key_file=None):
    return succession.root_authority(folder, folder / "root" / "root.key", key_file)


def take_over(folder, key_file=None):
    now = datetime.now(UTC)
    prepare = partial(pki.prepare, folder, HOSTS, now, key_file=key_file)
    return succession.take_over(folder, root(folder, key_file), now, prepare, key_file)


def distrust(folder):
    now = datetime.now(UTC)
    return succession.distrust(folder, root(folder), now, partial(pki.prepare, folder, HOSTS, now))


def names(certificates):
    return [pki.common_name(each) for each in certificates]


def first(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def verified(folder, certificate):
    """What openssl says of a device's certificate, which comes alone, as a broker of ours would ask it."""
    (folder / "device.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    done = subprocess.run(
        [
            "openssl",
            "verify",
            "-CAfile",
            "authorities.pem",
            "-crl_check",
            "-CRLfile",
            "crl.pem",
            "device.pem",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode == 0


def device(issuer, name=NAME):
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return issuer.device(key, name, "kiosk", datetime.now(UTC))


def test_the_next_one_signs_and_those_of_the_one_before_stay_good(folder):
    before = pki.load(folder)
    old = device(before)
    made = take_over(folder)
    known = issuers.read(folder)
    assert (names(known.trusted), known.present) == (NAMES, made)
    made.verify_directly_issued_by(first(folder / "ca.pem"))
    assert key_id(made) != key_id(before.certificate)
    new = device(pki.load(folder))
    new.verify_directly_issued_by(made)
    assert verified(folder, old)
    assert verified(folder, new)
    for name in LEAVES:
        first(folder / f"{name}.pem").verify_directly_issued_by(made)
    first(folder / "seal.pem").verify_directly_issued_by(before.certificate)
    assert sorted(path.name for path in folder.glob("next.*")) == []
    assert names([take_over(folder)]) == ["Civic Fleet Authority 3"]


def test_nothing_of_it_lies_open_where_keys_are_encrypted(folder, secret):
    pki.prepare(folder, HOSTS, datetime.now(UTC), key_file=secret)
    take_over(folder, secret)
    found = [*folder.glob("issuing.key"), *folder.glob("former/*.key")]
    assert len(found) == 2
    assert all(b"ENCRYPTED" in path.read_bytes() for path in found)
    assert len(issuers.load(folder, secret)) == 2


@pytest.mark.parametrize("change", [take_over, distrust])
def test_the_power_may_go_at_any_write(folder, tmp_path, now, monkeypatch, change):
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    complete().create_all(engine)
    sessions = sessionmaker(engine)
    if change is distrust:
        take_over(folder)
    real = {name: getattr(os, name) for name in ("replace", "unlink")}
    for cut in itertools.count():
        place = tmp_path / f"cut-{cut}"
        shutil.copytree(folder, place)
        left = cut

        def limited(name, *words, **more):
            nonlocal left
            if left == 0:
                raise PowerCut
            left -= 1
            return real[name](*words, **more)

        with monkeypatch.context() as patched:
            for name in real:
                patched.setattr(os, name, partial(limited, name))
            try:
                change(place)
            except PowerCut:
                done = False
            else:
                done = True
        signer = pki.load(place)
        assert signer.key.public_key() == signer.certificate.public_key()
        Revocations(sessions, place).publish(now())
        if not done:
            change(place)
        known = issuers.read(place)
        assert names(known.trusted) == (NAMES if change is take_over else NAMES[:1]), cut
        assert verified(place, device(pki.load(place))), cut
        assert [issuer_id(each) for each in pki.revocations(place)] == [
            key_id(each) for each in known.trusted
        ]
        assert not list(place.glob("next.*")), cut
        if done:
            break
    engine.dispose()
    assert cut > 5


def test_each_list_names_what_its_own_authority_has_signed(folder, sessions, desk, now):
    old = device(desk.issuer)
    take_over(folder)
    new = device(pki.load(folder))
    with sessions.begin() as session:
        registry.register(session, NAME, "kiosk", "Dardania", now())
        for each in (old, new):
            members.record(session, each, NAME, "token", now())
        members.revoke(session, NAME, "operator", now())
    listed = Revocations(sessions, folder)
    assert listed.publish(now())
    assert not listed.publish(now()), "nothing has changed since"
    of_new, of_old = pki.revocations(folder)
    assert [issuer_id(of_new), issuer_id(of_old)] == [issuer_id(new), issuer_id(old)]
    assert new.serial_number in {each.serial_number for each in of_new}
    assert [each.serial_number for each in of_old] == [old.serial_number]
    assert of_old.is_signature_valid(desk.issuer.certificate.public_key())
    assert not verified(folder, old)
    assert not verified(folder, new)
    canary = listed.canary(now())
    assert x509.load_pem_x509_certificates(canary.certificates)[1] == issuers.read(folder).present


def test_whom_the_root_has_revoked_nobody_trusts_and_no_key_of_it_is_left(folder):
    before = pki.load(folder)
    old = device(before)
    take_over(folder)
    assert names(distrust(folder)) == NAMES[1:]
    assert distrust(folder) == ()
    known = issuers.read(folder)
    assert (names(known.trusted), names(known.distrusted)) == (NAMES[:1], NAMES[1:])
    assert list((folder / "former").iterdir()) == []
    listed = x509.load_pem_x509_crl((folder / "root-crl.pem").read_bytes())
    assert [each.serial_number for each in listed] == [before.certificate.serial_number]
    assert not verified(folder, old)
    assert verified(folder, device(pki.load(folder)))
    first(folder / "seal.pem").verify_directly_issued_by(known.present)
    assert before.certificate not in x509.load_pem_x509_certificates(
        (folder / "authorities.pem").read_bytes()
    )
    assert before.certificate in x509.load_pem_x509_certificates(issuers.renewable(folder).read_bytes())


def test_another_roots_key_is_not_taken(folder, tmp_path):
    keys.write(tmp_path / "root.key", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SettingsError, match="is not the key of the root"):
        succession.root_authority(folder, tmp_path / "root.key")
    with pytest.raises(SettingsError, match="No such file"):
        succession.root_authority(folder, tmp_path / "none.key")


def test_where_one_authority_is_everything_nobody_can_replace_it(tmp_path):
    old = authority.found("Civic Fleet Authority", datetime.now(UTC))
    keys.write(tmp_path / "ca.key", old.key)
    with pytest.raises(SettingsError, match="begin with a new data_dir"):
        succession.root_authority(tmp_path, tmp_path / "ca.key")


def test_there_are_not_more_than_a_broker_can_be_asked_to_read(folder, monkeypatch):
    monkeypatch.setattr(succession, "FORMER_MAX", 1)
    take_over(folder)
    with pytest.raises(SettingsError, match="distrust-issuers"):
        take_over(folder)


def test_a_broker_that_runs_knows_the_next_one_when_it_was_started_again(
    folder, broker_settings, sessions, tmp_path, now
):
    """The lists are read again without that; authorities, in mosquitto 2.0.11, are not."""
    before = pki.load(folder)
    certificate = make_client(before, folder, NAME)
    with hardened(broker_settings, folder, tmp_path / "broker") as broker:
        assert broker.publish(NAME, OWN).returncode == 0
        take_over(folder)
        make_client(pki.load(folder), folder, OTHER)
        canary = Revocations(sessions, folder).canary(now())
        door = DoorMqtt(broker_settings, folder, before, now)
        assert not door.refuses(canary), "it has no list of the next one yet"
        broker.read_revocations()
        assert door.refuses(canary)
        assert broker.publish(NAME, OWN).returncode == 0
        assert broker.publish(OTHER, OTHERS).returncode != 0
        assert broker.publish("svc-control", TO_OTHER).returncode == 0, "it shows who has signed it"
    with sessions.begin() as session:
        registry.register(session, NAME, "kiosk", "Dardania", now())
        members.record(session, certificate, NAME, "token", now())
    with hardened(broker_settings, folder, tmp_path / "broker") as broker:
        assert broker.publish(NAME, OWN).returncode == 0
        assert broker.publish(OTHER, OTHERS).returncode == 0
        with sessions.begin() as session:
            members.revoke(session, NAME, "operator", now())
        assert Revocations(sessions, folder).publish(now())
        broker.read_revocations()
        assert broker.publish(NAME, OWN).returncode != 0, "the list of the one before counts"
        assert broker.publish(OTHER, OTHERS).returncode == 0


def test_a_broker_takes_nobody_whom_it_shall_not_trust_whatever_he_shows(
    folder, broker_settings, tmp_path, now
):
    before = pki.load(folder)
    take_over(folder)
    make_client(pki.load(folder), folder, OTHER)
    distrust(folder)
    make_client(before, folder, NAME)  # the thief has the key, and the database does not know what he makes
    with hardened(broker_settings, folder, tmp_path / "broker") as broker:
        assert broker.publish(OTHER, OTHERS).returncode == 0
        assert broker.publish(NAME, OWN).returncode != 0
        with (folder / f"{NAME}.pem").open("ab") as file:
            file.write(issuers.pem([before.certificate]))
        assert broker.publish(NAME, OWN).returncode != 0


def test_who_has_a_certificate_of_one_that_is_trusted_no_more_may_renew_and_nothing_else(
    bootstrap_port, technician, token, folder, sessions, listen, now
):
    old = technician.enrol(bootstrap_port, token)
    take_over(folder)
    distrust(folder)
    desk = Desk(pki.load(folder), sessions, now)
    renewals = build("bootstrap", [est.router(desk, folder)])
    service = build("device", [guard.device_router(sessions, now=now)])
    guard.protect(service, sessions, now=now)
    known = issuers.renewable(folder)
    bootstrap = listen(
        listener.over_tls(
            renewals, "127.0.0.1", 0, pki=folder, client="optional", authorities=known, expired=True
        )
    )
    devices = listen(listener.over_tls(service, "127.0.0.1", 0, pki=folder, client="required"))
    shown = ("--cert", str(old), "--key", "key.pem")
    assert technician.alert(devices, PROVEN_PATH, *shown) == "unknown ca"
    answer = technician.est(bootstrap, "simplereenroll", *shown, data=technician.request(NAME, key="new.pem"))
    new = first(technician.keep(answer, "new-cert.pem"))
    new.verify_directly_issued_by(issuers.read(folder).present)
    shown = ("--cert", "new-cert.pem", "--key", "new.pem")
    assert technician.curl(devices, PROVEN_PATH, *shown, data=b"").status == 204


def test_what_was_signed_before_is_not_given_again(desk, folder, token, sessions, now, technician):
    """A lost answer is repeated, but not with a certificate whose authority `cacerts` does not name."""
    body = technician.request(NAME)
    old = desk.enrol(NAME, token, body)
    assert desk.enrol(NAME, token, body) == old
    take_over(folder)
    new = Desk(pki.load(folder), sessions, now).enrol(NAME, token, body)
    new.verify_directly_issued_by(issuers.read(folder).present)
    assert new.public_key() == old.public_key()
