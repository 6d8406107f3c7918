"""The commands as a technician types them: against the simulated board, and every line of the page."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.firmware import parse
from firmware_tools.__main__ import main
from firmware_tools.build import Recipe, build, sign
from firmware_tools.image import read_key
from firmware_tools.keys import read_private
from firmware_tools.program import Program, assemble
from simulators.devices.board.board import Board, Hardware
from tests.firmware_tools.images import FOREIGN, board_with, firmware, public_pem

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "firmware_tools" / "README.md"
OLD = firmware("1.2.3")
NEW = firmware("1.3.0", size_bytes=24 * 1024)
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    made = board_with(tmp_path, OLD)
    yield made
    made.close()


def flash(board: Board, folder: Path, image: bytes, *words: str) -> int:
    (folder / "image.bin").write_bytes(image)
    return main(["flash", str(folder / "image.bin"), "--port", str(board.port), *words])


def running(board: Board) -> str:
    assert board.running is not None
    return board.running.image.version


def test_a_flash_says_how_far_it_is_and_what_runs(board: Board, tmp_path: Path, capsys: Captured) -> None:
    assert flash(board, tmp_path, NEW) == os.EX_OK
    told = capsys.readouterr()
    assert told.out == "1.3.0 runs, is well and stays; before it was 1.2.3\n"
    assert f"sent {len(NEW):,} of {len(NEW):,} bytes (100 %)" in told.err
    assert flash(board, tmp_path, NEW) == os.EX_OK
    assert capsys.readouterr().out == "1.3.0 was on the board already; it runs, is well and stays\n"
    assert main(["board", "--port", str(board.port), "--json"]) == os.EX_OK
    shown = json.loads(capsys.readouterr().out)
    assert (shown["board"], shown["revision"], shown["self_test"]) == ("io-board", 2, "held")
    assert shown["slot_0"][:3] == ["1.3.0", "active", "confirmed"]
    assert "next_reset" not in shown


def test_another_build_of_the_same_version_takes_its_place(board: Board, tmp_path: Path) -> None:
    other = firmware("1.2.3", size_bytes=10 * 1024)
    assert flash(board, tmp_path, other) == os.EX_OK
    assert board.running is not None
    assert board.running.image.sha256 == parse(other).sha256


def test_a_pulled_cable_is_gone_on_with(board: Board, tmp_path: Path, capsys: Captured) -> None:
    board.faults.unplug_at = 12_000
    hand = threading.Thread(target=lambda: (board.wait_for(lambda: not board.plugged, 30), board.plug()))
    hand.start()
    assert flash(board, tmp_path, NEW) == os.EX_OK
    hand.join()
    assert "cut off: " in capsys.readouterr().err
    assert running(board) == "1.3.0+0"


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (firmware("1.3.0", board="coin-board"), "it is for the board coin-board, this one is a io-board"),
        (firmware("1.3.0", revisions=(3, 4)), "it is for hardware revisions 3 to 4"),
        (firmware("1.1.0"), "too old: its security counter is"),
    ],
)
def test_what_the_board_would_not_take_is_not_sent(
    board: Board, tmp_path: Path, capsys: Captured, image: bytes, sentence: str
) -> None:
    worn = board.loader.flash.worn
    assert flash(board, tmp_path, image) == os.EX_DATAERR
    told = capsys.readouterr().err
    assert sentence in told
    assert told.endswith("nothing was changed: 1.2.3 runs on\n")
    assert board.loader.flash.worn == worn
    assert board.loader.image(1) is None


def test_a_foreign_signature_is_told_before_it_is_sent(
    board: Board, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "key.pem").write_bytes(public_pem())
    worn = board.loader.flash.worn
    foreign = firmware("1.3.0", ours=False)
    assert flash(board, tmp_path, foreign, "--key", str(tmp_path / "key.pem")) == os.EX_DATAERR
    assert "foreign key" in capsys.readouterr().err
    assert board.loader.flash.worn == worn


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (firmware("1.3.0", ours=False), "its signature is not by the board's key"),
        (firmware("1.3.0", boots=False), "it did not start"),
        (firmware("1.3.0", well=False), "its self-test fails"),
    ],
)
def test_a_failed_flash_leaves_the_old_one_and_says_so(
    board: Board, tmp_path: Path, capsys: Captured, image: bytes, sentence: str
) -> None:
    assert flash(board, tmp_path, image) == os.EX_DATAERR
    told = capsys.readouterr().err
    assert sentence in told
    assert told.endswith("the board runs 1.2.3 as before\n")
    assert running(board) == "1.2.3+0"


def test_a_board_that_is_not_there_is_a_sentence(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "new.bin").write_bytes(NEW)
    words = ["flash", str(tmp_path / "new.bin"), "--port", str(tmp_path / "no-port")]
    assert main(words) == os.EX_UNAVAILABLE
    assert "the port is not there, or somebody else uses it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], os.EX_USAGE),
        (["flash"], os.EX_USAGE),
        (["build", "x.bin", "y.bin", "--version", "1", "--board", "b", "--revisions", "x"], os.EX_USAGE),
        (["verify", "absent.bin", "--key", "absent.pem"], os.EX_NOINPUT),
        (["sign", "absent.bin", "out.bin", "--key", "absent.pem"], os.EX_NOINPUT),
        (["keygen", "no/such/folder/key"], os.EX_CANTCREAT),
    ],
)
def test_every_failure_is_a_sentence_with_a_code(words: list[str], code: int, capsys: Captured) -> None:
    try:
        got = main(words)
    except SystemExit as end:  # argparse ends so
        got = end.code if isinstance(end.code, int) else -1
    told = capsys.readouterr().err
    assert got == code
    assert told
    assert "Traceback" not in told


def test_built_signed_and_verified_by_the_commands(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("io.toml").write_text('name = "io"\n')
    (tmp_path / "foreign.pem").write_bytes(public_pem(FOREIGN))
    made = ["build", "io.toml", "built.bin", "--version", "1.4.0", "--board", "io-board", "--revisions", "2"]
    assert main(["keygen", "io.key", "--public", "io.pem"]) == os.EX_OK
    assert main([*made, "--counter", "0x20"]) == os.EX_OK
    assert main(["sign", "built.bin", "io-1.4.0.bin", "--key", "io.key"]) == os.EX_OK
    assert main(["verify", "io-1.4.0.bin", "--key", "io.pem"]) == os.EX_OK
    assert capsys.readouterr().out.endswith(
        "io-1.4.0.bin: 1.4.0+0 for io-board revision 2, whole and signed by this key\n"
    )
    assert parse(Path("io-1.4.0.bin").read_bytes()).security_counter == 0x20
    assert main(["verify", "io-1.4.0.bin", "--key", "foreign.pem"]) == os.EX_DATAERR
    assert "foreign key" in capsys.readouterr().err
    assert main(["verify", "built.bin", "--key", "io.pem"]) == os.EX_DATAERR
    assert "not signed" in capsys.readouterr().err


def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    """Each line of the page, in its order, in a folder with one description, beside a running board."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    board = None
    (tmp_path / "io-board.toml").write_text('name = "io-board of the page"\n')
    try:
        for line in "\n".join(blocks).splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            assert words[:3] == ["python", "-m", "firmware_tools"], line
            if "--port" in words and board is None:
                board = _board_of_the_page(tmp_path)
            words = [str(tmp_path / "io-board") if word == "/dev/ttyACM0" else word for word in words]
            run = subprocess.run(
                [sys.executable, *words[1:]],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert run.returncode == os.EX_OK, f"{line}: {run.stderr}"
        assert board is not None
        assert running(board) == "1.3.0+0"
    finally:
        if board is not None:
            board.close()


def _board_of_the_page(folder: Path) -> Board:
    """A board whose boot loader has the key that the page has made, with an older firmware in it."""
    key = read_private(folder / "firmware.key", None)
    old = sign(build(assemble(Program(name="old")), Recipe("1.2.3", "io-board", (1, 3))), key)
    return board_with(folder, old, Hardware(read_key((folder / "firmware.pub.pem").read_bytes())))
