"""Builds the wheels of the agent and its contract from a source tree, under a version of one's choice."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from firmware_tools.errors import RefusedError

MEMBERS = ("contract", "edge_agent")
BUILD_S = 120
_VERSION = re.compile(r'^version = "[^"]*"$', re.MULTILINE)


def build_wheels(
    tree: Path, out: Path, version: str, *, change: Callable[[Path], None] = lambda _tree: None
) -> list[Path]:
    """Both wheels of `version` in `out`, by hatchling as it is installed here, without any network.

    The tree itself is not touched: a copy gets the version, and then `change` may alter it.

    Raises:
        RefusedError: hatchling did not build them; the sentence has its last words.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for member in MEMBERS:
            shutil.copytree(tree / member, copy / member, ignore=shutil.ignore_patterns("__pycache__"))
            project = copy / member / "pyproject.toml"
            text = project.read_text(encoding="utf-8")
            project.write_text(_VERSION.sub(f'version = "{version}"', text, count=1), encoding="utf-8")
        change(copy)
        for member in MEMBERS:
            words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out.resolve())]
            done = subprocess.run(
                words, cwd=copy / member, capture_output=True, text=True, timeout=BUILD_S, check=False
            )
            if done.returncode != 0:
                raise RefusedError(f"hatchling did not build {member}: {done.stderr[-400:]}")
    return sorted(out.glob(f"*-{version}-*.whl"))
