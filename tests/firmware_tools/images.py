"""Keys and firmware for tests, made with the tools; nothing here is a secret."""

from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from firmware_tools.build import Recipe, build, sign
from firmware_tools.program import Program, assemble
from simulators.devices.board.__main__ import provision
from simulators.devices.board.board import Board, Hardware

OURS = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FOREIGN = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
READY_S = 10.0
SMALL_BYTES = 8 * 1024
HARDWARE = Hardware(OURS.public_key())


@cache
def firmware(
    version: str,
    *,
    board: str = "io-board",
    revisions: tuple[int, int] = (1, 3),
    counter: int | None = None,
    boots: bool = True,
    well: bool = True,
    size_bytes: int = SMALL_BYTES,
    ours: bool = True,
) -> bytes:
    """A signed image of the simulated board."""
    program = Program(name=f"io {version}", boots=boots, well=well, size_bytes=size_bytes)
    built = build(assemble(program), Recipe(version, board, revisions, counter))
    return sign(built, OURS if ours else FOREIGN)


def public_pem(key: Ed25519PrivateKey = OURS) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def board_with(folder: Path, image: bytes, hardware: Hardware = HARDWARE) -> Board:
    """A board fresh from the factory, switched on; its port is the link `io-board` in `folder`."""
    provision(folder / "flash", hardware, image)
    board = Board(folder / "flash", hardware, link=folder / "io-board", seed=7)
    board.start()
    board.wait_for(lambda: board.ready, READY_S)
    return board
