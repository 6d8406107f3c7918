"""A folder of wheels and a lock without any registry: what is installed here is packed again."""

import hashlib
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = ("contract", "edge_agent")
BASE = ("msgspec", "paho-mqtt", "psutil")
"""What the agent needs at least: `dependencies` of edge_agent/pyproject.toml."""


def fill(folder: Path) -> Path:
    """Put the agent, its contract and their base dependencies into `folder`/wheels; the lock's path."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    packed = [repack(name, wheels) for name in BASE]
    for member in OWN:
        words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
        subprocess.run(words, cwd=ROOT / member, check=True, capture_output=True, timeout=120)
    lock = folder / "requirements.lock"
    lock.write_text("".join(pin(wheel) for wheel in packed))
    return lock


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
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
