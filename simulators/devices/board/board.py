"""The board itself: power, cable, boot loader and firmware on a pseudo-terminal, driven by one thread.

`Board` is used in tests and in the city's process; every fault can be made at any moment from another thread.
"""

import os
import random
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from firmware_tools.program import Program, disassemble
from simulators.devices.board.bootloader import Bootloader, Found
from simulators.devices.board.flash import Flash, Layout, PowerCutError
from simulators.devices.board.framing import Deframer, encode
from simulators.devices.board.server import HEADER, IMAGE, Server
from simulators.devices.pseudo_terminal import Line

LOOK_S: Final = 0.2
BITS_PER_BYTE: Final = 10
"""8N1: a start bit and a stop bit."""
READ_BYTES_MAX: Final = 4096


@dataclass(frozen=True)
class Hardware:
    """What one board is, and what its boot loader knows."""

    key: Ed25519PublicKey
    board: str = "io-board"
    revision: int = 2
    serial: str = "io-0001"
    layout: Layout = field(default_factory=Layout)
    buffer: int = 1024
    """Bytes of its SMP receive buffer."""
    boot_s: float = 0.05
    self_test_s: float = 0.1
    watchdog_s: float = 0.3
    """After so long a firmware that hangs is reset."""


@dataclass
class Faults:
    """What is wrong with the line; `baud` paces it. Counts are of answers, offsets of uploaded bytes."""

    baud: int | None = None
    unplug_at: int | None = None
    mute_at: int | None = None
    muted: bool = False
    noise_every: int = 0
    spoil_every: int = 0


