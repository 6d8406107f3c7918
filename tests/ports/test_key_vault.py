"""One suite for the vault of keys: in memory, in a file of the device's own, in a file that is given."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from edge_agent.enrolment.keys import own_key
from edge_agent.errors import SettingsError
from edge_agent.link.identity import identity, mutual
from edge_agent.link.vault import SECRET_LENGTH_MIN, FileVault, KeyVault, MemoryVault
from tests.edge_agent.authority import Authority


@pytest.fixture(params=["memory", "own file", "given file"])
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> KeyVault:
    if request.param == "memory":
        return MemoryVault()
    if request.param == "given file":
        given = tmp_path / "given"
        given.write_text("0123456789abcdef" * 4 + "\n")
        given.chmod(0o600)
        return FileVault(given)
    return FileVault(tmp_path / "own" / "kek", own=True)


def test_the_secret_stays_the_same_and_is_long_enough(vault: KeyVault) -> None:
    vault.prepare()
    secret = vault.password()
    vault.prepare()
    assert vault.password() == secret
    assert len(secret) >= SECRET_LENGTH_MIN


def test_a_key_that_was_encrypted_with_it_is_opened_by_tls(vault: KeyVault, tmp_path: Path) -> None:
    vault.prepare()
    authority = Authority()
    who = identity(tmp_path / "data", tmp_path / "ca.pem")
    who = type(who)(who.key, who.certificate, who.trusted, vault)
    who.trusted.write_bytes(authority.pem)
    key = own_key(who.key, vault.password())
    who.certificate.write_bytes(authority.device(key.public_key(), "kiosk-001").public_bytes(Encoding.PEM))
    assert not who.plain
    assert b"ENCRYPTED" in who.key.read_bytes()
    mutual(who)


def test_a_vault_that_was_never_prepared_says_so(tmp_path: Path) -> None:
    for empty in (MemoryVault(), FileVault(tmp_path / "none"), FileVault(tmp_path / "own", own=True)):
        with pytest.raises(SettingsError, match="key-encryption key"):
            empty.password()


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o610, 0o666])
def test_a_secret_that_is_open_to_others_is_not_used(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "kek"
    path.write_text("x" * SECRET_LENGTH_MIN)
    path.chmod(mode)
    with pytest.raises(SettingsError, match=r"open to others.*chmod 600"):
        FileVault(path).password()


def test_a_credential_of_systemd_may_show_a_reading_group(tmp_path: Path) -> None:
    path = tmp_path / "kek"
    path.write_text("x" * SECRET_LENGTH_MIN)
    path.chmod(0o440)
    assert FileVault(path).password() == b"x" * SECRET_LENGTH_MIN


@pytest.mark.parametrize("content", ["", "short", "x" * 600, "ë" * 40])
def test_what_is_no_secret_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kek"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="characters of ASCII"):
        FileVault(path).password()
