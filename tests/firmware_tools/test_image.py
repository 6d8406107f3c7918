"""Images made by imgtool, whole and spoiled."""

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from imgtool import keys, version
from imgtool.image import Image as ImgtoolImage

from contract.firmware import IMAGE_BYTES_MAX, MAGIC, SECURITY_COUNTER, Image
from firmware_tools.__main__ import main
from firmware_tools.errors import RefusedError
from firmware_tools.image import parse, read_key, verify

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FOREIGN = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
BODY = bytes(range(256)) * 4
HEADER_BYTES = 0x200
SAME_EACH_TIME = settings(deadline=None, derandomize=True, max_examples=200, database=None)


def make(
    folder: Path, key: Ed25519PrivateKey | None = PRIVATE, *, counter: int | None = 7, pad: bool = False
) -> bytes:
    """A signed image of 1 KiB, by imgtool's own library."""
    raw, out = folder / "raw.bin", folder / "signed.bin"
    raw.write_bytes(BODY)
    image = ImgtoolImage(
        version=version.decode_version("1.3.0+7"),
        header_size=HEADER_BYTES,
        pad_header=True,
        pad=pad,
        align=8,
        slot_size=0x40000,
        security_counter=counter,
    )
    image.load(str(raw))
    image.create(None if key is None else keys.Ed25519(key), "hash", None)
    image.save(str(out))
    return out.read_bytes()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make(tmp_path_factory.mktemp("image"))


def pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def judge(data: bytes) -> Image:
    image = parse(data)
    verify(image, PRIVATE.public_key())
    return image


def test_a_signed_image_is_read_and_holds(signed: bytes) -> None:
    image = judge(signed)
    assert image.version == "1.3.0+7"
    assert (image.header_bytes, image.body_bytes, image.trailing_bytes) == (HEADER_BYTES, len(BODY), 0)
    assert image.security_counter == 7
    assert image.flags == ()
    assert image.sha256 == hashlib.sha256(signed[: HEADER_BYTES + len(BODY) + image.protected_bytes]).digest()
    assert [(tlv.type, tlv.protected) for tlv in image.tlvs] == [
        (SECURITY_COUNTER, True),
        (0x10, False),
        (0x01, False),
        (0x24, False),
    ]


def test_imgtool_agrees(signed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "signed.bin"
    path.write_bytes(signed)
    result, _, digest, _ = ImgtoolImage.verify(str(path), keys.Ed25519Public(PRIVATE.public_key()))
    assert (result.name, digest) == ("OK", judge(signed).sha256)


def test_no_counter_no_signature_and_padding_are_told(tmp_path: Path) -> None:
    assert judge(make(tmp_path, counter=None)).security_counter is None
    assert judge(make(tmp_path, pad=True)).trailing_bytes > 0
    unsigned = parse(make(tmp_path, None))
    assert unsigned.signature is None
    with pytest.raises(RefusedError, match=r"^not signed"):
        verify(unsigned, PRIVATE.public_key())


def test_a_foreign_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"^foreign key"):
        judge(make(tmp_path, FOREIGN))


def test_a_borrowed_key_hash_does_not_help(signed: bytes, tmp_path: Path) -> None:
    ours, theirs = parse(signed), parse(make(tmp_path, FOREIGN))
    assert ours.signature
    assert theirs.signature
    with pytest.raises(RefusedError, match=r"^altered: the signature"):
        judge(signed.replace(ours.signature, theirs.signature))


@SAME_EACH_TIME
@given(st.data())
def test_no_flipped_bit_passes(signed: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, len(signed) * 8 - 1))
    spoiled = bytearray(signed)
    spoiled[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RefusedError):
        judge(bytes(spoiled))


@SAME_EACH_TIME
@given(st.data())
def test_no_truncation_passes(signed: bytes, data: st.DataObject) -> None:
    with pytest.raises(RefusedError, match=r"^(truncated|not an MCUboot image)"):
        judge(signed[: data.draw(st.integers(0, len(signed) - 1))])


@SAME_EACH_TIME
@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_raise_one_error_only(noise: bytes, looks_like_one: bool) -> None:
    with pytest.raises(RefusedError):
        judge(struct.pack("<I", MAGIC) + noise if looks_like_one else noise)


