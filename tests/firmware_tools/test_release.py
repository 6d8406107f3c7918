"""A release is built from wheels, or from a source tree, and a device takes what was built."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge_agent.updates import release as on_device
from edge_agent.updates.launcher import environ
from edge_agent.updates.slots import Slots
from firmware_tools import release
from firmware_tools.errors import RefusedError
from firmware_tools.wheels import build_wheels
from tests.edge_agent.updates.bundles import agent_wheel, wheel

ROOT = Path(__file__).parents[2]


def pair(folder: Path, version: str = "2.0.0") -> list[Path]:
    return [agent_wheel(folder, version), wheel(folder, "fleet_contract", version, {"contract/x.py": b""})]


def test_the_same_wheels_make_the_same_release(tmp_path: Path) -> None:
    wheels = pair(tmp_path / "w")
    first = release.build(wheels, tmp_path / "1.zip")
    release.build(wheels[::-1], tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    assert (first.version, first.wheels, first.complete) == ("2.0.0", 2, False)


def test_what_is_missing_or_foreign_is_refused(tmp_path: Path) -> None:
    wheels = pair(tmp_path / "w")
    with pytest.raises(RefusedError, match="0 wheels of fleet_contract"):
        release.build(wheels[:1], tmp_path / "r.zip")
    other = wheel(tmp_path / "w", "msgspec", "1.0", {})
    with pytest.raises(RefusedError, match="--dependencies"):
        release.build([*wheels, other], tmp_path / "r.zip")
    assert release.build([*wheels, other], tmp_path / "r.zip", dependencies=True).complete


def test_a_wheel_that_is_none_is_refused(tmp_path: Path) -> None:
    wheels = pair(tmp_path / "w")
    wheels[0].write_bytes(b"no zip")
    with pytest.raises(RefusedError, match="build it anew"):
        release.build(wheels, tmp_path / "r.zip")


def test_this_tree_becomes_a_release_that_a_device_runs(tmp_path: Path) -> None:
    built = release.build(build_wheels(ROOT, tmp_path / "w", "9.8.7"), tmp_path / "r.zip")
    with zipfile.ZipFile(built.file) as archive:
        locks = json.loads(archive.read("release.json"))["locks"]
    assert locks["kiosk"] == on_device.lock_digest(ROOT, "kiosk")
    slots = Slots(tmp_path / "slots")
    on_device.install(built.file, slots.path("a"), version="9.8.7", kind="kiosk", lock=locks["kiosk"])
    program = (
        "import contract, edge_agent.main, edge_agent; print(edge_agent.main.VERSION, edge_agent.__file__)"
    )
    said = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environ(slots, "a", {}),
    ).stdout
    version, place = said.split()
    assert version == "9.8.7"
    assert Path(place).is_relative_to(slots.site("a"))
    assert slots.version("a") == "9.8.7"
