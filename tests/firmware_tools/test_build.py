"""Images that are built and signed here, judged by imgtool; keys; and whatever else somebody may name."""

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intelhex import IntelHex

from contract.errors import MalformedError
from contract.firmware import BOARD, Image, parse, unfit
from firmware_tools.build import HEADER_BYTES, Recipe, body_of, build, sign
from firmware_tools.errors import RefusedError, ToolError, UnreadableError, UnwritableError
from firmware_tools.image import verify
from firmware_tools.keys import generate, read_private
from firmware_tools.program import Program, assemble, compile_source, disassemble
from tests.firmware_tools.images import FOREIGN, OURS, firmware, public_pem

IMGTOOL = str(Path(sys.executable).with_name("imgtool"))
RECIPE = Recipe("1.3.0", "io-board", (1, 3))
BODY = bytes(range(256)) * 8
SAME_EACH_TIME = settings(deadline=None, derandomize=True, max_examples=150, database=None)


def test_an_image_names_its_board_below_the_signature() -> None:
    image = parse(firmware("1.3.0+7"))
    assert (image.version, image.board, image.revisions) == ("1.3.0+7", "io-board", (1, 3))
    assert image.security_counter == 0x01030000
    assert all(tlv.protected for tlv in image.tlvs if tlv.type in (0x50, 0xA0, 0xA1))
    verify(image, OURS.public_key())


def test_the_same_source_gives_the_same_bytes() -> None:
    source = b'name = "io"\nsize_bytes = 4096\n'
    one, other = (sign(build(compile_source(source), RECIPE), OURS) for _ in range(2))
    assert one == other
    assert len(compile_source(source)) == 4096
    assert sign(build(compile_source(source + b"well = false\n"), RECIPE), OURS) != one


def test_imgtool_agrees(tmp_path: Path) -> None:
    (tmp_path / "new.bin").write_bytes(firmware("1.3.0"))
    for key, code, said in ((OURS, 0, "correctly validated"), (FOREIGN, 1, "No signature found")):
        (tmp_path / "key.pem").write_bytes(public_pem(key))
        words = [IMGTOOL, "verify", "-k", str(tmp_path / "key.pem"), str(tmp_path / "new.bin")]
        run = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert (run.returncode, said in run.stdout) == (code, True), run.stdout


def test_signing_changes_nothing_that_is_covered() -> None:
    built = build(BODY, RECIPE)
    image = parse(built)
    covered = image.header_bytes + image.body_bytes + image.protected_bytes
    assert sign(built, OURS)[:covered] == built[:covered]
    assert image.signature is None


def test_what_is_signed_already_or_of_another_tool_is_not_signed() -> None:
    signed = sign(build(BODY, RECIPE), OURS)
    with pytest.raises(RefusedError, match="signed already"):
        sign(signed, OURS)
    with pytest.raises(RefusedError, match=r"^(altered|malformed|truncated)"):
        sign(build(BODY, RECIPE)[:-1], OURS)


def test_intel_hex_gives_the_same_image_as_its_binary(tmp_path: Path) -> None:
    found = IntelHex()
    found.frombytes(BODY, offset=0x08010200)
    found.tofile(str(tmp_path / "io.hex"), "hex")
    (tmp_path / "io.bin").write_bytes(BODY)
    assert body_of(tmp_path / "io.hex") == body_of(tmp_path / "io.bin") == BODY


def test_intel_hex_that_covers_the_whole_flash_is_refused(tmp_path: Path) -> None:
    found = IntelHex({0: 1, 0xFFFFFFFF: 2})
    text = io.StringIO()
    found.write_hex_file(text)
    (tmp_path / "io.hex").write_text(text.getvalue())
    with pytest.raises(RefusedError, match="covers more than one image"):
        body_of(tmp_path / "io.hex")


