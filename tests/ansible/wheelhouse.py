"""A folder of wheels and a lock without any registry: what is installed here is packed again."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = ("contract", "edge_agent")
BASE = ("msgspec", "paho-mqtt", "psutil", "tuf", "securesystemslib", "urllib3")
"""What the agent needs at least: `dependencies` of edge_agent/pyproject.toml, and theirs."""


def fill(folder: Path) -> Path:
    """Put the agent, its contract and what both need into `folder`, as ansible/wheelhouse.py does."""
    folder.mkdir(parents=True)
    for name in BASE:
        repack(name, folder)
    for member in OWN:
        words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(words, cwd=ROOT / member, check=True, capture_output=True, timeout=120)
    seal(folder, "".join(pin(wheel) for wheel in sorted(folder.glob("*.whl"))))
    return folder


def seal(folder: Path, lock: str) -> None:
    """Write the lock of the wheels in `folder`, and the archive with both beside it."""
    (folder / "requirements.lock").write_text(lock)
    with tarfile.open(folder.with_suffix(".tar"), "w") as archive:
        for path in folder.iterdir():
            archive.add(path, path.name)


def repack(name: str, wheels: Path) -> Path:
    """The wheel of an installed distribution, without its compiled caches and scripts."""
    installed = distribution(name)
    told = (installed.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ") for line in told if line.startswith("Tag: ")]
    path = wheels / f"{installed.name.replace('-', '_')}-{installed.version}-{tags[-1]}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in installed.files or []:
            if ".." not in file.parts and file.suffix != ".pyc":
                wheel.write(str(file.locate()), str(file))
    return path


def pin(wheel: Path) -> str:
    """One line of a lock: the exact version and the hash of its wheel."""
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}\n"
