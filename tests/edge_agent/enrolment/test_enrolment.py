"""Enrolment against a server with one-time tokens: nothing is lost, and a sentence says what to do."""

import json
import os
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from contract.enrolment import RETRY_AFTER_MAX_S
from edge_agent.enrolment import attempt as enrolment
from edge_agent.enrolment.child import ChildDesk
from edge_agent.errors import MalformedError, RefusedError, SettingsError, UnavailableError
from edge_agent.files import write_durably
from edge_agent.link.identity import identity, mutual
from edge_agent.link.membership import membership
from edge_agent.settings import Broker, Cloud, Settings
from tests.edge_agent.authority import Authority
from tests.edge_agent.broker import free_port
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
    return Settings(
        device=DEVICE,
        kind="kiosk",
        site="center",
        data_dir=tmp_path / "data",
        token_file=tmp_path / "token",
        broker=Broker(host="localhost"),
        cloud=Cloud(
            bootstrap_url=plane.url, device_url=plane.url, ca_file=tmp_path / "plane" / "ca.pem", timeout_s=5
        ),
    )


def attempt(settings: Settings) -> None:
    enrolment.attempt(settings, membership(settings, lambda: int(time.time() * 1000)).wallet)


def token_file(settings: Settings) -> Path:
    assert settings.token_file is not None
    return settings.token_file


