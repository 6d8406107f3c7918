"""What ships: each distribution holds all of its folder, and a kiosk gets nothing of the cloud."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMBERS = ("contract", "edge_agent", "cloud", "firmware_tools", "dashboards", "simulators")
SHIPPED = {".py", ".html", ".css", ".js", ".json", ".svg", ".typ", ".po", ".lock", ".toml", ".typed"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("wheels")
    built = {}
    for member in MEMBERS:
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out / member)],
            cwd=ROOT / member,
            check=True,
            capture_output=True,
            timeout=120,
        )
        (built[member],) = (out / member).glob("*.whl")
    return built


@pytest.mark.parametrize("member", MEMBERS)
def test_a_wheel_holds_every_file_of_its_folder(member: str, wheels: dict[str, Path]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", member],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    wanted = {
        name
        for name in listed
        if (ROOT / name).suffix in SHIPPED
        and not name.endswith("/pyproject.toml")
        and (ROOT / name).is_file()
    }
    held = set(zipfile.ZipFile(wheels[member]).namelist())
    assert not wanted - held, f"missing in the wheel; add the ending to `include` of {member}/pyproject.toml"
    assert all(name.startswith(f"{member}/") or ".dist-info/" in name for name in held)


def test_a_kiosk_carries_nothing_of_the_cloud(wheels: dict[str, Path], tmp_path: Path) -> None:
    for member in ("contract", "edge_agent"):
        zipfile.ZipFile(wheels[member]).extractall(tmp_path)
    program = (
        "import sys, importlib.util as u; sys.path[:] = [p for p in sys.path if p not in ('', sys.argv[2])];"
        "sys.path.insert(0, sys.argv[1]); import edge_agent.main, contract.topics;"
        "assert edge_agent.main.__file__.startswith(sys.argv[1]);"
        "assert u.find_spec('cloud') is None and u.find_spec('simulators') is None;"
        "assert not {'sqlalchemy', 'fastapi', 'dbos', 'typst'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(ROOT)], cwd=tmp_path, check=True, timeout=60
    )
