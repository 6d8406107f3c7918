"""The commands on files: keygen, build, sign, inspect, verify."""

import argparse
import json
from pathlib import Path
from typing import Any

from contract.firmware import IMAGE_BYTES_MAX, Image
from firmware_tools.build import SLOT_BYTES, Recipe, body_of, build, sign
from firmware_tools.errors import RefusedError, UnwritableError
from firmware_tools.files import read, write
from firmware_tools.image import KEY_BYTES_MAX, parse, read_key, verify
from firmware_tools.keys import generate, read_private
from firmware_tools.words import Commands, number, revisions, table

UNCHECKED = "not checked, give --key"


def add(commands: Commands) -> None:
    """Put them on the command line."""
    keygen = commands.add_parser("keygen", help="make the key pair that firmware is signed with")
    keygen.add_argument("private", type=Path, help="file for the private key (PEM, mode 600)")
    keygen.add_argument(
        "--public", type=Path, help="file for the public key; beside the private one by default"
    )
    _passphrase(keygen)
    keygen.set_defaults(run=_keygen)

    making = commands.add_parser("build", help="make an unsigned image that names its board")
    making.add_argument("source", type=Path, help="raw binary, Intel HEX (.hex) or description (.toml)")
    making.add_argument("out", type=Path, help="file for the image")
    making.add_argument("--version", required=True, help="major.minor.revision, or …+build")
    making.add_argument("--board", required=True, help="the board's name, such as io-board")
    making.add_argument("--revisions", type=revisions, required=True, help="hardware revisions: 2 or 1-3")
    making.add_argument("--counter", type=number, help="security counter; from the version by default")
    making.add_argument("--slot-bytes", type=number, default=SLOT_BYTES, help="0x40000 by default")
    making.set_defaults(run=_build)

    signing = commands.add_parser("sign", help="sign a built image")
    signing.add_argument("built", type=Path, help="image of build")
    signing.add_argument("out", type=Path, help="file for the signed image")
    signing.add_argument("--key", type=Path, required=True, help="Ed25519 private key (PEM)")
    signing.add_argument("--slot-bytes", type=number, default=SLOT_BYTES, help="0x40000 by default")
    _passphrase(signing)
    signing.set_defaults(run=_sign)

    for name, run, key_needed, said in (
        ("inspect", _inspect, False, "show an MCUboot image and say whether it holds"),
        ("verify", _verify, True, "say whether an image is whole and signed by a key"),
    ):
        looking = commands.add_parser(name, help=said)
        looking.add_argument("file", type=Path, help="signed image (.bin)")
        looking.add_argument("--key", type=Path, required=key_needed, help="Ed25519 public key (PEM)")
        looking.add_argument("--json", action="store_true", help="one JSON object in place of the text")
        looking.set_defaults(run=run)


def _passphrase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--passphrase-file", type=Path, help="file whose first line protects the private key")


def _secret(given: argparse.Namespace) -> bytes | None:
    if given.passphrase_file is None:
        return None
    lines = read(given.passphrase_file, KEY_BYTES_MAX).splitlines()
    if not lines or not lines[0]:
        raise RefusedError(
            f"{given.passphrase_file.name}: its first line is empty; write the passphrase there"
        )
    return lines[0]


def _keygen(given: argparse.Namespace) -> None:
    public = given.public or given.private.with_suffix(".pub.pem")
    if public == given.private:
        raise UnwritableError("the private and the public key need two files; give --public")
    generate(given.private, public, _secret(given))
    print(
        f"private key {given.private} (keep it offline), public key {public} (it goes into the boot loader)"
    )


def _build(given: argparse.Namespace) -> None:
    recipe = Recipe(given.version, given.board, given.revisions, given.counter, given.slot_bytes)
    made = build(body_of(given.source), recipe)
    write(given.out, made)
    image = parse(made)
    print(f"{given.out}: {image.version} for {_boards(image)}, {len(made)} bytes, not signed")


def _sign(given: argparse.Namespace) -> None:
    made = sign(read(given.built, IMAGE_BYTES_MAX), read_private(given.key, _secret(given)), given.slot_bytes)
    write(given.out, made)
    image = parse(made)
    assert image.key_hash is not None
    print(f"{given.out}: {image.version} for {_boards(image)}, signed by key {image.key_hash.hex()[:16]}…")


def _inspect(given: argparse.Namespace) -> None:
    image = _judged(given)
    signed = "valid" if given.key is not None else UNCHECKED if image.signature else "none"
    shown = describe(image, given.file.name, signed)
    print(json.dumps(shown, indent=2) if given.json else as_table(shown))


def _verify(given: argparse.Namespace) -> None:
    image = _judged(given)
    shown = {"file": given.file.name, "valid": True, "version": image.version, "board": image.board}
    said = f"{given.file.name}: {image.version} for {_boards(image)}, whole and signed by this key"
    print(json.dumps(shown) if given.json else said)


def _judged(given: argparse.Namespace) -> Image:
    image = parse(read(given.file, IMAGE_BYTES_MAX))
    if given.key is not None:
        verify(image, read_key(read(given.key, KEY_BYTES_MAX)))
    return image


def _boards(image: Image) -> str:
    if image.board is None or image.revisions is None:
        return "no board that it names"
    first, last = image.revisions
    return (
        f"{image.board} revision {first}" if first == last else f"{image.board} revisions {first} to {last}"
    )


def describe(image: Image, name: str, signature: str) -> dict[str, Any]:
    """What is shown of an image that was taken; digests in hex, sizes in bytes."""
    return {
        "file": name,
        "valid": True,
        "version": image.version,
        "board": image.board,
        "revisions": None if image.revisions is None else "{}-{}".format(*image.revisions),
        "security_counter": image.security_counter,
        "signature": signature,
        "key_hash": image.key_hash.hex() if image.key_hash else None,
        "sha256": image.sha256.hex(),
        "load_address": f"0x{image.load_address:08x}",
        "flags": list(image.flags),
        "header_bytes": image.header_bytes,
        "body_bytes": image.body_bytes,
        "protected_bytes": image.protected_bytes,
        "trailing_bytes": image.trailing_bytes,
        "tlvs": [
            {
                "type": f"0x{tlv.type:02x}",
                "name": tlv.name,
                "protected": tlv.protected,
                "bytes": len(tlv.value),
            }
            for tlv in image.tlvs
        ],
    }


def as_table(shown: dict[str, Any]) -> str:
    """The same as lines of two columns, then one line for each TLV."""
    lines = [table({key: value for key, value in shown.items() if key != "tlvs"})]
    for tlv in shown["tlvs"]:
        area = "protected" if tlv["protected"] else "unprotected"
        lines.append(f"{'TLV ' + tlv['type']:17} {tlv['name']}, {tlv['bytes']} bytes, {area}")
    return "\n".join(lines)
