"""Builds a release of the agent: one zip with `release.json` and the wheels that go into a device's slot."""

import hashlib
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware_tools.errors import RefusedError

MANIFEST = "release.json"
AGENT, CONTRACT = "fleet_edge_agent", "fleet_contract"
KINDS = ("kiosk", "recorder")
WHEEL_BYTES_MAX = 1_000_000_000
_DATE = (1980, 1, 1, 0, 0, 0)
"""Every member has the same, so that the same wheels make the same bytes."""
_PYTHON = re.compile(r"^Requires-Python: >=(\d+\.\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Built:
    """A release that was written."""

    file: Path
    version: str
    wheels: int
    complete: bool
    size: int


def build(wheels: Sequence[Path], out: Path, *, dependencies: bool = False) -> Built:
    """Put `wheels` into the release `out`.

    `dependencies` says that the wheels of all dependencies are among them, so that a device whose own are of
    another lock takes the release all the same.

    Raises:
        RefusedError: the agent's or the contract's wheel is missing, there twice, or damaged.
    """
    agent = _one(wheels, AGENT)
    _one(wheels, CONTRACT)
    others = [wheel for wheel in wheels if not wheel.name.startswith((f"{AGENT}-", f"{CONTRACT}-"))]
    if others and not dependencies:
        raise RefusedError(f"{others[0].name} is not ours; say --dependencies if all of them are there")
    version = agent.name.split("-")[1]
    manifest = {
        "version": version,
        "python": _python(agent, version),
        "locks": _locks(agent),
        "complete": dependencies,
        "wheels": [_described(wheel) for wheel in sorted(wheels)],
    }
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST, _DATE), json.dumps(manifest, indent=1))
        for wheel in sorted(wheels):
            archive.writestr(zipfile.ZipInfo(wheel.name, _DATE), wheel.read_bytes())
    return Built(out, version, len(wheels), dependencies, out.stat().st_size)


def _one(wheels: Sequence[Path], name: str) -> Path:
    found = [wheel for wheel in wheels if wheel.name.startswith(f"{name}-")]
    if len(found) != 1:
        raise RefusedError(f"there are {len(found)} wheels of {name}, one is needed; make it with hatchling")
    return found[0]


def _described(wheel: Path) -> dict[str, object]:
    content = wheel.read_bytes()
    if len(content) > WHEEL_BYTES_MAX:
        raise RefusedError(f"{wheel.name} is larger than {WHEEL_BYTES_MAX} bytes")
    return {"file": wheel.name, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def _python(agent: Path, version: str) -> str:
    found = _PYTHON.search(_member(agent, f"{AGENT}-{version}.dist-info/METADATA").decode())
    if found is None:
        raise RefusedError(f"{agent.name} does not say which Python it needs (Requires-Python: >=X.Y)")
    return found[1]


def _locks(agent: Path) -> dict[str, str]:
    """The digests of the locks that the release was tested with; devices compare their own."""
    return {kind: hashlib.sha256(_member(agent, f"edge_agent/{kind}.lock")).hexdigest() for kind in KINDS}


def _member(wheel: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(name)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise RefusedError(f"{wheel.name} is no wheel of the agent: {error}; build it anew") from error
