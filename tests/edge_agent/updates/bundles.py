"""Releases of an agent that is a few lines long, so that a test can try one in a second."""

import hashlib
import json
import zipfile
from pathlib import Path

PYTHON = "3.11"


def wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> Path:
    """A wheel with `files`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >={PYTHON}\n"
        archive.writestr(f"{name}-{version}.dist-info/METADATA", metadata)
    return path


def agent_wheel(folder: Path, version: str, main: str = "", **files: bytes) -> Path:
    """The agent's wheel; `main` is what `python -m edge_agent` does."""
    content = {
        "edge_agent/__init__.py": b"",
        "edge_agent/__main__.py": main.encode(),
        "edge_agent/kiosk.lock": b"kiosk",
        "edge_agent/recorder.lock": b"recorder",
    }
    return wheel(folder, "fleet_edge_agent", version, content | files)


def lock(kind: str) -> str:
    return hashlib.sha256(kind.encode()).hexdigest()


def bundle(path: Path, version: str, wheels: list[Path], /, **changes: object) -> Path:
    """A release, made by hand so that it can be wrong in any way."""
    manifest = {
        "version": version,
        "python": PYTHON,
        "locks": {kind: lock(kind) for kind in ("kiosk", "recorder")},
        "complete": False,
        "wheels": [
            {
                "file": each.name,
                "sha256": hashlib.sha256(each.read_bytes()).hexdigest(),
                "size": each.stat().st_size,
            }
            for each in wheels
        ],
    } | changes
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("release.json", json.dumps(manifest))
        for each in wheels:
            archive.write(each, each.name)
    return path
