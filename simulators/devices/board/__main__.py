"""`python -m simulators.devices.board --flash FILE --key PUBLIC.pem --link PORT [--factory IMAGE]`.

Runs one I/O board until it is ended. Its flash is the file; a new one gets the factory's image. PORT becomes
a link to its serial device. Faults are chosen when it starts; without them the same flash is a board that is
well again. One JSON object a line on stdout says what happens.
"""

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from firmware_tools.image import parse, read_key, verify
from simulators.devices.board.board import Board, Hardware
from simulators.devices.board.bootloader import Bootloader
from simulators.devices.board.flash import Flash

EXIT_POWER_CUT = 9
"""It ended because its power was cut; start it again to give it power."""


def main() -> int:
    """Run it; 0 ended by a signal, 9 by a power cut that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m simulators.devices.board", description="An I/O board.")
    parser.add_argument("--flash", type=Path, required=True, help="file that is its flash")
    parser.add_argument("--key", type=Path, required=True, help="public key (PEM) in its boot loader")
    parser.add_argument("--link", type=Path, required=True, help="link to make to its serial port")
    parser.add_argument("--factory", type=Path, help="signed image for a new flash")
    parser.add_argument("--board", default="io-board")
    parser.add_argument("--revision", type=int, default=2)
    parser.add_argument("--serial", default="io-0001")
    parser.add_argument("--baud", type=int, help="pace the line")
    parser.add_argument("--cut-power-after", type=int, help="bytes of flash until the power goes")
    parser.add_argument("--unplug-at", type=int, help="offset of an upload at which the cable is pulled")
    parser.add_argument("--noise-every", type=int, default=0, help="noise before each so many answers")
    parser.add_argument("--spoil-every", type=int, default=0, help="a wrong bit in each so many answers")
    given = parser.parse_args()
    hardware = Hardware(
        read_key(given.key.read_bytes()), board=given.board, revision=given.revision, serial=given.serial
    )
    if given.factory is not None and not given.flash.exists():
        provision(given.flash, hardware, given.factory.read_bytes())
    ended = threading.Event()
    board = Board(given.flash, hardware, link=given.link, told=_tell)
    faults = board.faults
    faults.baud, faults.unplug_at = given.baud, given.unplug_at
    faults.noise_every, faults.spoil_every = given.noise_every, given.spoil_every
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    board.start()
    if given.cut_power_after is not None:
        board.cut_power_after(given.cut_power_after)
    while not ended.wait(0.1) and board.powered:
        pass
    cut = not board.powered
    board.close()
    return EXIT_POWER_CUT if cut else 0


def provision(flash: Path, hardware: Hardware, image: bytes) -> None:
    """At the factory: a flash file that begins with this image; whole when it is there.

    Raises:
        RefusedError: the boot loader would not run it.
    """
    verify(parse(image), hardware.key)
    beside = flash.with_name(f".{flash.name}.new")
    beside.unlink(missing_ok=True)
    made = Flash(beside, hardware.layout)
    Bootloader(made, hardware.key, hardware.board, hardware.revision).provision(image)
    made.close()
    beside.replace(flash)


def _tell(what: str) -> None:
    print(json.dumps({"event": what}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
