"""The folder of keys: what is made, how it is kept, and that making it again changes nothing."""

import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from cloud.enrolment import authority, keys, pki
from cloud.errors import SettingsError

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOSTS = ["localhost", "127.0.0.1"]
LEAVES = ["broker", "seal", "server", "svc-broker", "svc-control", "svc-ingest"]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def first(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "pki"
    pki.prepare(made, HOSTS, NOW)
    return made


@pytest.fixture
def secret(tmp_path):
    made = tmp_path / "secret"
    made.write_text("0123456789abcdef0123456789abcdef\n")
    made.chmod(0o600)
    return made


def test_everything_that_the_city_needs_is_made(folder):
    pairs = [f"{name}.{end}" for name in [*LEAVES, "issuing", "root/root"] for end in ("key", "pem")]
    assert sorted(contents(folder)) == sorted(
        [*pairs, "ca.pem", "authorities.pem", "crl.pem", "root-crl.pem"]
    )
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "root")} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*.key")} == {0o600}
    root, issuing = first(folder / "ca.pem"), first(folder / "issuing.pem")
    root.verify_directly_issued_by(root)
    issuing.verify_directly_issued_by(root)
    for name in LEAVES:
        first(folder / f"{name}.pem").verify_directly_issued_by(issuing)
    usage = first(folder / "seal.pem").extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.content_commitment) == (True, True)


def test_the_root_signs_one_authority_and_that_one_no_other(folder):
    lengths = [
        first(folder / name).extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        for name in ("ca.pem", "issuing.pem")
    ]
    assert lengths == [1, 0]


