"""`python -m edge_agent.updates.board_child --port PORT ACTION [--version V] [--image FILE]`.

One conversation with the I/O board in a process of its own, which takes its large libraries with it when it
ends: an agent at rest does without them, and a line that blocks blocks nobody else. It ends when its stdin
does, so that it never outlives the agent. It writes one JSON object a line: {"sent", "size"} while it
uploads, and last {"ok": {…}}, {"refused": sentence} or {"unavailable": sentence}.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from contract.firmware import IMAGE_BYTES_MAX
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.updates import flashing
from edge_agent.updates.board_line import BoardLine
from edge_agent.updates.target import Health, NotYet, Unwell, Well

ACTIONS: Final = ("version", "stage", "activate", "probe", "commit", "roll-back")
HEALTHS: Final = {Well: "well", Unwell: "unwell", NotYet: "not-yet"}


def main() -> int:
    """0 whenever the last line says how it went."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.updates.board_child")
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("--port", type=Path, required=True)
    parser.add_argument("--version", default="")
    parser.add_argument("--image", type=Path)
    asyncio.run(_until_left(parser.parse_args()))
    return os.EX_OK


async def _until_left(given: argparse.Namespace) -> None:
    """Do it, unless the agent goes first."""
    left = asyncio.Event()

    def listen() -> None:
        if not os.read(sys.stdin.fileno(), 64):
            left.set()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), listen)
    work = asyncio.create_task(_answer(given))
    gone = asyncio.create_task(left.wait())
    await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        work.cancel()
        await asyncio.wait({work})
    gone.cancel()
    if not work.cancelled():
        _say(work.result())


async def _answer(given: argparse.Namespace) -> dict[str, Any]:
    try:
        async with BoardLine(given.port) as line:
            return {"ok": await _perform(line, given)}
    except RefusedError as error:
        return {"refused": str(error)}
    except UnavailableError as error:
        return {"unavailable": str(error)}


async def _perform(line: BoardLine, given: argparse.Namespace) -> dict[str, Any]:
    match given.action:
        case "version":
            return {"version": (await line.slots())[0].version}
        case "stage":
            image = flashing.read(_bytes(given.image))
            if not flashing.same(image.version, given.version):
                raise RefusedError(f"the image is version {image.version}, {given.version} was assigned")
            await flashing.stage(
                line, _bytes(given.image), lambda sent, size: _say({"sent": sent, "size": size})
            )
        case "activate":
            await flashing.activate(line, given.version)
        case "probe":
            return shown(await flashing.probe(line, given.version))
        case "commit":
            await flashing.commit(line, given.version)
        case "roll-back":
            return {"version": (await flashing.roll_back(line)).version}
    return {}


def shown(health: Health) -> dict[str, Any]:
    """A health as `edge_agent.updates.board_smp` reads it."""
    return {"health": HEALTHS[type(health)], "sentence": getattr(health, "sentence", "")}


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(IMAGE_BYTES_MAX + 1)
    except OSError as error:
        raise UnavailableError(f"image {path.name}: {error.strerror}; fetch it again") from error


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.exit(main())
