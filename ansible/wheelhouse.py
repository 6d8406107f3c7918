"""`python ansible/wheelhouse.py KIND…`: all that a kiosk, a recorder or the cloud installs, in one folder.

`build/wheels/KIND` gets a wheel of each package in the committed lock, whose hashes pip checks, the wheels of
this working tree, and `requirements.lock` with the hash of every wheel; `build/wheels/KIND.tar` holds all of
it. The machine that installs needs no registry and no compiler, and takes nothing that did not pass here.
"""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
TIMEOUT_S = 1800
LOCK = "requirements.lock"
FETCHED = "fetched"
"""Holds the hash of the committed lock that the folder was filled from; written last."""


@dataclass(frozen=True)
class Kind:
    """What one kind of machine installs: a lock of the tree, and members of the tree, the program last."""

    lock: str
    members: tuple[str, ...]


KINDS = {
    "kiosk": Kind("edge_agent/kiosk.lock", ("contract", "edge_agent")),
    "recorder": Kind("edge_agent/recorder.lock", ("contract", "edge_agent")),
    "cloud": Kind("cloud/cloud.lock", ("contract", "cloud")),
}


def fill(kind: Kind, folder: Path) -> None:
    """Bring `folder` up to date; what is there already is not fetched again.

    Raises:
        subprocess.CalledProcessError: pip or hatchling refused; what it said is on stderr.
    """
    folder.mkdir(parents=True, exist_ok=True)
    committed = digest(TREE / kind.lock)
    stamp = folder / FETCHED
    if not stamp.exists() or stamp.read_text(encoding="ascii").strip() != committed:
        for old in folder.iterdir():
            old.unlink()
        fetch(TREE / kind.lock, folder)
        stamp.write_text(f"{committed}\n", encoding="ascii")
    for member in kind.members:
        for old in folder.glob(f"fleet_{member}-*.whl"):
            old.unlink()
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), at=TREE / member)
    lock = "".join(pin(wheel) for wheel in sorted(folder.glob("*.whl")))
    (folder / LOCK).write_text(lock, encoding="ascii")
    pack(folder)


def pack(folder: Path) -> None:
    """`FOLDER.tar` with all wheels and their lock: one file to bring to a machine."""
    incoming = folder.with_suffix(".tar.new")
    with tarfile.open(incoming, "w") as archive:
        for path in [folder / LOCK, *sorted(folder.glob("*.whl"))]:
            archive.add(path, path.name)
    incoming.replace(folder.with_suffix(".tar"))


def fetch(lock: Path, folder: Path) -> None:
    """A wheel of each line of `lock`; a package that has only a source archive is built here."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as incoming:
        run(*PIP, "download", "--no-deps", "--require-hashes", "-r", str(lock), "-d", incoming)
        for path in Path(incoming).iterdir():
            if path.suffix == ".whl":
                path.replace(folder / path.name)
            else:
                build = ("wheel", "--no-deps", "--no-index", "--no-build-isolation")
                run(*PIP, *build, "--wheel-dir", str(folder), str(path))


def run(*words: str, at: Path = TREE) -> None:
    """One program; its words go to stderr."""
    subprocess.run(words, cwd=at, check=True, timeout=TIMEOUT_S, stdout=sys.stderr)


def pin(wheel: Path) -> str:
    """One line of a lock: the exact version and the hash of its wheel."""
    name, version = wheel.name.split("-")[:2]
    return f"{name.replace('_', '-')}=={version} --hash=sha256:{digest(wheel)}\n"


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Fill what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; default: all")
    parser.add_argument("--into", type=Path, default=TREE / "build/wheels", help="default: build/wheels")
    given = parser.parse_args()
    for name in given.kinds or KINDS:
        if name not in KINDS:
            parser.error(f"{name} is no kind of machine: choose {', '.join(KINDS)}")
        try:
            fill(KINDS[name], given.into / name)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"wheelhouse: {name}: {error}; nothing of it may be installed", file=sys.stderr)
            return 1
        print(given.into / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