def test_a_device_makes_its_key_and_gets_its_certificate(settings: Settings) -> None:
    attempt(settings)
    who = identity(settings.data_dir, settings.cloud.ca_file)
    assert who.complete
    assert isinstance(mutual(who), ssl.SSLContext)
    assert stat.S_IMODE(who.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(who.key.parent.stat().st_mode) == 0o700
    assert not token_file(settings).exists()


def test_a_member_asks_nothing(settings: Settings, plane: ControlPlane) -> None:
    attempt(settings)
    asked = len(plane.requests)
    token_file(settings).write_text("left over")
    attempt(settings)
    assert len(plane.requests) == asked
    assert not token_file(settings).exists()


@pytest.mark.parametrize("crash", ["before the request", "after the answer", "before the token is deleted"])
def test_a_crash_costs_nothing(
    settings: Settings, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    who = identity(settings.data_dir, settings.cloud.ca_file)

    def power_cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if crash == "before the request":
            patch.setattr("edge_agent.enrolment.est.EstClient.enrol", power_cut)
        elif crash == "after the answer":
            patch.setattr("edge_agent.enrolment.keys.issued", power_cut)
        else:
            patch.setattr("pathlib.Path.unlink", _only_new_files_are_unlinked)
        with pytest.raises(KeyboardInterrupt):
            attempt(settings)
    key = who.key.read_bytes()
    assert token_file(settings).exists()
    plane.tokens[DEVICE] = "secret"  # a token that was used up by the crash is issued anew by an operator
    attempt(settings)
    assert who.key.read_bytes() == key
    assert who.complete
    assert not token_file(settings).exists()


def _only_new_files_are_unlinked(path: Path, missing_ok: bool = False) -> None:
    if path.suffix != ".new":
        raise KeyboardInterrupt
    if path.exists():
        os.unlink(path)  # noqa: PTH108 Path.unlink is what this stands in for


def test_a_key_that_was_half_written_is_made_anew(settings: Settings) -> None:
    who = identity(settings.data_dir, settings.cloud.ca_file)
    who.key.parent.mkdir(parents=True)
    who.key.write_text("-----BEGIN PRIVATE")
    attempt(settings)
    assert isinstance(mutual(who), ssl.SSLContext)


def test_a_wrong_token_is_refused_with_what_to_do(settings: Settings) -> None:
    token_file(settings).write_text("wrong")
    with pytest.raises(RefusedError, match=r"was used, or is too old.*enrol-token"):
        attempt(settings)
    assert token_file(settings).exists()
    assert not identity(settings.data_dir, settings.cloud.ca_file).complete


def test_a_token_serves_one_device_once(settings: Settings, tmp_path: Path) -> None:
    attempt(settings)
    again = tmp_path / "again"
    again.write_text("secret")
    twin = _replace(settings, data_dir=tmp_path / "other", token_file=again)
    with pytest.raises(RefusedError, match="was used"):
        attempt(twin)


@pytest.mark.parametrize("text", ["", "  \n", "a:b", "x" * 600, "tab\tin it"])
def test_what_is_no_token_is_not_even_sent(settings: Settings, plane: ControlPlane, text: str) -> None:
    token_file(settings).write_text(text)
    with pytest.raises(RefusedError, match="token"):
        attempt(settings)
    assert plane.requests == []


def test_without_a_token_file_a_sentence_says_so(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="no token_file"):
        attempt(_replace(settings, token_file=None))


def test_nobody_there_is_unavailable(settings: Settings) -> None:
    away = f"https://localhost:{free_port()}"
    with pytest.raises(UnavailableError, match="does not answer"):
        attempt(_replace(settings, cloud=_replace_cloud(settings.cloud, bootstrap_url=away)))
    assert token_file(settings).exists()


def test_a_busy_control_plane_is_unavailable(settings: Settings, plane: ControlPlane) -> None:
    plane.busy = 1
    with pytest.raises(UnavailableError, match="503"):
        attempt(settings)
    attempt(settings)


@pytest.mark.parametrize(
    ("told", "after_s"),
    [
        (None, 0),
        ("30", 30),
        (" 5 ", 5),
        ("99999999999999999999", RETRY_AFTER_MAX_S),
        ("Fri, 27 Nov 2026 17:00:40 GMT", 40),
        ("Fri, 27 Nov 2026 16:00:00 GMT", 0),
        ("-5", 0),
        ("soon", 0),
    ],
)
def test_a_busy_control_plane_says_when_to_ask_again(
    settings: Settings, plane: ControlPlane, told: str | None, after_s: float
) -> None:
    plane.busy, plane.retry_after, plane.date = 1, told, "Fri, 27 Nov 2026 17:00:00 GMT"
    with pytest.raises(UnavailableError) as busy:
        attempt(settings)
    assert busy.value.after_s == after_s


def test_a_first_enrolment_waits_as_long_as_it_is_told(
    settings: Settings, plane: ControlPlane, tmp_path: Path
) -> None:
    plane.busy, plane.retry_after = 1, "600"
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_agent.enrolment", "--settings", str(written(settings, tmp_path))],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stderr is not None
        failed = next(told for told in map(json.loads, process.stderr) if told["event"] == "enrolment_failed")
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert 590 < failed["retry_in_s"] < 650


async def test_a_running_agent_hears_when_to_ask_again(
    settings: Settings, plane: ControlPlane, tmp_path: Path
) -> None:
    attempt(settings)
    plane.busy, plane.retry_after = 1, "30"
    with pytest.raises(UnavailableError, match="503") as busy:
        await ChildDesk(written(settings, tmp_path)).renew(instead=False)
    assert busy.value.after_s == 30


def test_a_stranger_is_not_told_the_token(settings: Settings, plane: ControlPlane, tmp_path: Path) -> None:
    rogue = tmp_path / "rogue.pem"
    rogue.write_bytes(Authority("Rogue").pem)
    with pytest.raises(RefusedError, match="does not vouch for"):
        attempt(_replace(settings, cloud=_replace_cloud(settings.cloud, ca_file=rogue)))
    assert plane.requests == []


def test_a_missing_ca_file_is_a_sentence(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ca_file.*copy the fleet's ca\.pem"):
        attempt(_replace(settings, cloud=_replace_cloud(settings.cloud, ca_file=tmp_path / "none.pem")))


def test_a_certificate_for_somebody_else_is_not_kept(settings: Settings, plane: ControlPlane) -> None:
    plane.issue_for = "kiosk-002"
    with pytest.raises(MalformedError, match="no certificate for kiosk-001"):
        attempt(settings)
    assert not identity(settings.data_dir, settings.cloud.ca_file).complete
    assert token_file(settings).exists()


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    write_durably(tmp_path / "a" / "file", b"one")
    (tmp_path / "a" / "file.new").write_bytes(b"left over")
    write_durably(tmp_path / "a" / "file", b"two")
    assert (tmp_path / "a" / "file").read_bytes() == b"two"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


@pytest.mark.parametrize(("token", "code", "said"), [("secret", 0, ""), ("wrong", 77, "enrol-token")])
def test_the_program_tells_by_its_exit_code(
    settings: Settings, tmp_path: Path, token: str, code: int, said: str
) -> None:
    token_file(settings).write_text(token)
    file = written(settings, tmp_path)
    words = [sys.executable, "-m", "edge_agent.enrolment", "--once", "--settings", str(file)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
    assert "secret" not in ended.stderr


def written(settings: Settings, folder: Path) -> Path:
    """The settings as the program reads them."""
    file = folder / "agent.toml"
    file.write_text(
        f'device = "{DEVICE}"\nkind = "kiosk"\nsite = "center"\ndata_dir = "{settings.data_dir}"\n'
        f'token_file = "{settings.token_file}"\n[broker]\nhost = "localhost"\n[cloud]\n'
        f'bootstrap_url = "{settings.cloud.bootstrap_url}"\ndevice_url = "{settings.cloud.device_url}"\n'
        f'ca_file = "{settings.cloud.ca_file}"\n'
    )
    return file


def _replace(settings: Settings, **changes: object) -> Settings:
    return msgspec.structs.replace(settings, **changes)


def _replace_cloud(cloud: Cloud, **changes: object) -> Cloud:
    return msgspec.structs.replace(cloud, **changes)
