"""HTTPS with the device's certificate."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.errors import MalformedError, SettingsError, UnavailableError
from edge_agent.link import https
from edge_agent.link.https import DeviceHttps
from edge_agent.link.identity import Identity, identity
from tests.edge_agent.authority import Authority
from tests.edge_agent.broker import free_port
from tests.edge_agent.control_plane import ControlPlane, control_plane


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def plane(tmp_path: Path, authority: Authority) -> Iterator[ControlPlane]:
    with control_plane(tmp_path / "plane", authority) as plane:
        yield plane


@pytest.fixture
def who(tmp_path: Path, plane: ControlPlane, authority: Authority) -> Identity:
    authority.write_device(tmp_path / "data" / "pki", "kiosk-001")
    return identity(tmp_path / "data", tmp_path / "plane" / "ca.pem")


async def test_the_other_side_sees_the_device(plane: ControlPlane, who: Identity) -> None:
    answer = await DeviceHttps(plane.url, who, 5).request("GET", "/whoami")
    assert (answer.status, answer.body) == (200, b"kiosk-001")
    assert answer.headers["content-type"] == "text/plain"


async def test_an_answer_is_given_back_whatever_its_status(plane: ControlPlane, who: Identity) -> None:
    assert (await DeviceHttps(plane.url, who, 5).request("GET", "/nothing")).status == 404


async def test_the_clocks_are_compared(plane: ControlPlane, who: Identity) -> None:
    client = DeviceHttps(plane.url, who, 5)
    assert client.clock_skew_ms is None
    await client.request("HEAD", "/")
    assert client.clock_skew_ms is not None
    assert abs(client.clock_skew_ms) < 2000


async def test_a_large_answer_is_refused(
    plane: ControlPlane, who: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "ANSWER_BYTES_MAX", 1_000_000)
    with pytest.raises(MalformedError, match="more than 1000000 bytes"):
        await DeviceHttps(plane.url, who, 5).request("GET", "/large")


async def test_nobody_there_is_unavailable(who: Identity) -> None:
    with pytest.raises(UnavailableError, match="refused"):
        await DeviceHttps(f"https://localhost:{free_port()}", who, 5).request("GET", "/")


async def test_a_stranger_is_not_spoken_to(plane: ControlPlane, who: Identity, tmp_path: Path) -> None:
    rogue = tmp_path / "rogue.pem"
    rogue.write_bytes(Authority("Rogue").pem)
    stranger = replace(who, trusted=rogue)
    with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        await DeviceHttps(plane.url, stranger, 5).request("GET", "/whoami")
    assert plane.requests == []


@pytest.mark.parametrize("url", ["http://localhost:1", "localhost", "https://"])
async def test_only_https_is_spoken(who: Identity, url: str) -> None:
    with pytest.raises(SettingsError, match="https://host:port"):
        await DeviceHttps(url, who, 5).request("GET", "/")


async def test_without_a_certificate_nothing_is_asked(plane: ControlPlane, tmp_path: Path) -> None:
    who = identity(tmp_path / "empty", tmp_path / "plane" / "ca.pem")
    with pytest.raises(SettingsError, match="enrol again"):
        await DeviceHttps(plane.url, who, 5).request("GET", "/whoami")
