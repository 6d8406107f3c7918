"""The commands on a board: flash, board. The conversation is that of the agent itself."""

import argparse
import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from contract.firmware import IMAGE_BYTES_MAX, Image
from edge_agent.errors import AgentError, RefusedError, UnavailableError
from edge_agent.updates import flashing
from edge_agent.updates.board_line import BoardLine, Slot
from edge_agent.updates.target import NotYet, Well
from firmware_tools.files import read
from firmware_tools.image import KEY_BYTES_MAX, read_key, verify
from firmware_tools.words import Commands, table

SELF_TEST_S = 30.0
"""So long may a new firmware test itself."""
TRIES_WITHOUT_PROGRESS_MAX = 3
"""An upload that was cut off is gone on with; so often it may bring nothing."""


def add(commands: Commands) -> None:
    """Put them on the command line."""
    flash = commands.add_parser("flash", help="put a signed image onto a board, try it, and let it stay")
    flash.add_argument("image", type=Path, help="signed image (.bin)")
    flash.add_argument("--port", type=Path, required=True, help="serial port, such as /dev/ttyACM0")
    flash.add_argument("--key", type=Path, help="public key (PEM); it is checked before anything is sent")
    flash.set_defaults(run=_flash)
    board = commands.add_parser("board", help="show what is on a board")
    board.add_argument("--port", type=Path, required=True, help="serial port, such as /dev/ttyACM0")
    board.add_argument("--json", action="store_true", help="one JSON object in place of the table")
    board.set_defaults(run=_board)


def _flash(given: argparse.Namespace) -> None:
    data = read(given.image, IMAGE_BYTES_MAX)
    image = flashing.read(data)
    if given.key is not None:
        verify(image, read_key(read(given.key, KEY_BYTES_MAX)))
    print(asyncio.run(flash(given.port, data, image, Progress(sys.stderr.isatty()))))


def _board(given: argparse.Namespace) -> None:
    shown = asyncio.run(_look(given.port))
    print(json.dumps(shown, indent=2) if given.json else table(shown))


class Progress:
    """Says how far an upload is: on a terminal in one line that moves, else one line for each quarter."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._quarter = 0
        self.there = 0

    def __call__(self, there: int, size: int) -> None:
        """`there` bytes of `size` are on the board."""
        self.there = there
        percent = 100 * there // size
        if self._terminal:
            end = "\n" if there == size else ""
            print(f"\rsent {there:,} of {size:,} bytes ({percent} %)", end=end, file=sys.stderr, flush=True)
        elif percent // 25 > self._quarter:
            self._quarter = percent // 25
            print(f"sent {there:,} of {size:,} bytes ({percent} %)", file=sys.stderr, flush=True)


async def flash(port: Path, data: bytes, image: Image, progress: Progress) -> str:
    """Upload, try, look, and let it stay; the sentence for the technician.

    Raises:
        RefusedError, UnavailableError: it was not flashed; the sentence says what the board runs.
    """
    before = await _once(port, _running)
    version = image.version.removesuffix("+0")
    try:
        await _upload(port, data, progress)
    except AgentError as error:
        raise type(error)(f"{error}; nothing was changed: {before.version} runs on") from error
    try:
        await _once(port, lambda line: flashing.activate(line, version, image.sha256))
        await _self_test(port, version)
        await _once(port, lambda line: flashing.commit(line, version))
    except AgentError as error:
        raise type(error)(f"{error}; {await _way_back(port, before)}") from error
    if before.sha256 == image.sha256:
        return f"{version} was on the board already; it runs, is well and stays"
    return f"{version} runs, is well and stays; before it was {before.version}"


async def _upload(port: Path, data: bytes, progress: Progress) -> None:
    """As often as it takes while it gets on."""
    tries = 0
    while True:
        reached = progress.there
        try:
            await _once(port, lambda line: flashing.stage(line, data, progress))
        except UnavailableError as error:
            tries = 0 if progress.there > reached else tries + 1
            if tries == TRIES_WITHOUT_PROGRESS_MAX:
                raise
            print(f"cut off: {error}; going on", file=sys.stderr, flush=True)
        else:
            return


async def _self_test(port: Path, version: str) -> None:
    """Wait for the board's own verdict."""
    try:
        async with asyncio.timeout(SELF_TEST_S):
            while isinstance(health := await _once(port, lambda line: flashing.probe(line, version)), NotYet):
                pass
    except TimeoutError as silent:
        raise RefusedError(f"the self-test of {version} did not end within {SELF_TEST_S:g} s") from silent
    if not isinstance(health, Well):
        raise RefusedError(health.sentence)


async def _way_back(port: Path, before: Slot) -> str:
    try:
        running = await _once(port, flashing.roll_back)
    except UnavailableError:
        return (
            f"the board takes itself back to {before.version} at its next reset; "
            "see to cable and power, and look with: board"
        )
    return (
        f"the board runs {running.version} as before"
        if running.sha256 == before.sha256
        else (f"the board runs {running.version}")
    )


async def _once(port: Path, talk: Any) -> Any:
    """One conversation."""
    async with BoardLine(port) as line:
        made: Coroutine[Any, Any, Any] = talk(line)
        return await made


async def _running(line: BoardLine) -> Slot:
    return (await line.slots())[0]


async def _look(port: Path) -> dict[str, Any]:
    async with BoardLine(port) as line:
        identity, boot, slots = await line.identity(), await line.boot(), await line.slots()
        self_test = await line.self_test()
    shown: dict[str, Any] = {
        "board": identity.board,
        "revision": identity.revision,
        "serial": identity.serial,
        "security_counter": boot.security_counter,
        "self_test": self_test.name.lower(),
    }
    for slot in slots:
        marks = [name for name in ("active", "confirmed", "pending") if getattr(slot, name)]
        shown[f"slot_{slot.number}"] = [slot.version, *marks, f"sha256 {slot.sha256.hex()[:16]}…"]
    if not flashing.settled(slots):
        shown["next_reset"] = next((slot.version for slot in slots if slot.pending), slots[-1].version)
    return shown
