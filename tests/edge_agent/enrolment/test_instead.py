"""The broker has refused the next certificate: what is asked for in its place, and what is kept meanwhile."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from edge_agent.enrolment.attempt import attempt, renew
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.link.identity import Identity, Wallet, mutual
from edge_agent.link.membership import membership
from edge_agent.settings import Broker, Cloud, Settings
from tests.edge_agent.authority import Authority
from tests.edge_agent.control_plane import ControlPlane, control_plane

DEVICE = "kiosk-001"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def plane(tmp_path: Path, authority: Authority) -> Iterator[ControlPlane]:
    with control_plane(tmp_path / "plane", authority) as plane:
        plane.tokens[DEVICE] = "secret"
        yield plane


@pytest.fixture
def settings(tmp_path: Path, plane: ControlPlane) -> Settings:
    (tmp_path / "token").write_text("secret\n")
    trusted = tmp_path / "plane" / "ca.pem"
    return Settings(
        device=DEVICE,
        kind="kiosk",
        site="center",
        data_dir=tmp_path / "data",
        token_file=tmp_path / "token",
        broker=Broker(host="localhost"),
        cloud=Cloud(bootstrap_url=plane.url, device_url=plane.url, ca_file=trusted, timeout_s=5),
    )


@pytest.fixture
def wallet(settings: Settings) -> Wallet:
    """Of a device that was enrolled, and has its next certificate."""
    found = membership(settings, lambda: int(time.time() * 1000)).wallet
    attempt(settings, found)
    renew(settings, found)
    return found


def serial(who: Identity) -> int:
    return x509.load_pem_x509_certificate(who.certificate.read_bytes()).serial_number


def test_the_next_one_is_there_and_nothing_is_asked(settings: Settings, wallet: Wallet) -> None:
    before = serial(wallet.spare)
    renew(settings, wallet)
    assert serial(wallet.spare) == before


def test_the_present_one_gets_another_with_another_key(settings: Settings, wallet: Wallet) -> None:
    before, key = serial(wallet.spare), wallet.spare.key.read_bytes()
    renew(settings, wallet, instead=True)
    assert serial(wallet.spare) != before
    assert wallet.spare.key.read_bytes() != key
    mutual(wallet.spare)


def test_one_that_was_proven_gets_a_younger_one_where_the_present_one_is_replaced(
    settings: Settings, wallet: Wallet, plane: ControlPlane
) -> None:
    plane.replaced.add(serial(wallet.current))
    before, key = serial(wallet.spare), wallet.spare.key.read_bytes()
    renew(settings, wallet, instead=True)
    assert serial(wallet.spare) != before
    assert wallet.spare.key.read_bytes() == key
    mutual(wallet.spare)


def test_nothing_is_removed_as_long_as_nothing_is_given(
    settings: Settings, wallet: Wallet, plane: ControlPlane
) -> None:
    plane.replaced |= {serial(wallet.current), serial(wallet.spare)}
    before = serial(wallet.current), serial(wallet.spare)
    with pytest.raises(RefusedError, match="the next certificate is no help"):
        renew(settings, wallet, instead=True)
    assert (serial(wallet.current), serial(wallet.spare)) == before
    plane.replaced.discard(before[1])
    renew(settings, wallet, instead=True)
    assert serial(wallet.spare) != before[1]


def test_a_busy_control_plane_is_no_refusal_of_the_next_one(
    settings: Settings, wallet: Wallet, plane: ControlPlane
) -> None:
    plane.replaced.add(serial(wallet.current))
    plane.busy, plane.retry_after = 1, "7"
    with pytest.raises(UnavailableError) as busy:
        renew(settings, wallet, instead=True)
    assert busy.value.after_s == 7
    before = serial(wallet.spare)
    renew(settings, wallet, instead=True)
    assert serial(wallet.spare) != before


def test_a_foreign_one_is_no_reason_to_wait_for_the_network(
    settings: Settings, wallet: Wallet, plane: ControlPlane
) -> None:
    """TLS itself refuses it, which looks like a server that does not answer."""
    wallet.clear_spare()
    plane.issuer = Authority()
    renew(settings, wallet)
    plane.issuer = plane.authority
    plane.replaced.add(serial(wallet.current))
    with pytest.raises(RefusedError, match="the next certificate is no help"):
        renew(settings, wallet, instead=True)
    plane.replaced.clear()
    renew(settings, wallet, instead=True)
    mutual(wallet.spare)


def test_a_token_is_taken_where_no_certificate_is(
    settings: Settings, wallet: Wallet, plane: ControlPlane
) -> None:
    plane.replaced |= {serial(wallet.current), serial(wallet.spare)}
    plane.tokens[DEVICE] = "another"
    assert settings.token_file is not None
    settings.token_file.write_text("another")
    renew(settings, wallet, instead=True)
    assert serial(wallet.spare) not in plane.replaced
    assert not settings.token_file.exists()
    mutual(wallet.spare)
