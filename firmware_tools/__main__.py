"""`python -m firmware_tools inspect FILE [--key PUBLIC.pem] [--json]`, and the commands of `publishing`.

Exit status 0: the image is whole (and, with a key, signed by it). 1: refused; the sentence is on stderr, with
`--json` in the object on stdout. 2: wrong words on the command line.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from firmware_tools import publishing
from firmware_tools.errors import RefusedError
from firmware_tools.image import IMAGE_BYTES_MAX, KEY_BYTES_MAX, Image, parse, read_key, verify

UNCHECKED = "not checked, give --key"


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit status as the module says."""
    parser = argparse.ArgumentParser(
        prog="python -m firmware_tools", description="Firmware of the I/O board."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="show an MCUboot image and say whether it holds")
    inspect.add_argument("file", type=Path, help="signed image (.bin)")
    inspect.add_argument("--key", type=Path, help="Ed25519 public key (PEM) that must have signed it")
    inspect.add_argument("--json", action="store_true", help="one JSON object in place of the table")
    publishing.add_commands(commands)
    given = parser.parse_args(words)
    if given.command in publishing.COMMANDS:
        return _publishing(given)
    try:
        image = parse(_read(given.file, IMAGE_BYTES_MAX))
        if given.key is not None:
            verify(image, read_key(_read(given.key, KEY_BYTES_MAX)))
    except RefusedError as error:
        if given.json:
            print(json.dumps({"file": given.file.name, "valid": False, "refused": str(error)}))
        else:
            print(f"{given.file.name}: {error}", file=sys.stderr)
        return 1
    signed = "valid" if given.key is not None else UNCHECKED if image.signature else "none"
    shown = describe(image, given.file.name, signed)
    print(json.dumps(shown, indent=2) if given.json else table(shown))
    return 0


def _publishing(given: argparse.Namespace) -> int:
    """`keys`, `release`, `publish`, `refresh`, `status`: an object of JSON on stdout, a refusal on stderr."""
    try:
        print(publishing.as_json(publishing.run(given)))
    except RefusedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def describe(image: Image, name: str, signature: str) -> dict[str, Any]:
    """What is shown of an image that was taken; digests in hex, sizes in bytes."""
    return {
        "file": name,
        "valid": True,
        "version": image.version,
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


def table(shown: dict[str, Any]) -> str:
    """The same as lines of two columns, then one line for each TLV."""
    rows = [(key.replace("_", " "), value) for key, value in shown.items() if key != "tlvs"]
    lines = [f"{key:17} {_plain(value)}" for key, value in rows]
    for tlv in shown["tlvs"]:
        area = "protected" if tlv["protected"] else "unprotected"
        lines.append(f"{'TLV ' + tlv['type']:17} {tlv['name']}, {tlv['bytes']} bytes, {area}")
    return "\n".join(lines)


def _plain(value: object) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _read(path: Path, bytes_max: int) -> bytes:
    """At most one byte more than is taken, so that a wrong file costs no memory."""
    try:
        with path.open("rb") as file:
            return file.read(bytes_max + 1)
    except OSError as error:
        raise RefusedError(f"cannot be read: {path.name}: {error.strerror}; name a readable file") from error


if __name__ == "__main__":
    sys.exit(main())
