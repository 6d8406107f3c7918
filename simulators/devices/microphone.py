"""A simulated microphone: plays a WAV file to stdout in real time, as `arecord -t raw` would.

`python -m simulators.devices.microphone --wav FILE [--cue FILE] [--after silence|loop|end]`

The room is quiet until somebody speaks. With `--cue`, speech begins when that file is touched, and begins
anew with each touch; a microphone that is started later joins in at the moment that the speech has reached,
like a microphone in a room. Without it, speech begins `--before-s` seconds after the start.

To unplug it, send SIGUSR1, or make the file named by `--unplugged`: it ends with an error, and cannot be
started again while that file exists.
"""

import argparse
import os
import random
import signal
import sys
import time
import wave
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BLOCK_MS = 100
SAMPLE_BYTES = 2
ROOM_LEVEL = 26
"""RMS of the room's noise in steps of 16 bits: -62 dBFS, as in the debate."""
OVERRUN_S = 1.0
"""A reader that is so late loses sound, as with real hardware."""


class UnpluggedError(Exception):
    """The cable is out."""


@dataclass(frozen=True)
class Speech:
    """Mono 16-bit PCM and what comes after its end."""

    pcm: bytes
    rate_hz: int
    after: str

    def block(self, since_begin: int, samples: int) -> bytes | None:
        """`samples` samples from `since_begin` on; shorter or empty where there is quiet, None at the end."""
        if since_begin < 0:
            return b""
        length = len(self.pcm) // SAMPLE_BYTES
        if self.after == "loop" and length:
            since_begin %= length
        elif since_begin >= length:
            return None if self.after == "end" else b""
        return self.pcm[since_begin * SAMPLE_BYTES : (since_begin + samples) * SAMPLE_BYTES]


def load(path: Path, rate_hz: int, after: str) -> Speech:
    """The speech in a WAV file.

    Raises:
        ValueError: it is not mono, 16 bit, of this rate.
    """
    with wave.open(str(path), "rb") as file:
        kind = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        if kind != (1, SAMPLE_BYTES, rate_hz):
            raise ValueError(f"{path} has {kind[0]} channels, {kind[1] * 8} bits, {kind[2]} Hz")
        return Speech(file.readframes(file.getnframes()), rate_hz, after)


def room(samples: int) -> bytes:
    """The noise of a quiet room; always the same."""
    chance = random.Random(0)
    noise = array("h", (round(chance.gauss(0, ROOM_LEVEL)) for _ in range(samples)))
    if sys.byteorder == "big":
        noise.byteswap()
    return noise.tobytes()


@dataclass
class Player:
    """Writes blocks when they are due. `begun_at` tells the moment at which speech began, None if not yet."""

    speech: Speech
    begun_at: Callable[[], float | None]
    plugged: Callable[[], bool]
    clock: Callable[[], float] = time.time
    wait: Callable[[float], None] = time.sleep

    def play(self, out: BinaryIO) -> None:
        """Until the speech ends, if it does.

        Raises:
            UnpluggedError: the cable was pulled.
            BrokenPipeError: nobody listens any more.
        """
        rate = self.speech.rate_hz
        samples = rate * BLOCK_MS // 1000
        quiet = room(samples)
        due = self.clock()
        while self.plugged():
            begun_at = self.begun_at()
            since = -1 if begun_at is None else int((due - begun_at) * rate)
            block = self.speech.block(since, samples)
            if block is None:
                return
            out.write(block + quiet[len(block) :])
            out.flush()
            due += BLOCK_MS / 1000
            late = self.clock() - due
            if late > OVERRUN_S:
                print(f"microphone: the reader is {late:.1f} s late, sound is lost", file=sys.stderr)
                due += late
            self.wait(max(0.0, -late))
        raise UnpluggedError


def main() -> int:
    """Play; 0 at the end of the speech or of the reader, 1 if unplugged."""
    parser = argparse.ArgumentParser(prog="microphone")
    parser.add_argument("--wav", type=Path, required=True)
    parser.add_argument("--rate", type=int, default=48_000, help="samples a second of the WAV file")
    parser.add_argument("--cue", type=Path, help="speech begins when this file is touched")
    parser.add_argument("--before-s", type=float, default=0.0, help="without --cue: quiet before the speech")
    parser.add_argument("--after", choices=("silence", "loop", "end"), default="silence")
    parser.add_argument("--unplugged", type=Path, help="while this file exists, the cable is out")
    asked = parser.parse_args()
    pulled: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _frame: pulled.append(number))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    begin = time.time() + asked.before_s
    player = Player(
        speech=load(asked.wav, asked.rate, asked.after),
        begun_at=(lambda: touched_at(asked.cue)) if asked.cue else (lambda: begin),
        plugged=lambda: not pulled and not (asked.unplugged and asked.unplugged.exists()),
    )
    try:
        player.play(sys.stdout.buffer)
    except UnpluggedError:
        print("microphone: unplugged", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Nobody listens any more; the interpreter must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def touched_at(cue: Path) -> float | None:
    """When the cue was given last; None if it never was."""
    try:
        return cue.stat().st_mtime
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
