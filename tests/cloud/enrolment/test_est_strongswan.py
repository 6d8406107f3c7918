"""EST with strongSwan's `pki`, a client that nobody here wrote."""

import shutil
import subprocess

import pytest
import sqlalchemy as sa
from cryptography import x509

from cloud.database.models.enrolment import DeviceCertificate
from tests.cloud.enrolment.conftest import NAME


@pytest.fixture
def swan(tmp_path, folder):
    assert shutil.which("pki"), (
        "pki is missing: apt-get install strongswan-pki libstrongswan-standard-plugins "
        "libstrongswan-extra-plugins"
    )
    place = tmp_path / "swan"
    place.mkdir()

    def run(*words, data=None, ends_with=0):
        done = subprocess.run(["pki", *words], cwd=place, input=data, capture_output=True, timeout=60)
        assert done.returncode == ends_with, done.stderr.decode()
        return done.stdout

    run.folder = place
    run.ca = str(folder / "ca.pem")
    return run


def request(swan, key, name=NAME):
    made = swan("--gen", "--type", "ecdsa", "--size", "256", "--outform", "pem")
    (swan.folder / key).write_bytes(made)
    csr = swan("--req", "--type", "priv", "--in", key, "--dn", f"CN={name}", "--outform", "der")
    (swan.folder / "csr").write_bytes(csr)


def test_it_gets_both_authorities(swan, bootstrap_port, folder):
    url = f"https://localhost:{bootstrap_port}"
    swan("--estca", "--url", url, "--cacert", swan.ca, "--caout", "got", "--outform", "pem")
    got = {x509.load_pem_x509_certificate(path.read_bytes()) for path in swan.folder.glob("got*")}
    assert got == set(x509.load_pem_x509_certificates((folder / "authorities.pem").read_bytes()))


def test_it_enrols_and_renews(swan, bootstrap_port, token, sessions):
    url = f"https://localhost:{bootstrap_port}"
    trust = ("--url", url, "--cacert", swan.ca, "--in", "csr", "--outform", "pem")
    request(swan, "key.pem")
    first = swan("--est", *trust, "--userpass", f"{NAME}:{token}")
    (swan.folder / "cert.pem").write_bytes(first)
    request(swan, "next.pem")
    renewed = swan("--est", *trust, "--cert", "cert.pem", "--key", "key.pem")
    serials = {x509.load_pem_x509_certificate(pem).serial_number for pem in (first, renewed)}
    with sessions() as session:
        rows = session.scalars(sa.select(DeviceCertificate)).all()
    assert {int(row.serial, 16) for row in rows} == serials
    assert sorted(row.by for row in rows) == ["renewal", "token"]


def test_it_is_refused_with_a_wrong_token(swan, bootstrap_port, token):
    request(swan, "key.pem")
    url = f"https://localhost:{bootstrap_port}"
    words = ("--est", "--url", url, "--cacert", swan.ca, "--in", "csr", "--userpass", f"{NAME}:wrong")
    swan(*words, ends_with=1)
