"""The download, from a real repository over mutual TLS: what is not to be trusted is refused."""

import json
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from contract.updates import UpdateCode
from edge_agent.errors import SettingsError, UnavailableError
from edge_agent.settings import Settings, load
from edge_agent.updates import fetch
from edge_agent.updates.fetch import TargetRefusedError
from firmware_tools.repository import Repository, make_key, make_keys
from tests.edge_agent.authority import Authority

PATH = "agent/agent-2.0.0.zip"
BYTES = b"a release" * 1000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        """Nobody reads it."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix("/tuf"))


class Place:
    """A published repository, served; and a device that trusts its first root."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        make_keys(folder / "keys")
        opened = self.open()
        opened.create()
        self.add(opened, PATH, BYTES, "2.0.0")
        opened.publish()
        root = folder / "root.json"
        shutil.copy(self.repository / "metadata" / "1.root.json", root)
        self.file = folder / "agent.toml"
        self.file.write_text(
            f'device = "kiosk-1"\nkind = "kiosk"\nsite = "x"\ndata_dir = "{folder / "data"}"\n'
            '[broker]\nhost = "localhost"\n'
            f'[cloud]\nbootstrap_url = "x"\ndevice_url = "https://localhost:{port}"\n'
            f'ca_file = "{folder / "ca.pem"}"\n[updates]\nroot_file = "{root}"\n'
        )

    @property
    def settings(self) -> Settings:
        return load(self.file, {})

    def open(self, now: datetime | None = None) -> Repository:
        return Repository(self.repository, self.folder / "keys", now or datetime.now(UTC))

    def change(
        self, do: Callable[[Repository], None], *, now: datetime | None = None, **how: tuple[str]
    ) -> None:
        opened = self.open(now)
        opened.load()
        do(opened)
        opened.publish(**how)

    def add(self, opened: Repository, path: str, content: bytes, version: str) -> None:
        file = self.folder / "file"
        file.write_bytes(content)
        opened.add(path, file, version)

    @property
    def stored(self) -> Path:
        (found,) = (self.repository / "targets" / "agent").iterdir()
        return found

    def fetch(self, path: str = PATH) -> dict[str, object]:
        return fetch.fetch(self.settings, path)

    def refused(self, path: str = PATH) -> UpdateCode:
        with pytest.raises(TargetRefusedError) as caught:
            self.fetch(path)
        assert str(caught.value).count(";") == 1, "what is wrong; what to do"
        return caught.value.code


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    authority = Authority()
    pem, key = authority.write_server(tmp_path, "server")
    authority.write_device(tmp_path / "data" / "pki", "kiosk-1")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "repository")))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Place(tmp_path, server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_signed_target_comes_whole_and_is_there_the_next_time(place: Place) -> None:
    told = place.fetch()
    assert Path(str(told["image"])).read_bytes() == BYTES
    place.stored.write_bytes(b"nobody asks for it again")
    assert place.fetch() == told


def test_the_next_download_takes_the_place_of_the_one_before(place: Place) -> None:
    first = place.fetch()
    place.change(lambda opened: place.add(opened, "agent/agent-3.0.0.zip", b"newer", "3.0.0"))
    second = place.fetch("agent/agent-3.0.0.zip")
    assert Path(str(second["image"])).read_bytes() == b"newer"
    assert not Path(str(first["image"])).exists()


def test_an_unknown_target_is_refused(place: Place) -> None:
    assert place.refused("agent/nothing.zip") == UpdateCode.UNKNOWN_TARGET


def test_tampered_bytes_are_refused_and_not_kept(place: Place) -> None:
    place.stored.write_bytes(b"b" + BYTES[1:])
    assert place.refused() == UpdateCode.TARGET_TAMPERED
    assert not [path for path in (place.folder / "data" / "tuf" / "images").rglob("*") if path.is_file()]


def test_endless_bytes_are_refused(place: Place) -> None:
    place.stored.write_bytes(BYTES * 3)
    assert place.refused() == UpdateCode.TARGET_TOO_LARGE


def test_expired_metadata_is_refused(place: Place) -> None:
    place.change(lambda opened: None, now=datetime.now(UTC) - timedelta(days=30))
    assert place.refused() == UpdateCode.METADATA_EXPIRED


def test_metadata_that_is_rolled_back_is_refused(place: Place) -> None:
    old = place.folder / "old"
    shutil.copytree(place.repository, old)
    place.change(lambda opened: opened.renew("agent"))
    place.fetch()
    shutil.rmtree(place.repository)
    shutil.copytree(old, place.repository)
    assert place.refused() == UpdateCode.METADATA_ROLLED_BACK


@pytest.mark.parametrize("left_out", ["agent-1", "targets-2", "snapshot-1", "timestamp-1"])
def test_too_few_signatures_are_refused_and_healed_by_more(place: Place, left_out: str) -> None:
    role = left_out.split("-")[0]
    delegated = role if role in ("agent", "targets") else "agent"
    place.change(lambda opened: opened.renew(delegated), leave_out=(left_out,))
    assert place.refused() == UpdateCode.METADATA_UNDER_SIGNED
    place.change(lambda opened: opened.renew(delegated))
    assert place.fetch()["image"]


def test_another_roles_key_does_not_vouch_for_an_agent(place: Place) -> None:
    shutil.copy(place.folder / "keys" / "firmware-1.pem", place.folder / "keys" / "agent-1.pem")
    place.change(lambda opened: opened.renew("agent"))
    assert place.refused() == UpdateCode.METADATA_UNDER_SIGNED


def test_a_mixed_up_snapshot_is_refused(place: Place) -> None:
    place.change(lambda opened: opened.renew("agent"))
    metadata = place.repository / "metadata"
    shutil.copy(metadata / "1.snapshot.json", metadata / "2.snapshot.json")
    assert place.refused() == UpdateCode.METADATA_BROKEN


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"x" * 100_000])
def test_a_timestamp_that_is_none_is_refused(place: Place, content: bytes) -> None:
    (place.repository / "metadata" / "timestamp.json").write_bytes(content)
    assert place.refused() == UpdateCode.METADATA_BROKEN


