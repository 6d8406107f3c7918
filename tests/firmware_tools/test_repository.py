"""Keys, publishing, rotation, and the commands around them."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from firmware_tools.__main__ import main
from firmware_tools.errors import RefusedError
from firmware_tools.repository import EXPIRES_DAYS, KEYS, THRESHOLDS, Repository, make_key, make_keys

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture
def opened(tmp_path: Path) -> Repository:
    make_keys(tmp_path / "keys")
    repository = Repository(tmp_path / "repository", tmp_path / "keys", NOW)
    repository.create()
    repository.publish()
    return repository


def again(opened: Repository, now: datetime = NOW) -> Repository:
    repository = Repository(opened.folder, opened._keys, now)
    repository.load()
    return repository


def file(opened: Repository, content: bytes = b"release") -> Path:
    path = opened.folder.parent / "file"
    path.write_bytes(content)
    return path


def test_each_key_is_readable_by_its_owner_only_and_never_written_over(tmp_path: Path) -> None:
    made = make_keys(tmp_path / "keys")
    assert {path.stem for path in made} == {name for names in KEYS.values() for name in names}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    with pytest.raises(RefusedError, match="never written over"):
        make_key(tmp_path / "keys", "root-1")


def test_every_role_is_signed_by_enough_keys_and_expires(opened: Repository) -> None:
    for role in again(opened).status():
        assert role.threshold == THRESHOLDS[role.role]
        assert role.signatures == len(KEYS[role.role]) >= role.threshold
        assert role.expires == NOW + timedelta(days=EXPIRES_DAYS[role.role])


def test_a_target_needs_only_its_own_keys(opened: Repository) -> None:
    for name in ("root-1", "root-2", "root-3", "targets-1", "targets-2", "firmware-1", "models-1"):
        (opened._keys / f"{name}.pem").unlink()
    later = again(opened)
    later.add("agent/a.zip", file(opened), "1.0")
    later.publish()
    assert [each.version for each in again(opened).published()] == ["1.0"]
    other = again(opened)
    other.add("firmware/b.bin", file(opened), "1.0")
    with pytest.raises(RefusedError, match=r"firmware-1\.pem"):
        other.publish()
    assert [each.path for each in again(opened).published()] == ["agent/a.zip"]


def test_a_name_stands_for_the_same_bytes_for_ever(opened: Repository) -> None:
    opened.add("agent/a.zip", file(opened), "1.0")
    opened.add("agent/a.zip", file(opened), "1.0")
    with pytest.raises(RefusedError, match="give the new ones a new name"):
        opened.add("agent/a.zip", file(opened, b"other"), "1.0")


@pytest.mark.parametrize("path", ["a.zip", "root/a", "agent/../x", "agent/", "agent/a/b", "Agent/a"])
def test_a_name_that_is_no_target_is_refused(opened: Repository, path: str) -> None:
    with pytest.raises(RefusedError, match="is no target"):
        opened.add(path, file(opened), "1.0")


def test_files_once_published_stay_as_they_are(opened: Repository) -> None:
    before = {path: path.read_bytes() for path in opened.metadata.glob("*.json")}
    later = again(opened)
    later.add("agent/a.zip", file(opened), "1.0")
    later.publish()
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed == {"timestamp.json"}


def test_publishing_never_goes_behind_a_renewed_timestamp(opened: Repository) -> None:
    slow = again(opened)
    again(opened).refresh_timestamp()
    again(opened).refresh_timestamp()
    slow.renew("agent")
    slow.publish()
    versions = {role.role: role.version for role in again(opened).status()}
    assert versions["timestamp"] == 4


def test_a_root_key_is_exchanged_with_the_signatures_of_both_generations(opened: Repository) -> None:
    make_key(opened._keys, "root-4")
    later = again(opened)
    later.rotate_root("root-1", "root-4")
    later.publish()
    root = next(role for role in again(opened).status() if role.role == "root")
    assert (root.version, root.signatures) == (2, 3)
    with pytest.raises(RefusedError, match="no key of the root"):
        again(opened).rotate_root("root-1", "root-2")


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.agent.json", "1.root.json"])
def test_a_damaged_repository_is_one_sentence(opened: Repository, name: str) -> None:
    (opened.metadata / name).write_bytes(b"{}")
    with pytest.raises(RefusedError, match="no whole repository"):
        again(opened)


def test_the_commands_make_publish_renew_and_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> dict[str, object]:
        assert main(words) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    keys, repository = str(tmp_path / "k"), str(tmp_path / "r")
    (tmp_path / "io.bin").write_bytes(b"firmware")
    assert len(told("keys", "--out", keys)["keys"]) == 13  # type: ignore[arg-type]
    where = ("--repository", repository, "--keys", keys)
    told("publish", *where, "--version", "1.3.0+7", "firmware/io-1.3.0.bin", str(tmp_path / "io.bin"))
    assert told("keys", "--out", keys, "--name", "root-4")["keys"] == ["root-4.pem"]
    told("publish", *where, "--exchange-root", "root-3", "root-4", "--renew", "agent")
    assert "expires" in told("refresh", *where)
    status = told("status", "--repository", repository)
    assert [each["version"] for each in status["targets"]] == ["1.3.0+7"]  # type: ignore[attr-defined]
    assert main(["publish", *where, "agent/x.zip"]) == 1
    assert "--version" in capsys.readouterr().err
    assert main(["status", "--repository", str(tmp_path / "nothing")]) == 1
    assert "no whole repository" in capsys.readouterr().err