@SAME_EACH_TIME
@given(st.integers(0, 2**16 - 1), st.binary(max_size=80))
def test_an_added_record_is_refused_or_harmless(signed: bytes, kind: int, value: bytes) -> None:
    """Anyone can add unprotected records: none may change what the image says of itself."""
    start = HEADER_BYTES + len(BODY) + parse(signed).protected_bytes
    total = struct.unpack_from("<H", signed, start + 2)[0]
    added = struct.pack("<HH", kind, len(value)) + value
    head = struct.pack("<HH", 0x6907, total + len(added))
    grown = signed[:start] + head + added + signed[start + 4 :]
    try:
        image = judge(grown)
    except RefusedError:
        return
    assert (image.version, image.security_counter) == ("1.3.0+7", 7)


def test_an_unprotected_security_counter_is_refused(tmp_path: Path) -> None:
    plain = make(tmp_path, counter=None)
    start = HEADER_BYTES + len(BODY)
    added = struct.pack("<HHI", SECURITY_COUNTER, 4, 99)
    total = struct.unpack_from("<H", plain, start + 2)[0] + len(added)
    with pytest.raises(RefusedError, match=r"no signature covers"):
        judge(plain[:start] + struct.pack("<HH", 0x6907, total) + added + plain[start + 4 :])


def _with_flag(data: bytes) -> bytes:
    return data[:16] + struct.pack("<I", 0x4) + data[20:]


def _with_header(data: bytes) -> bytes:
    return data[:8] + struct.pack("<H", 8) + data[10:]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_with_flag, "^encrypted"),
        (_with_header, "^malformed: a header of 8 bytes"),
        (lambda data: data + bytes(IMAGE_BYTES_MAX + 1 - len(data)), "^too large"),
        (lambda _: b"", "^not an MCUboot image"),
    ],
)
def test_each_refusal_says_why(signed: bytes, spoil: Callable[[bytes], bytes], sentence: str) -> None:
    with pytest.raises(RefusedError, match=sentence):
        judge(spoil(signed))


@SAME_EACH_TIME
@given(st.binary(max_size=300))
def test_random_bytes_are_no_key(noise: bytes) -> None:
    with pytest.raises(RefusedError, match=r"^key: "):
        read_key(noise)


def test_another_kind_of_key_is_refused() -> None:
    x25519 = X25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    with pytest.raises(RefusedError, match=r"^key: "):
        read_key(x25519.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def test_the_command_shows_a_table_and_json(
    signed: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, key = tmp_path / "board.bin", tmp_path / "public.pem"
    image.write_bytes(signed)
    key.write_bytes(pem(PRIVATE.public_key()))
    assert main(["inspect", str(image)]) == 0
    assert "signature         not checked, give --key" in capsys.readouterr().out
    assert main(["inspect", str(image), "--key", str(key)]) == 0
    shown = capsys.readouterr().out
    assert "signature         valid" in shown
    assert "TLV 0x50          security counter, 4 bytes, protected" in shown
    assert main(["inspect", str(image), "--key", str(key), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["valid"], told["version"], told["security_counter"]) == (True, "1.3.0+7", 7)


def test_the_command_refuses_with_a_sentence(
    signed: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, key = tmp_path / "board.bin", tmp_path / "public.pem"
    image.write_bytes(signed[:-1])
    key.write_bytes(pem(FOREIGN.public_key()))
    assert main(["inspect", str(image)]) == os.EX_DATAERR
    assert capsys.readouterr().err.startswith("board.bin: truncated")
    assert main(["inspect", str(tmp_path / "absent.bin")]) == os.EX_NOINPUT
    assert "cannot be read" in capsys.readouterr().err
    image.write_bytes(signed)
    assert main(["inspect", str(image), "--key", str(key), "--json"]) == os.EX_DATAERR
    assert json.loads(capsys.readouterr().out)["refused"].startswith("foreign key")


def test_it_runs_as_a_module(signed: bytes, tmp_path: Path) -> None:
    image = tmp_path / "board.bin"
    image.write_bytes(signed)
    words = [sys.executable, "-m", "firmware_tools", "inspect", str(image)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.startswith("file              board.bin\nvalid             yes\n")
