"""The folder of keys: what is made, how it is kept, and that making it again changes nothing."""

import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from cloud.enrolment import pki
from cloud.errors import SettingsError

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOSTS = ["localhost", "127.0.0.1"]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_everything_that_the_city_needs_is_made(tmp_path):
    folder = tmp_path / "pki"
    pki.prepare(folder, HOSTS, NOW)
    names = ["broker", "ca", "seal", "server", "svc-control", "svc-ingest"]
    expected = sorted([f"{name}.{end}" for name in names for end in ("key", "pem")] + ["crl.pem"])
    assert sorted(contents(folder)) == expected
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.key")} == {0o600}
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    for path in folder.glob("*.pem"):
        if path.name not in ("ca.pem", "crl.pem"):
            x509.load_pem_x509_certificate(path.read_bytes()).verify_directly_issued_by(authority)
    seal = x509.load_pem_x509_certificate((folder / "seal.pem").read_bytes())
    usage = seal.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.content_commitment) == (True, True)


def test_making_it_again_changes_nothing(tmp_path):
    folder = tmp_path / "pki"
    pki.prepare(folder, HOSTS, NOW)
    before = contents(folder)
    pki.prepare(folder, HOSTS, NOW + timedelta(days=100))
    assert contents(folder) == before


def test_what_ends_soon_or_names_other_hosts_is_made_anew(tmp_path):
    folder = tmp_path / "pki"
    pki.prepare(folder, HOSTS, NOW)
    before = contents(folder)
    pki.prepare(folder, [*HOSTS, "fleet.example"], NOW)
    changed = {name for name, data in contents(folder).items() if before[name] != data}
    assert changed == {"server.pem", "server.key", "broker.pem", "broker.key"}
    before = contents(folder)
    pki.prepare(folder, [*HOSTS, "fleet.example"], NOW + timedelta(days=340))
    changed = {name for name, data in contents(folder).items() if before[name] != data}
    assert {"svc-control.pem", "svc-ingest.pem", "server.pem", "broker.pem"} <= changed
    assert not {"ca.pem", "ca.key", "seal.pem"} & changed


def test_a_broken_file_is_named(tmp_path):
    folder = tmp_path / "pki"
    pki.prepare(folder, HOSTS, NOW)
    (folder / "ca.key").write_text("nonsense")
    with pytest.raises(SettingsError, match=r"ca\.key"):
        pki.load(folder)
