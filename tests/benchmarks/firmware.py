"""How long a firmware takes onto the board: our tool beside bare smpclient and smpmgr, on the same board.

The board answers at once and never waits for flash, so that what is measured is the line and the client. Our
tool does more than the others: it looks first, begins a trial, waits for the board, asks its self-test and
confirms. Once as fast as a pseudo-terminal carries, once paced as 115,200 baud.
"""

import asyncio
import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from smpclient import SMPClient
from smpclient.transport.serial import SMPSerialTransport

from edge_agent.updates import flashing
from edge_agent.updates.board_line import BoardLine
from firmware_tools.board_commands import Progress, flash
from firmware_tools.image import parse
from simulators.devices.board.board import Board
from tests.benchmarks.report import Measurement
from tests.firmware_tools.images import board_with, firmware

SIZE_BYTES = 192 * 1024
RUNS = 3
BAUD = 115_200
SMPMGR = str(Path(sys.executable).with_name("smpmgr"))
TIMEOUT_S = 300
OLD = firmware("1.2.3", size_bytes=SIZE_BYTES)
NEW = firmware("1.3.0", size_bytes=SIZE_BYTES)


def ours(board: Board) -> None:
    """The upload of the tool and of the agent."""

    async def talk() -> None:
        async with BoardLine(board.port) as line:
            await flashing.stage(line, NEW, lambda sent, size: None)

    asyncio.run(talk())


def bare(board: Board) -> None:
    """smpclient and nothing else."""

    async def talk() -> None:
        async with SMPClient(SMPSerialTransport(), str(board.port)) as client:
            async for _ in client.upload(NEW):
                pass

    asyncio.run(talk())


def smpmgr(board: Board) -> None:
    """The program of smpclient's authors, with its start."""
    image = board.port.with_name("new.bin")
    image.write_bytes(NEW)
    subprocess.run(
        [SMPMGR, "--port", str(board.port), "image", "upload", str(image)],
        check=True,
        capture_output=True,
        timeout=TIMEOUT_S,
    )


def whole(board: Board) -> None:
    """`flash`: look, upload, trial, self-test, confirmation."""
    with contextlib.redirect_stderr(io.StringIO()):
        said = asyncio.run(flash(board.port, NEW, parse(NEW), Progress(terminal=False)))
    assert said.startswith("1.3.0 runs, is well and stays"), said


def timed(how: Callable[[Board], None], baud: int | None, runs: int = RUNS) -> float:
    """Median seconds, each on a board fresh from the factory."""
    took = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            board = board_with(Path(folder), OLD)
            board.faults.baud = baud
            begun = time.perf_counter()
            how(board)
            took.append(time.perf_counter() - begun)
            stored = [image.version for slot in (0, 1) if (image := board.loader.image(slot)) is not None]
            assert "1.3.0+0" in stored, f"the board has {stored}"
            board.close()
    return statistics.median(took)


def run() -> list[Measurement]:
    """Rates in KiB of image a second, and the whole flash in seconds."""
    kib = len(NEW) / 1024
    rows = []
    for baud, runs in ((None, RUNS), (BAUD, 1)):
        where = "at the pty's speed" if baud is None else "paced as 115,200 baud"
        target = "" if baud is None else "ratio >= 0.9"
        base = timed(bare, baud, runs)
        own = timed(ours, baud, runs)
        rows.append(_rate(f"firmware upload {where}", kib / own, "bare smpclient", kib / base, target))
        program = timed(smpmgr, baud, runs)
        rows.append(_rate(f"firmware upload {where}", kib / own, "smpmgr with its start", kib / program, ""))
        flashed = timed(whole, baud, runs)
        name = f"whole flash of {kib:.0f} KiB {where}"
        rows.append(
            Measurement(name, flashed, "s", "upload by bare smpclient", base, flashed / base, "", None)
        )
    return rows


def _rate(name: str, value: float, baseline: str, base: float, target: str) -> Measurement:
    ratio = value / base
    return Measurement(name, value, "KiB/s", baseline, base, ratio, target, ratio >= 0.9 if target else None)