def test_a_rotated_root_is_followed_and_a_foreign_one_is_not(place: Place) -> None:
    make_key(place.folder / "keys", "root-4")
    place.change(lambda opened: opened.rotate_root("root-1", "root-4"))
    assert place.fetch()["image"]
    make_keys(place.folder / "foreign")
    foreign = Repository(place.folder / "other", place.folder / "foreign", datetime.now(UTC))
    foreign.create()
    foreign.publish()
    shutil.copy(
        place.folder / "other" / "metadata" / "1.root.json",
        place.repository / "metadata" / "3.root.json",
    )
    assert place.refused() in (UpdateCode.METADATA_ROLLED_BACK, UpdateCode.METADATA_UNDER_SIGNED)


def test_a_repository_that_is_away_is_no_refusal(place: Place) -> None:
    place.file.write_text(place.file.read_text().replace("https://localhost:", "https://localhost:1"))
    with pytest.raises((UnavailableError, SettingsError)):
        place.fetch()


def test_a_device_without_a_root_says_so(place: Place) -> None:
    place.file.write_text(place.file.read_text().split("[updates]")[0])
    with pytest.raises(SettingsError, match="root_file"):
        place.fetch()


def test_the_child_answers_one_line(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    import sys
    from unittest.mock import patch

    with patch.object(sys, "argv", ["fetch", "--settings", str(place.file), PATH]):
        assert fetch.main() == 0
    assert set(json.loads(capsys.readouterr().out)) == {"image", "sha256"}
    place.stored.unlink()
    with patch.object(sys, "argv", ["fetch", "--settings", str(place.file), "agent/other.zip"]):
        assert fetch.main() == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["code"], told["again"]) == ("unknown-target", False)