class Board:
    """A board with power. `link`, if given, is a symbolic link that always leads to its serial port."""

    def __init__(
        self,
        flash: Path,
        hardware: Hardware,
        *,
        link: Path | None = None,
        seed: int = 0,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.hardware = hardware
        self.faults = Faults()
        self.boots = 0
        self._flash = Flash(flash, hardware.layout)
        self.loader = Bootloader(self._flash, hardware.key, hardware.board, hardware.revision)
        self._link = link
        self._chance = random.Random(seed or os.urandom(8))
        self._told = told
        self._changed = threading.Condition(threading.RLock())
        self._stopped = False
        self._line: Line | None = None
        self._powered = False
        self._server: Server | None = None
        self._running: Found | None = None
        self._busy_until = 0.0
        self._watchdog = 0.0
        self._answers = 0
        self._said_ready = False
        self._deframer = Deframer(hardware.buffer)
        self._pull = False
        self._nudged, self._nudge = os.pipe()
        self._thread = threading.Thread(target=self._live, name="io-board", daemon=True)

    # --- hands ---

    def start(self) -> None:
        """Cable in, power on."""
        self.plug()
        self.power_on()
        self._thread.start()

    def close(self) -> None:
        """Everything off; the flash stays."""
        with self._changed:
            self._stopped = True
        os.write(self._nudge, b".")
        self._thread.join()
        self._take_out()
        for end in (self._nudged, self._nudge):
            os.close(end)
        self._flash.close()

    @property
    def port(self) -> Path:
        """The serial device, or the link that leads to it."""
        with self._changed:
            if self._link is not None:
                return self._link
            assert self._line is not None, "the cable is out"
            return self._line.port

    def plug(self) -> None:
        """The cable in; it may get another device name."""
        with self._changed:
            if self._line is None:
                self._line = Line()
                self._deframer = Deframer(self.hardware.buffer)
                if self._link is not None:
                    beside = self._link.with_name(f".{self._link.name}.new")
                    beside.unlink(missing_ok=True)
                    beside.symlink_to(self._line.port)
                    beside.replace(self._link)
                self._changed.notify_all()

    def unplug(self) -> None:
        """The cable out: its device is gone, the board goes on."""
        with self._changed:
            self._pull = True
            os.write(self._nudge, b".")
            assert self._changed.wait_for(lambda: self._line is None, LOOK_S * 50)

    def _take_out(self) -> None:
        """By the thread that reads it, so that nobody reads a number that means something else meanwhile."""
        with self._changed:
            if self._line is not None:
                self._line.close()
                self._line = None
                if self._link is not None:
                    self._link.unlink(missing_ok=True)
            self._pull = False
            self._changed.notify_all()

    def power_off(self) -> None:
        """At once, whatever it does; also lets go of what a fault was waiting for."""
        with self._changed:
            self._powered, self._server, self._running = False, None, None
            self._changed.notify_all()

    def power_on(self) -> None:
        """The boot loader begins, and goes on with what was cut off."""
        with self._changed:
            self._powered = True
            self._boot()

    def cut_power_after(self, size: int) -> None:
        """When so many more bytes of flash have been written or erased."""
        with self._changed:
            self._flash.cut_after = size

    @property
    def powered(self) -> bool:
        """Whether it has power."""
        return self._powered

    @property
    def ready(self) -> bool:
        """Whether its firmware answers on the line."""
        return self._server is not None and time.monotonic() >= self._busy_until

    @property
    def plugged(self) -> bool:
        """Whether its cable is in."""
        return self._line is not None

    @property
    def running(self) -> Found | None:
        """The image that runs, however well."""
        return self._running

    @property
    def dead(self) -> bool:
        """Whether it has power and nothing to run: what must never be."""
        with self._changed:
            return self._powered and self._running is None

    def wait_for(self, holds: Callable[[], bool], within_s: float) -> None:
        """Wait until something that this board changes holds.

        Raises:
            TimeoutError: it does not after `within_s`.
        """
        with self._changed:
            if not self._changed.wait_for(holds, within_s):
                raise TimeoutError(f"not so after {within_s} s")

    # --- life ---

    def _boot(self) -> None:
        """From the reset vector on."""
        self.boots += 1
        self._said_ready = False
        self._server = self._running = None
        try:
            found = self.loader.boot()
        except PowerCutError:
            self._lose_power()
            return
        self._running = found
        program = disassemble(found.body) if found is not None else None
        now = time.monotonic()
        self._busy_until = now + self.hardware.boot_s
        self._watchdog = now + self.hardware.watchdog_s
        if found is not None and program is not None and program.boots:
            self._server = self._serve(found, program)
        self._told(f"booted {found.image.version if found else 'nothing'}")
        self._changed.notify_all()

    def _serve(self, found: Found, program: Program) -> Server:
        over = self._busy_until + self.hardware.self_test_s
        return Server(
            self.loader,
            found,
            program,
            session=self._chance.getrandbits(31),
            serial=self.hardware.serial,
            buffer=self.hardware.buffer,
            tested=lambda: time.monotonic() >= over,
        )

    def _lose_power(self) -> None:
        self._told("power cut")
        self.power_off()

    def _live(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                if self._pull:
                    self._take_out()
                hangs = self._powered and self._server is None and self._running is not None
                if not self._said_ready and self.ready:
                    self._said_ready = True
                    self._told("ready")
                    self._changed.notify_all()
                if hangs and time.monotonic() >= self._watchdog:
                    self._boot()
                line = self._line
                if line is None:
                    self._changed.wait(LOOK_S)
                    continue
            ready, _, _ = select.select([line.device, self._nudged], [], [], self._pause())
            if self._nudged in ready:
                os.read(self._nudged, READ_BYTES_MAX)
            data = os.read(line.device, READ_BYTES_MAX) if line.device in ready else b""
            self._pace(len(data))
            if data and time.monotonic() >= self._busy_until:
                self._hear(line, data)

    def _pause(self) -> float:
        """Until it is ready, or the watchdog has to be looked at."""
        if not self._powered or self._said_ready:
            return LOOK_S
        until = self._watchdog if self._server is None else self._busy_until
        return min(LOOK_S, max(0.0, until - time.monotonic()))

    def _hear(self, line: Line, data: bytes) -> None:
        for frame in self._deframer.feed(data):
            with self._changed:
                server = self._server
                if server is None or self._line is not line or self._faulty(frame):
                    return
                try:
                    answer = server.answer(frame)
                except PowerCutError:
                    self._lose_power()
                    return
                self._changed.notify_all()
            if answer is not None:
                self._say(line, answer)
            if server.reset_asked:
                with self._changed:
                    if self._powered:
                        self._boot()
                return

    def _faulty(self, frame: bytes) -> bool:
        """Whether the line's faults swallow this frame."""
        faults = self.faults
        offset = upload_offset(frame)
        if offset is not None and faults.unplug_at is not None and offset >= faults.unplug_at:
            faults.unplug_at = None
            self._take_out()
            return True
        if offset is not None and faults.mute_at is not None and offset >= faults.mute_at:
            faults.mute_at = None
            faults.muted = True
        return faults.muted

    def _say(self, line: Line, answer: bytes) -> None:
        self._answers += 1
        faults = self.faults
        out = b"".join(encode(answer))
        if faults.spoil_every and self._answers % faults.spoil_every == 0:
            spoiled = bytearray(out)
            spoiled[self._chance.randrange(2, len(out) - 1)] ^= 1 << self._chance.randrange(7)
            out = bytes(spoiled)
        if faults.noise_every and self._answers % faults.noise_every == 0:
            out = self._chance.randbytes(self._chance.randrange(1, 80)) + b"\n" + out
        self._pace(len(out))
        os.write(line.device, out)

    def _pace(self, size: int) -> None:
        if self.faults.baud and size:
            time.sleep(size * BITS_PER_BYTE / self.faults.baud)


def upload_offset(frame: bytes) -> int | None:
    """The offset of a request that uploads; None of another."""
    if len(frame) < HEADER.size or HEADER.unpack_from(frame)[3] != IMAGE or frame[7] != 1:
        return None
    try:
        offset = cbor2.loads(frame[HEADER.size :]).get("off")
    except (cbor2.CBORDecodeError, ValueError, AttributeError):
        return None
    return offset if isinstance(offset, int) else None