@SAME_EACH_TIME
@given(data=st.binary(max_size=300), ending=st.sampled_from((".hex", ".bin", ".toml")), colon=st.booleans())
def test_no_source_gives_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, ending: str, colon: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"source{ending}"
    path.write_bytes(b":10000000" + data.hex().upper().encode() if colon else data)
    try:
        body = body_of(path)
    except ToolError:
        return
    assert parse(build(body, RECIPE)).body_bytes == len(body)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (Recipe("1.3", "io-board", (3, 1)), "revisions 3 to 1"),
        (Recipe("1.3", "io-board", (0, 256)), "both 0 to 255"),
        (Recipe("1.3", "IO board", (1, 1)), "correct --board"),
        (Recipe("1.3", "", (1, 1)), "correct --board"),
        (Recipe("one", "io-board", (1, 1)), "write major.minor.revision"),
        (Recipe("256.0.0", "io-board", (1, 1)), "at most 255"),
        (Recipe("1.0.0+99999999999", "io-board", (1, 1)), "at most 255"),
        (Recipe("1.3.0", "io-board", (1, 1), security_counter=2**32), "security counter"),
        (Recipe("1.3.0", "io-board", (1, 1), slot_bytes=4096), "imgtool: Image size"),
    ],
)
def test_a_recipe_that_is_wrong_is_refused(recipe: Recipe, sentence: str) -> None:
    with pytest.raises(RefusedError, match=sentence):
        build(BODY, recipe)


@SAME_EACH_TIME
@given(st.binary(max_size=120), st.integers(0, 7))
def test_a_changed_board_record_is_no_image(value: bytes, at: int) -> None:
    """The board's name cannot be changed without the key: the hash, which is signed, covers it."""
    whole = firmware("1.3.0")
    start = whole.index(b"io-board", HEADER_BYTES)
    changed = bytearray(whole)
    changed[start + at : start + at + len(value)] = value
    if bytes(changed) == whole:
        return
    with pytest.raises(MalformedError):
        parse(bytes(changed))


def test_an_image_without_a_board_fits_none() -> None:
    image = parse(firmware("1.3.0"))
    without = Image(**{**vars(image), "board": None})
    assert unfit(image, "io-board", 2) is None
    assert "does not say" in str(unfit(without, "io-board", 2))
    assert "for the board io-board" in str(unfit(image, "coin-board", 2))
    assert "revisions 1 to 3" in str(unfit(image, "io-board", 4))
    assert BOARD == 0xA0


# --- programs ---


@SAME_EACH_TIME
@given(st.builds(Program, name=st.text(min_size=1, max_size=64), boots=st.booleans(), well=st.booleans()))
def test_a_program_comes_back_from_its_bytes(program: Program) -> None:
    body = assemble(program)
    assert disassemble(body) == program
    assert len(body) == program.size_bytes


@SAME_EACH_TIME
@given(st.binary(max_size=200))
def test_what_is_no_program_hangs(noise: bytes) -> None:
    assert disassemble(noise) is None
    assert disassemble(b"FLEETIO\x01" + noise) is None


@pytest.mark.parametrize("source", [b"", b"name = 7", b'name = "x"\nbad = 1', b"\xff", b"#" * 5000])
def test_a_description_that_is_wrong_is_refused(source: bytes) -> None:
    with pytest.raises(RefusedError, match="description"):
        compile_source(source)


# --- keys ---


def test_a_key_pair_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    private, public = tmp_path / "io.key", tmp_path / "io.pem"
    generate(private, public, None)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    made = sign(build(BODY, RECIPE), read_private(private, None))
    assert parse(made).signature is not None
    before = private.read_bytes()
    for again in ((private, tmp_path / "other.pem"), (tmp_path / "other.key", public)):
        with pytest.raises(UnwritableError, match="is there already"):
            generate(*again, None)
    assert private.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["io.key", "io.pem"]


def test_a_passphrase_protects_the_private_key(tmp_path: Path) -> None:
    private = tmp_path / "io.key"
    generate(private, tmp_path / "io.pem", b"correct horse")
    read_private(private, b"correct horse")
    with pytest.raises(RefusedError, match="needs a passphrase"):
        read_private(private, None)
    with pytest.raises(RefusedError, match="wrong passphrase"):
        read_private(private, b"wrong horse")


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(os.urandom(300))
    with pytest.raises(RefusedError, match="not an Ed25519 private key"):
        read_private(tmp_path / "key", None)
    with pytest.raises(UnreadableError):
        read_private(tmp_path / "absent", None)