def test_openssl_takes_what_is_shown_with_the_root_alone_and_the_lists(tmp_path):
    folder = tmp_path / "pki"
    pki.prepare(folder, HOSTS, datetime.now(UTC))
    assert shutil.which("openssl"), "openssl is missing: apt-get install openssl"
    (folder / "lists.pem").write_bytes(pki.published_revocations(folder))
    for name in ("server", "svc-control"):
        told = subprocess.run(
            [
                *("openssl", "verify", "-x509_strict", "-CAfile", "ca.pem", "-untrusted", f"{name}.pem"),
                *("-crl_check_all", "-CRLfile", "lists.pem", f"{name}.pem"),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert told.stdout == f"{name}.pem: OK\n", told.stderr


def test_making_it_again_changes_nothing(folder):
    before = contents(folder)
    pki.prepare(folder, HOSTS, NOW + timedelta(days=100))
    assert contents(folder) == before


def test_what_ends_soon_or_names_other_hosts_is_made_anew(folder):
    before = contents(folder)
    pki.prepare(folder, [*HOSTS, "fleet.example"], NOW)
    changed = {name for name, data in contents(folder).items() if before[name] != data}
    assert changed == {"server.pem", "server.key", "broker.pem", "broker.key"}
    before = contents(folder)
    pki.prepare(folder, [*HOSTS, "fleet.example"], NOW + timedelta(days=340))
    changed = {name for name, data in contents(folder).items() if before[name] != data}
    assert {"svc-control.pem", "svc-ingest.pem", "server.pem", "broker.pem"} <= changed
    assert not {"ca.pem", "issuing.pem", "issuing.key", "seal.pem"} & changed


def test_without_the_roots_key_everyday_work_goes_on(folder):
    shutil.rmtree(folder / "root")
    before = contents(folder)
    pki.prepare(folder, HOSTS, NOW + timedelta(days=340))
    after = contents(folder)
    assert after["ca.pem"] == before["ca.pem"]
    first(folder / "server.pem").verify_directly_issued_by(pki.load(folder).certificate)


def test_the_issuing_authority_is_renewed_in_time_with_the_root_and_what_it_signed_stays_good(folder, caplog):
    device = pki.load(folder).device(ec.generate_private_key(ec.SECP256R1()).public_key(), "a", "kiosk", NOW)
    later = NOW + authority.ISSUING_AGE - pki.ISSUING_RENEW_BEFORE
    shutil.move(folder / "root", folder.parent / "safe")
    before = (folder / "issuing.pem").read_bytes()
    pki.prepare(folder, HOSTS, later)
    assert caplog.messages == ["root_key_needed"]
    assert (folder / "issuing.pem").read_bytes() == before
    last = NOW + authority.ISSUING_AGE - pki.RENEW_BEFORE
    with pytest.raises(SettingsError, match=r"has 30 days left.*bring that folder back"):
        pki.prepare(folder, HOSTS, last)
    pki.prepare(folder, HOSTS, later, root=folder.parent / "safe")
    renewed = pki.load(folder)
    assert renewed.certificate.not_valid_after_utc == later + authority.ISSUING_AGE
    device.verify_directly_issued_by(renewed.certificate)
    shown = x509.load_pem_x509_certificates((folder / "server.pem").read_bytes())
    assert shown[1] == renewed.certificate


def test_nothing_outlives_its_authority(folder):
    issuer = pki.load(folder)
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    made = issuer.service(key, "svc-late", issuer.certificate.not_valid_after_utc - timedelta(days=1))
    assert made.not_valid_after_utc == issuer.certificate.not_valid_after_utc


def test_another_root_is_not_taken(folder, tmp_path):
    pki.prepare(tmp_path / "other", HOSTS, NOW)
    with pytest.raises(SettingsError, match="another root"):
        pki.prepare(folder, HOSTS, NOW, root=tmp_path / "other" / "root")


def test_a_root_that_was_kept_founds_the_same_fleet_again(folder, tmp_path):
    pki.prepare(tmp_path / "again", HOSTS, NOW, root=folder / "root")
    assert (tmp_path / "again" / "ca.pem").read_bytes() == (folder / "ca.pem").read_bytes()


def test_a_folder_with_one_authority_for_everything_goes_on(tmp_path, caplog):
    folder = tmp_path / "pki"
    folder.mkdir()
    old = authority.found("Civic Fleet Authority", NOW)
    keys.write(folder / "ca.key", old.key)
    (folder / "ca.pem").write_bytes(old.certificate.public_bytes(Encoding.PEM))
    pki.prepare(folder, HOSTS, NOW)
    assert pki.load(folder).chain == (old.certificate,)
    assert not (folder / "issuing.key").exists()
    first(folder / "server.pem").verify_directly_issued_by(old.certificate)
    assert (folder / "authorities.pem").read_bytes() == (folder / "ca.pem").read_bytes()
    assert "authority_has_one_level" in caplog.messages


def test_the_authorities_keys_are_encrypted_under_a_secret_also_later(folder, secret):
    issuer = pki.load(folder)
    pki.prepare(folder, HOSTS, NOW, key_file=secret)
    for path in (folder / "issuing.key", folder / "root" / "root.key"):
        assert b"ENCRYPTED" in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (
        pki.load(folder, secret).key.private_numbers().private_value
        == issuer.key.private_numbers().private_value
    )
    with pytest.raises(SettingsError, match="key_file"):
        pki.load(folder)
    before = contents(folder)
    pki.prepare(folder, HOSTS, NOW, key_file=secret)
    assert contents(folder) == before


def test_a_secret_that_others_can_read_or_that_is_short_or_wrong_is_refused(folder, secret):
    pki.prepare(folder, HOSTS, NOW, key_file=secret)
    secret.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        pki.load(folder, secret)
    secret.chmod(0o600)
    secret.write_text("fedcba9876543210fedcba9876543210")
    with pytest.raises(SettingsError, match="does not open it"):
        pki.load(folder, secret)
    secret.write_text("short")
    with pytest.raises(SettingsError, match="openssl rand"):
        pki.load(folder, secret)


def test_a_broken_file_is_named(folder):
    (folder / "issuing.key").write_text("nonsense")
    with pytest.raises(SettingsError, match=r"issuing\.key"):
        pki.load(folder)


def test_a_folder_of_an_earlier_release_says_what_to_do(folder):
    (folder / "authorities.pem").unlink()
    with pytest.raises(SettingsError, match="python -m cloud init"):
        pki.load(folder)
