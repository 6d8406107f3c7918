"""The I/O board of a kiosk in the city, and the people who make and sign its firmware."""

import json
import subprocess
import sys
import threading
from pathlib import Path

from firmware_tools.build import Recipe, build, sign
from firmware_tools.keys import generate, read_private
from firmware_tools.program import Program, assemble
from simulators.devices.leash import Leashed

BOARD = "io-board"
REVISIONS = (1, 3)
FACTORY = "1.2.0"
SIZE_BYTES = 64 * 1024
START_S = 60.0


class Makers:
    """Keys and images in `folder`; the board's key, and a stranger's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def public_key(self) -> Path:
        """What goes into every boot loader."""
        return self._folder / "board.pub.pem"

    def prepare(self) -> None:
        """Keys, where there are none."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("board", "stranger"):
            private = self._private(name)
            if not private.exists():
                public = private.with_suffix(".pub.pem")
                public.unlink(missing_ok=True)  # left by a city that was killed between the two
                generate(private, public, None)

    def image(self, version: str, *, signer: str = "board") -> Path:
        """A signed image of `version`; the same each time."""
        program = Program(name=f"io-board {version}", size_bytes=SIZE_BYTES)
        built = build(assemble(program), Recipe(version, BOARD, REVISIONS))
        path = self._folder / f"{BOARD}-{version}-{signer}.bin"
        path.write_bytes(sign(built, read_private(self._private(signer), None)))
        return path

    def _private(self, name: str) -> Path:
        return self._folder / f"{name}.key"


class IoBoard:
    """One board as a program of its own; its flash in `folder` outlives the city."""

    def __init__(self, folder: Path, serial: str, makers: Makers) -> None:
        """Switch it on; it answers when this returns.

        Raises:
            RuntimeError: it did not start within its time.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.port = folder / "port"
        self.port.unlink(missing_ok=True)
        self._program = Leashed(
            [
                *(sys.executable, "-m", "simulators.devices.board"),
                *("--flash", str(folder / "flash"), "--link", str(self.port), "--serial", serial),
                *("--key", str(makers.public_key), "--factory", str(makers.image(FACTORY))),
            ],
            pid_file=folder / "pid",
            stdout=subprocess.PIPE,
        )
        self._ready = threading.Event()
        self._listener = threading.Thread(target=self._listen, name=f"board {serial}", daemon=True)
        self._listener.start()
        if not self._ready.wait(START_S):
            self.close()
            raise RuntimeError(f"the I/O board of {serial} did not start within {START_S:g} s")

    def close(self) -> None:
        """Its power off; the flash stays."""
        self._program.kill()
        self._listener.join()

    def _listen(self) -> None:
        """Hear what it says until it ends, so that it can go on speaking."""
        stream = self._program.process.stdout
        assert stream is not None
        for line in stream:
            if json.loads(line)["event"] == "ready":
                self._ready.set()
